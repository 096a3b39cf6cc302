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
    /// Our last SDP, to know it when it is pasted back.
    own: Option<String>,
    /// Whether it is an offer that nobody answered.
    asked: bool,
    received: Option<Description>,
}

impl Intake {
    /// One for a call in which nothing was said yet.
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            own: None,
            asked: false,
            received: None,
        }
    }

    /// What the remote owes us first.
    pub(super) fn due(&self) -> DescriptionType {
        due(self.role)
    }

    /// Whether a description of the remote came.
    pub(super) fn has_description(&self) -> bool {
        self.received.is_some()
    }

    /// Whether an offer of ours waits for its answer.
    pub(super) fn awaits_answer(&self) -> bool {
        self.asked
    }

    /// We sent this.
    pub(super) fn sent(&mut self, message: &Message) {
        if let Message::Description(description) = message {
            self.own = Some(normalised(&description.sdp));
            self.asked = description.kind == DescriptionType::Offer;
        }
    }

    /// This came.
    pub(super) fn accept(&mut self, message: &Message) -> Result<Verdict, SignallingError> {
        let Message::Description(description) = message else {
            return Ok(Verdict::Forward);
        };
        let kind = description.kind;
        if self.own.as_deref() == Some(description.sdp.as_str()) {
            let own = if self.asked {
                DescriptionType::Offer
            } else {
                DescriptionType::Answer
            };
            return Ok(Verdict::Notice(format!(
                "that is your own {own}: paste it into the other terminal"
            )));
        }
        let Some(last) = &self.received else {
            return self.accept_first(description);
        };
        if last == description {
            return Ok(Verdict::Notice(format!("this {kind} was received before")));
        }
        let goes_on = match kind {
            DescriptionType::Answer => self.asked,
            DescriptionType::Offer => {
                self.own.is_some() && same_session(&last.sdp, &description.sdp)
            }
        };
        if goes_on {
            return self.take(description);
        }
        let text = format!(
            "a second {kind} came, but this call has its {kind}: start a new call for it, on both \
             sides"
        );
        // A call that both sides have agreed on is not ended by what is not for it.
        if self.own.is_some() {
            return Ok(Verdict::Notice(text));
        }
        Err(SignallingError::Unexpected(text))
    }

    fn accept_first(&mut self, description: &Description) -> Result<Verdict, SignallingError> {
        let kind = description.kind;
        if kind != self.due() {
            let verb = match self.role {
                Role::Offerer => "offers too: set role=answer",
                Role::Answerer => "answers too and waits for an offer: set role=offer",
            };
            return Err(SignallingError::Unexpected(format!(
                "this is an {kind}, but this side {verb} on one of them"
            )));
        }
        self.take(description)
    }

    fn take(&mut self, description: &Description) -> Result<Verdict, SignallingError> {
        if description.kind == DescriptionType::Answer {
            self.asked = false;
        }
        self.received = Some(description.clone());
        Ok(Verdict::Forward)
    }
}

/// Whether two descriptions are of one session: user name and number of the origin line are the
/// same (RFC 8866 section 5.2), or else the DTLS fingerprint is (aiortc numbers every description
/// anew). Anything else is another call.
fn same_session(one: &str, other: &str) -> bool {
    let fingerprint = |sdp: &'_ str| -> Option<String> {
        let line = sdp
            .lines()
            .find(|line| line.starts_with("a=fingerprint:"))?;
        Some(line.trim().to_ascii_lowercase())
    };
    if fingerprint(one).is_some_and(|f| fingerprint(other) == Some(f)) {
        return true;
    }
    let origin = |sdp: &'_ str| -> Option<(String, String)> {
        let line = sdp.lines().find_map(|line| line.strip_prefix("o="))?;
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    origin(one).is_some_and(|o| origin(other) == Some(o))
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

    #[test]
    fn later_offers_and_answers_of_the_same_session_are_taken() {
        let of = |kind, version: u32| {
            Message::Description(Description {
                kind,
                sdp: format!("v=0\r\no=- 77 {version} IN IP4 0.0.0.0\r\ns=-\r\n"),
            })
        };
        let mut intake = Intake::new(Role::Offerer);
        intake.sent(&description(DescriptionType::Offer, "ours"));
        let answer = of(DescriptionType::Answer, 1);
        assert_eq!(intake.accept(&answer).unwrap(), Verdict::Forward);
        // Nobody asked for another one.
        let unasked = intake.accept(&of(DescriptionType::Answer, 2));
        assert!(matches!(unasked, Ok(Verdict::Notice(_))), "{unasked:?}");
        intake.sent(&description(DescriptionType::Offer, "ours again"));
        assert!(intake.awaits_answer());
        assert!(matches!(intake.accept(&answer), Ok(Verdict::Notice(_))));
        let second = of(DescriptionType::Answer, 2);
        assert_eq!(intake.accept(&second).unwrap(), Verdict::Forward);
        assert!(!intake.awaits_answer());
        let offer = of(DescriptionType::Offer, 3);
        assert_eq!(intake.accept(&offer).unwrap(), Verdict::Forward);
        let other = Message::Description(Description {
            kind: DescriptionType::Offer,
            sdp: "v=0\r\no=- 78 1 IN IP4 0.0.0.0\r\ns=-\r\n".to_owned(),
        });
        assert!(matches!(intake.accept(&other), Ok(Verdict::Notice(_))));
        // aiortc gives each of its descriptions another number.
        intake.sent(&description(DescriptionType::Offer, "ours once more"));
        let renumbered = Message::Description(Description {
            kind: DescriptionType::Answer,
            sdp: "v=0\r\no=- 79 79 IN IP4 0.0.0.0\r\ns=-\r\n".to_owned(),
        });
        assert_eq!(intake.accept(&renumbered).unwrap(), Verdict::Forward);
    }
}
