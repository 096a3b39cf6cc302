// SPDX-License-Identifier: MPL-2.0
//! `call`: two elements of one name share a call, and its settings.

use std::sync::{Arc, LazyLock};

use gst::glib;
use gst::prelude::*;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::peer::PeerFactory;
use crate::session::event::Event;
use crate::session::shared_call::{Joining, Leg, Registry, Side, Terms};
use crate::signalling::Role;

use super::{CallSettings, Connection, RoleSetting, SinkSignaller, SrcSignaller, Way};
use crate::gst_glue::errors::settings_error;

/// The shared calls of this process.
static CALLS: LazyLock<Registry> = LazyLock::new(Registry::default);

pub(super) fn property() -> glib::ParamSpec {
    glib::ParamSpecString::builder("call")
        .nick("Name of a shared call")
        .blurb(
            "A rswebrtcsink and a rswebrtcsrc of one process with the same name share one \
             connection, which carries media both ways (signaller stdio, file or application). Settings of the \
             connection are set on either of them",
        )
        .mutable_ready()
        .build()
}

impl CallSettings {
    /// Joins the call that the user named; `None`: the element has one of its own.
    ///
    /// # Errors
    ///
    /// `RESOURCE/SETTINGS`: what does not go together.
    pub fn join(
        &self,
        automatic: Role,
        factory: Arc<dyn PeerFactory>,
        handle: &Handle,
    ) -> Option<Result<(Leg, mpsc::Receiver<Event>), gst::ErrorMessage>> {
        let name = self.call.as_deref().filter(|name| !name.is_empty())?;
        Some(self.join_as(name, automatic, factory, handle))
    }

    fn join_as(
        &self,
        name: &str,
        automatic: Role,
        factory: Arc<dyn PeerFactory>,
        handle: &Handle,
    ) -> Result<(Leg, mpsc::Receiver<Event>), gst::ErrorMessage> {
        let side = match self.way {
            Way::Sink(_) => Side::Sends,
            Way::Src(_) => Side::Receives,
        };
        let own = self.clone();
        let joining = Joining {
            side,
            terms: self.terms().map_err(|text| settings_error(&text))?,
            configure: Box::new(move |terms, mailbox| {
                let all = own.with(terms);
                if !all.is_application() {
                    mailbox.close();
                }
                match all.configured(automatic, mailbox)? {
                    Connection::One(config) => Ok(config),
                    Connection::Many(_) => Err(ONE_WAY.to_owned()),
                }
            }),
            factory,
        };
        let joined = CALLS.join(name, joining, handle);
        joined.map_err(|text| settings_error(&text))
    }

    /// What of these belongs to the call; `None` where it was left alone.
    fn terms(&self) -> Result<Terms, String> {
        let signaller = match self.way {
            Way::Sink(SinkSignaller::Stdio) | Way::Src(SrcSignaller::Stdio) => None,
            Way::Sink(SinkSignaller::File) | Way::Src(SrcSignaller::File) => Some(FILE),
            _ if self.is_application() => Some(APPLICATION),
            _ => return Err(ONE_WAY.to_owned()),
        };
        if self.navigation {
            return Err(NO_STEERING.to_owned());
        }
        let role = match self.role {
            RoleSetting::Auto => None,
            RoleSetting::Offer => Some("offer"),
            RoleSetting::Answer => Some("answer"),
        };
        let fec = self.fec.scheme();
        let turn = Some(self.turn_servers.join("\n")).filter(|servers| !servers.is_empty());
        let mut terms = Terms::default();
        terms.set("signaller", signaller.map(str::to_owned));
        terms.set("location", self.location.clone());
        terms.set("role", role.map(str::to_owned));
        terms.set("stun-server", self.stun_server.clone());
        terms.set_secret("turn-servers", turn);
        terms.set("ice-addresses", self.ice_addresses.clone());
        terms.set("fec", fec.map(str::to_owned));
        Ok(terms)
    }

    /// These with what the two elements agreed on.
    fn with(&self, terms: &Terms) -> Self {
        let mut all = self.clone();
        all.way = match (self.way, terms.get("signaller")) {
            (Way::Sink(_), Some(FILE)) => Way::Sink(SinkSignaller::File),
            (Way::Sink(_), Some(APPLICATION)) => Way::Sink(SinkSignaller::Application),
            (Way::Sink(_), _) => Way::Sink(SinkSignaller::Stdio),
            (Way::Src(_), Some(FILE)) => Way::Src(SrcSignaller::File),
            (Way::Src(_), Some(APPLICATION)) => Way::Src(SrcSignaller::Application),
            (Way::Src(_), _) => Way::Src(SrcSignaller::Stdio),
        };
        let text = |name| terms.get(name).map(str::to_owned);
        all.location = text("location");
        all.role = match terms.get("role") {
            Some("offer") => RoleSetting::Offer,
            Some("answer") => RoleSetting::Answer,
            _ => RoleSetting::Auto,
        };
        all.stun_server = text("stun-server");
        let turn = terms.get("turn-servers").into_iter();
        all.turn_servers = turn
            .flat_map(|all| all.split('\n'))
            .map(str::to_owned)
            .collect();
        all.ice_addresses = text("ice-addresses");
        all.fec.set_scheme(terms.get("fec"));
        all
    }
}

const FILE: &str = "file";
const APPLICATION: &str = "application";

const NO_STEERING: &str = "enable-data-channel-navigation does not go with call: what a remote opens in \
                           a shared call goes to rswebrtcsrc, as pads of data. Leave one of them out";

const ONE_WAY: &str = "call goes with signaller=stdio, signaller=file and signaller=application: what WHIP \
                       and WHEP carry goes one way (RFC 9725 section 4.2). Use two elements without call, \
                       each with a connection of its own, or another signaller";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signalling::application::Mailbox;

    #[test]
    fn each_leg_can_say_what_belongs_to_the_call() {
        gst::init().unwrap();
        let mut sink = CallSettings::of_sink();
        sink.way = Way::Sink(SinkSignaller::File);
        sink.location = Some("/nowhere".to_owned());
        sink.turn_servers = vec!["turn://u:pa,ss@h".to_owned(), "turn://u:p@i".to_owned()];
        let terms = sink.terms().unwrap();
        let src = CallSettings::of_src().with(&terms);
        assert_eq!(src.way, Way::Src(SrcSignaller::File));
        assert_eq!(src.location, sink.location);
        assert_eq!(src.turn_servers, sink.turn_servers);
        assert_eq!(src.role, RoleSetting::Auto);
    }

    #[test]
    fn what_a_shared_call_does_not_have_is_refused_with_a_cure() {
        gst::init().unwrap();
        let mut sink = CallSettings::of_sink();
        sink.way = Way::Sink(SinkSignaller::WhepServer);
        assert_eq!(sink.terms().unwrap_err(), ONE_WAY);
        assert!(ONE_WAY.contains("signaller=file"));
        sink.way = Way::Sink(SinkSignaller::Stdio);
        sink.navigation = true;
        assert_eq!(sink.terms().unwrap_err(), NO_STEERING);
    }

    #[test]
    fn what_is_missing_is_told_in_the_words_of_a_call_of_one() {
        gst::init().unwrap();
        let mut sink = CallSettings::of_sink();
        sink.way = Way::Sink(SinkSignaller::File);
        let terms = sink.terms().unwrap();
        let error = sink
            .with(&terms)
            .configured(Role::Offerer, &Mailbox::default())
            .err()
            .unwrap();
        assert!(
            error.starts_with("signaller=file needs the directory"),
            "{error}"
        );
    }
}
