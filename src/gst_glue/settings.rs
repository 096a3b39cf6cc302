// SPDX-License-Identifier: MPL-2.0
//! Properties that both elements have: one source of names, defaults and texts.

mod shared;
mod signallers;

use std::net::IpAddr;
use std::path::PathBuf;

use gst::glib;
use gst::glib::prelude::*;
use gst::prelude::*;

use crate::peer::{BitrateLimits, IceServer};
use crate::session::addresses;
use crate::session::host::HostConfig;
use crate::session::reconnect::Reconnect;
use crate::session::{SessionConfig, SessionOptions};
use crate::signalling::application::Mailbox;
use crate::signalling::http::{IceServerLink, Protocol};
use crate::signalling::{Role, SignallerConfig};

use super::errors::settings_error;
use super::fec_settings::FecSettings;
use super::http_settings::HttpSettings;
pub use signallers::{SinkSignaller, SrcSignaller};

/// Either of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Sink(SinkSignaller),
    Src(SrcSignaller),
}

/// What a way of signalling needs to begin with.
pub enum Connection {
    /// One call.
    One(SessionConfig),
    /// Whoever comes.
    Many(HostConfig),
}

/// Who writes the offer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcRole")]
pub enum RoleSetting {
    /// The sink offers, the source answers.
    #[default]
    #[enum_value(name = "The sink offers, the source answers", nick = "auto")]
    Auto,
    /// This side offers.
    #[enum_value(name = "This side writes the offer", nick = "offer")]
    Offer,
    /// This side answers.
    #[enum_value(name = "This side waits for an offer and answers it", nick = "answer")]
    Answer,
}

/// Values of the common properties.
#[derive(Debug, Clone)]
pub struct CallSettings {
    way: Way,
    /// Name of the call that two elements share.
    call: Option<String>,
    http: HttpSettings,
    location: Option<String>,
    role: RoleSetting,
    stun_server: Option<String>,
    turn_servers: Vec<String>,
    ice_addresses: Option<String>,
    /// Congestion control of what is sent.
    pub bitrate: BitrateLimits,
    fec: FecSettings,
    /// Viewers steer with mouse and keyboard.
    pub navigation: bool,
}

impl CallSettings {
    /// Those of a sink.
    pub fn of_sink() -> Self {
        Self::new(Way::Sink(SinkSignaller::default()), HttpSettings::new(256))
    }

    /// Those of a source.
    pub fn of_src() -> Self {
        Self::new(Way::Src(SrcSignaller::default()), HttpSettings::new(1))
    }

    fn new(way: Way, http: HttpSettings) -> Self {
        Self {
            way,
            call: None,
            http,
            location: None,
            role: RoleSetting::default(),
            stun_server: None,
            turn_servers: Vec::new(),
            ice_addresses: None,
            bitrate: BitrateLimits::default(),
            fec: FecSettings::default(),
            navigation: false,
        }
    }

    /// The specifications, in the order that gst-inspect shows.
    pub fn properties(&self) -> Vec<glib::ParamSpec> {
        let mut all = vec![self.signaller_property()];
        all.push(shared::property());
        all.extend(Self::common_properties());
        all.extend(self.http.properties());
        let sends = matches!(self.way, Way::Sink(_));
        all.extend(FecSettings::properties(sends));
        all
    }

    fn signaller_property(&self) -> glib::ParamSpec {
        const NICK: &str = "Signaller";
        const BLURB: &str = "How the session descriptions travel to the other side and back";
        match self.way {
            Way::Sink(_) => glib::ParamSpecEnum::builder::<SinkSignaller>("signaller")
                .nick(NICK)
                .blurb(BLURB)
                .mutable_ready()
                .build(),
            Way::Src(_) => glib::ParamSpecEnum::builder::<SrcSignaller>("signaller")
                .nick(NICK)
                .blurb(BLURB)
                .mutable_ready()
                .build(),
        }
    }

    fn common_properties() -> Vec<glib::ParamSpec> {
        vec![
            glib::ParamSpecString::builder("location")
                .nick("Location")
                .blurb(
                    "file: the directory in which the two sides meet; whip-client, whep-client: \
                     URL of the endpoint; whep-server, whip-server: URL to listen on, like \
                     http://127.0.0.1:8080/whep (port 0: any that is free)",
                )
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder::<RoleSetting>("role")
                .nick("Role")
                .blurb("Which side writes the offer; over HTTP the client does")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("stun-server")
                .nick("STUN server")
                .blurb(
                    "STUN server to learn the public address from, stun://host:port; none is \
                     contacted unless it is set",
                )
                .mutable_ready()
                .build(),
            gst::ParamSpecArray::builder("turn-servers")
                .element_spec(
                    &glib::ParamSpecString::builder("turn-server")
                        .nick("TURN server")
                        .blurb("turn://user:password@host:port")
                        .build(),
                )
                .nick("TURN servers")
                .blurb(
                    "TURN servers to relay through, <\"turn://user:password@host:port\">: an array, \
                     whose entries may hold several with commas. Reading shows them without \
                     passwords",
                )
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("ice-addresses")
                .nick("ICE addresses")
                .blurb(
                    "Local addresses or interface names to use, comma-separated (127.0.0.1 for \
                     two programs on one machine); unset: every interface but loopback",
                )
                .mutable_ready()
                .build(),
        ]
    }

    /// Sets a common property; `false` when it is none.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) -> bool {
        if self.http.set(value, pspec) || self.fec.set(value, pspec) {
            return true;
        }
        match pspec.name() {
            "signaller" => match &mut self.way {
                Way::Sink(way) => assign(way, value),
                Way::Src(way) => assign(way, value),
            },
            "call" => assign(&mut self.call, value),
            "location" => assign(&mut self.location, value),
            "role" => assign(&mut self.role, value),
            "stun-server" => assign(&mut self.stun_server, value),
            "ice-addresses" => assign(&mut self.ice_addresses, value),
            "turn-servers" => {
                if let Ok(array) = value.get::<gst::ArrayRef>() {
                    self.turn_servers = array
                        .as_slice()
                        .iter()
                        .filter_map(|v| v.get::<String>().ok())
                        .flat_map(|v| {
                            v.split(',')
                                .map(|s| s.trim().to_owned())
                                .collect::<Vec<_>>()
                        })
                        .filter(|v| !v.is_empty())
                        .collect();
                }
            }
            _ => return false,
        }
        true
    }

    /// Reads a common property; `None` when it is none.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        Some(match pspec.name() {
            "signaller" => match self.way {
                Way::Sink(way) => way.to_value(),
                Way::Src(way) => way.to_value(),
            },
            "call" => self.call.to_value(),
            "location" => self.location.to_value(),
            "role" => self.role.to_value(),
            "stun-server" => self.stun_server.to_value(),
            "ice-addresses" => self.ice_addresses.to_value(),
            // `gst-launch -v` and dot files print property values: no password leaves here.
            "turn-servers" => gst::Array::new(
                self.turn_servers
                    .iter()
                    .map(|uri| without_password(uri).to_send_value()),
            )
            .to_value(),
            _ => return self.fec.get(pspec).or_else(|| self.http.get(pspec)),
        })
    }

    /// Takes a `whip(s)://` or `whep(s)://` URI as location, and the client that it is for;
    /// `idle`: nothing runs yet.
    ///
    /// # Errors
    ///
    /// `GstURIError` when something runs, or the URI has no host.
    pub fn set_uri(&mut self, uri: &str, idle: bool) -> Result<(), glib::Error> {
        if !idle {
            return Err(glib::Error::new(
                gst::URIError::BadState,
                "the URI can be set in NULL and READY only",
            ));
        }
        if !url::Url::parse(uri).is_ok_and(|url| url.has_host()) {
            return Err(glib::Error::new(
                gst::URIError::BadUri,
                "a WHIP or WHEP URI has the form whip://host:port/path (whips:// for TLS)",
            ));
        }
        self.location = Some(uri.to_owned());
        match &mut self.way {
            Way::Sink(way) => *way = SinkSignaller::WhipClient,
            Way::Src(way) => *way = SrcSignaller::WhepClient,
        }
        Ok(())
    }

    /// The location of a client, as a URI that [`Self::set_uri`] takes.
    pub fn uri(&self) -> Option<String> {
        let scheme = match self.way {
            Way::Sink(SinkSignaller::WhipClient) => "whip",
            Way::Src(SrcSignaller::WhepClient) => "whep",
            _ => return None,
        };
        let (given, rest) = self.location.as_deref()?.split_once("://")?;
        let secure = if given.ends_with('s') { "s" } else { "" };
        Some(format!("{scheme}{secure}://{rest}"))
    }

    /// Whether people watch a terminal: all other ways of signalling are chosen at one.
    pub fn reports_on_stderr(&self) -> bool {
        !self.is_application()
    }

    /// Whether the application carries the messages.
    fn is_application(&self) -> bool {
        matches!(
            self.way,
            Way::Sink(SinkSignaller::Application) | Way::Src(SrcSignaller::Application)
        )
    }

    /// Whether the application may carry the messages: the other element of a shared call may say
    /// that it does.
    pub fn takes_messages(&self) -> bool {
        self.is_application() || self.call.as_deref().is_some_and(|name| !name.is_empty())
    }

    /// Everything that is needed to begin; `mailbox` is the application's, where it signals.
    ///
    /// # Errors
    ///
    /// `RESOURCE/SETTINGS` naming the property that is missing or wrong.
    pub fn connection(
        &self,
        automatic: Role,
        mailbox: &Mailbox,
    ) -> Result<Connection, gst::ErrorMessage> {
        let configured = self.configured(automatic, mailbox);
        configured.map_err(|text| settings_error(&text))
    }

    /// The same, with the text of the error alone: an `ErrorMessage` does not give it back.
    fn configured(&self, automatic: Role, mailbox: &Mailbox) -> Result<Connection, String> {
        let again = match self.way {
            Way::Sink(SinkSignaller::Application) | Way::Src(SrcSignaller::Application) => {
                let config = SignallerConfig::Application(mailbox.clone());
                return self.call(automatic, &config, None);
            }
            Way::Sink(SinkSignaller::Stdio) | Way::Src(SrcSignaller::Stdio) => {
                return self.call(automatic, &SignallerConfig::Stdio, None);
            }
            Way::Sink(SinkSignaller::File) | Way::Src(SrcSignaller::File) => {
                let directory = self.location(
                    "signaller=file needs the directory in which the two sides meet: set location",
                )?;
                let config = SignallerConfig::File(PathBuf::from(directory));
                return self.call(automatic, &config, None);
            }
            Way::Sink(SinkSignaller::WhepServer) => return self.host(Protocol::Whep),
            Way::Src(SrcSignaller::WhipServer) => return self.host(Protocol::Whip),
            Way::Sink(SinkSignaller::WhipClient) => {
                let url = self.location(
                    "signaller=whip-client needs the URL of the server's endpoint: set location",
                )?;
                self.http.client(Protocol::Whip, url)
            }
            Way::Src(SrcSignaller::WhepClient) => {
                let url = self.location(
                    "signaller=whep-client needs the URL of the server's endpoint: set location",
                )?;
                self.http.client(Protocol::Whep, url)
            }
        };
        if self.role == RoleSetting::Answer {
            return Err("role=answer does not go with a WHIP or WHEP client, which offers: leave role alone".to_owned());
        }
        self.call(Role::Offerer, &again, self.http.reconnect(&again))
    }

    fn call(
        &self,
        automatic: Role,
        signaller: &SignallerConfig,
        reconnect: Option<Reconnect>,
    ) -> Result<Connection, String> {
        Ok(Connection::One(SessionConfig {
            role: match self.role {
                RoleSetting::Auto => automatic,
                RoleSetting::Offer => Role::Offerer,
                RoleSetting::Answer => Role::Answerer,
            },
            signaller: signaller.build(),
            addresses: self.addresses()?,
            ice_servers: self.ice_servers()?,
            options: SessionOptions {
                reconnect,
                bitrate: self.bitrate,
                fec: self.fec.wanted(),
                ..SessionOptions::default()
            },
        }))
    }

    fn host(&self, protocol: Protocol) -> Result<Connection, String> {
        if self.role == RoleSetting::Offer {
            return Err(
                "role=offer does not go with a WHIP or WHEP server, whose clients offer: leave \
                 role alone"
                    .to_owned(),
            );
        }
        let url = self.location(
            "a server needs the URL to listen on: set location, for one to \
             http://127.0.0.1:8080/whep",
        )?;
        let ice_servers = self.ice_servers()?;
        let links = ice_servers.iter().map(|server| IceServerLink {
            url: server.url.clone(),
            username: server.username.clone(),
            credential: server.credential.clone(),
        });
        let mut server = self.http.server(protocol, url, links.collect())?;
        if self.navigation && server.tokens.is_empty() {
            return Err(NAVIGATION_WITHOUT_TOKEN.to_owned());
        }
        server.navigation = self.navigation;
        Ok(Connection::Many(HostConfig {
            server,
            addresses: self.addresses()?,
            ice_servers,
            bitrate: self.bitrate,
            fec: self.fec.wanted(),
        }))
    }

    fn location(&self, missing: &str) -> Result<&str, String> {
        let location = self.location.as_deref().filter(|l| !l.is_empty());
        location.ok_or_else(|| missing.to_owned())
    }

    fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        let wanted = self.ice_addresses.as_deref().unwrap_or_default();
        let mut all = addresses::local_addresses(wanted)?;
        // Who is reached by the machine's own name for itself is on the same machine.
        if wanted.is_empty()
            && let Some(loopback) = self.location.as_deref().and_then(addresses::loopback_in)
            && !all.contains(&loopback)
        {
            all.push(loopback);
        }
        Ok(all)
    }

    fn ice_servers(&self) -> Result<Vec<IceServer>, String> {
        self.stun_server
            .iter()
            .chain(&self.turn_servers)
            .filter(|uri| !uri.is_empty())
            .map(|uri| addresses::ice_server(uri))
            .collect()
    }
}

const NAVIGATION_WITHOUT_TOKEN: &str = "enable-data-channel-navigation gives viewers mouse and keyboard of \
                                        what is sent: set auth-token, so that only those who have it come";

fn assign<T>(field: &mut T, value: &glib::Value)
where
    T: for<'a> glib::value::FromValue<'a>,
{
    // GObject has checked the type against the specification.
    if let Ok(value) = value.get() {
        *field = value;
    }
}

fn without_password(uri: &str) -> String {
    match (uri.split_once("://"), uri.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) => {
            let user = rest.split([':', '@']).next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}")
        }
        _ => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_password_is_not_shown() {
        assert_eq!(without_password("turn://u:p@h:1"), "turn://u:***@h:1");
        assert_eq!(without_password("turn://u:p@q@h:1"), "turn://u:***@h:1");
        assert_eq!(without_password("turn://h"), "turn://h");
    }

    #[test]
    fn the_file_signaller_names_the_property_it_lacks() {
        gst::init().unwrap();
        let mut settings = CallSettings::of_sink();
        settings.way = Way::Sink(SinkSignaller::File);
        assert!(
            settings
                .connection(Role::Offerer, &Mailbox::default())
                .is_err()
        );
    }
}
