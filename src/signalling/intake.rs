// SPDX-License-Identifier: MPL-2.0
//! Whether a message that came is the one that is due.

use super::line_codec::normalised;
use super::message::{Description, DescriptionType, Message};
use super::{Role, SignallingError, due};

/// What becomes of a message from the remote.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Pass it on.
    Forward,
    /// Drop it and tell the user this.
    Notice(String),
}

/// Remembers what was said both ways, as far as that decides what may come.
pub(super) struct Intake {
    role: Role,
    /// Our SDP, to know it when it is pasted back.
    own: Option<String>,
    received: Option<Description>,
}

impl Intake {
    /// One for a call in which nothing was said yet.
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            own: None,
            received: None,
        }
    }

    /// What the remote owes us.
    pub(super) fn due(&self) -> DescriptionType {
        due(self.role)
    }

    /// Whether the remote's description came.
    pub(super) fn has_description(&self) -> bool {
        self.received.is_some()
    }

    /// We sent this.
    pub(super) fn sent(&mut self, message: &Message) {
        if let Message::Description(description) = message {
            self.own = Some(normalised(&description.sdp));
        }
    }

    /// This came.
    pub(super) fn accept(&mut self, message: &Message) -> Result<Verdict, SignallingError> {
        let Message::Description(description) = message else {
            return Ok(Verdict::Forward);
        };
        let due = self.due();
        let kind = description.kind;
        if self.own.as_deref() == Some(description.sdp.as_str()) {
            let own = match due {
                DescriptionType::Answer => DescriptionType::Offer,
                DescriptionType::Offer => DescriptionType::Answer,
            };
            return Ok(Verdict::Notice(format!(
                "that is your own {own}: paste it into the other terminal"
            )));
        }
        if kind != due {
            let verb = match self.role {
                Role::Offerer => "offers too: set role=answer",
                Role::Answerer => "answers too and waits for an offer: set role=offer",
            };
            return Err(SignallingError::Unexpected(format!(
                "this is an {kind}, but this side {verb} on one of them"
            )));
        }
        match &self.received {
            Some(first) if first == description => {
                Ok(Verdict::Notice(format!("this {kind} was received before")))
            }
            Some(_) => Err(SignallingError::Unexpected(format!(
                "a second {kind} came, but this call has its {kind}: start a new call for it, on both sides"
            ))),
            None => {
                self.received = Some(description.clone());
                Ok(Verdict::Forward)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(kind: DescriptionType, name: &str) -> Message {
        Message::Description(Description {
            kind,
            sdp: format!("v=0\r\ns={name}\r\n"),
        })
    }

    #[test]
    fn own_description_pasted_back_is_a_notice() {
        let mut intake = Intake::new(Role::Offerer);
        intake.sent(&description(DescriptionType::Offer, "ours"));
        for kind in [DescriptionType::Offer, DescriptionType::Answer] {
            // A bare SDP is taken to be the due answer: still ours.
            match intake.accept(&description(kind, "ours")) {
                Ok(Verdict::Notice(text)) => assert!(text.contains("your own offer"), "{text}"),
                other => panic!("{other:?}"),
            }
        }
        assert!(!intake.has_description());
    }

    #[test]
    fn offer_to_an_offerer_names_the_cure() {
        let error = Intake::new(Role::Offerer)
            .accept(&description(DescriptionType::Offer, "theirs"))
            .unwrap_err();
        assert!(matches!(error, SignallingError::Unexpected(_)));
        assert!(error.to_string().contains("set role=answer"), "{error}");
        let error = Intake::new(Role::Answerer)
            .accept(&description(DescriptionType::Answer, "theirs"))
            .unwrap_err();
        assert!(error.to_string().contains("set role=offer"), "{error}");
    }

    #[test]
    fn second_description_is_unexpected_and_a_repeated_one_is_not() {
        let mut intake = Intake::new(Role::Answerer);
        let offer = description(DescriptionType::Offer, "first");
        assert_eq!(intake.accept(&offer).unwrap(), Verdict::Forward);
        assert!(matches!(intake.accept(&offer), Ok(Verdict::Notice(_))));
        let second = description(DescriptionType::Offer, "second");
        assert!(matches!(
            intake.accept(&second),
            Err(SignallingError::Unexpected(_))
        ));
        assert_eq!(intake.accept(&Message::Bye).unwrap(), Verdict::Forward);
    }
}
