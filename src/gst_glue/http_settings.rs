// SPDX-License-Identifier: MPL-2.0
//! Properties of WHIP and WHEP, as client and as server: one source of names, defaults and texts.

use std::path::PathBuf;
use std::time::Duration;

use gst::glib;
use gst::glib::prelude::*;
use gst::prelude::*;

use crate::session::reconnect::Reconnect;
use crate::signalling::SignallerConfig;
use crate::signalling::http::client::ClientConfig;
use crate::signalling::http::server::ServerConfig;
use crate::signalling::http::{IceServerLink, Protocol, Token};

/// A client that asks is answered within this time or told that it takes too long.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// Values of the properties.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    auth_token: Option<String>,
    tls_ca: Option<String>,
    tls_cert: Option<String>,
    tls_key: Option<String>,
    max_peers: u32,
    timeout: u32,
    reconnect: bool,
    max_reconnects: i32,
}

impl HttpSettings {
    /// Defaults, with room for `max_peers` at a time.
    pub fn new(max_peers: u32) -> Self {
        Self {
            auth_token: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            max_peers,
            timeout: 10_000,
            reconnect: true,
            max_reconnects: -1,
        }
    }

    /// The specifications, in the order that gst-inspect shows.
    pub fn properties(&self) -> Vec<glib::ParamSpec> {
        let mut all = vec![
            text(
                "auth-token",
                "Authentication token",
                "Bearer token (RFC 6750): what a client shows, or what a server wants to see, then \
                 several may be given, comma-separated. Reading does not show it",
            ),
            text(
                "tls-ca",
                "TLS authorities",
                "Client: PEM file with certificates to trust beside those of the system",
            ),
            text(
                "tls-cert",
                "TLS certificate",
                "Server: PEM file with the certificate chain, for an https:// location",
            ),
            text(
                "tls-key",
                "TLS key",
                "Server: PEM file with the certificate's private key",
            ),
        ];
        all.extend([
            glib::ParamSpecUInt::builder("max-peers")
                .nick("Peers at most")
                .blurb("Server: peers at a time; who comes after them is told to try later (503)")
                .minimum(1)
                .maximum(10_000)
                .default_value(self.max_peers)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("timeout")
                .nick("Timeout")
                .blurb("Client: time for one HTTP request, ms")
                .minimum(100)
                .maximum(600_000)
                .default_value(self.timeout)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("reconnect")
                .nick("Reconnect")
                .blurb(
                    "Client: make a call anew that was up and is lost, while the pipeline stays \
                     PLAYING",
                )
                .default_value(self.reconnect)
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("max-reconnects")
                .nick("Reconnects at most")
                .blurb("Client: tries in a row until the call counts as over; -1: without end")
                .minimum(-1)
                .default_value(self.max_reconnects)
                .mutable_ready()
                .build(),
        ]);
        all
    }

    /// Sets a property; `false` when it is none of these.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) -> bool {
        let text = || value.get::<Option<String>>().ok().flatten();
        match pspec.name() {
            "auth-token" => self.auth_token = text(),
            "tls-ca" => self.tls_ca = text(),
            "tls-cert" => self.tls_cert = text(),
            "tls-key" => self.tls_key = text(),
            "max-peers" => self.max_peers = value.get().unwrap_or(self.max_peers),
            "timeout" => self.timeout = value.get().unwrap_or(self.timeout),
            "reconnect" => self.reconnect = value.get().unwrap_or(self.reconnect),
            "max-reconnects" => {
                self.max_reconnects = value.get().unwrap_or(self.max_reconnects);
            }
            _ => return false,
        }
        true
    }

    /// Reads a property; `None` when it is none of these.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        Some(match pspec.name() {
            // `gst-launch -v` and dot files print property values.
            "auth-token" => self.auth_token.as_ref().map(|_| "***").to_value(),
            "tls-ca" => self.tls_ca.to_value(),
            "tls-cert" => self.tls_cert.to_value(),
            "tls-key" => self.tls_key.to_value(),
            "max-peers" => self.max_peers.to_value(),
            "timeout" => self.timeout.to_value(),
            "reconnect" => self.reconnect.to_value(),
            "max-reconnects" => self.max_reconnects.to_value(),
            _ => return None,
        })
    }

    /// A client of `location`.
    pub fn client(&self, protocol: Protocol, location: &str) -> SignallerConfig {
        SignallerConfig::Http(ClientConfig {
            protocol,
            endpoint: location.to_owned(),
            token: given(&self.auth_token).map(Token::new),
            ca: given(&self.tls_ca).map(PathBuf::from),
            timeout: Duration::from_millis(self.timeout.into()),
        })
    }

    /// How a client's call is made again, if it is.
    pub fn reconnect(&self, again: &SignallerConfig) -> Option<Reconnect> {
        self.reconnect.then(|| Reconnect {
            again: again.clone(),
            limit: u32::try_from(self.max_reconnects).ok(),
        })
    }

    /// A server at `location`.
    ///
    /// # Errors
    ///
    /// The text for `RESOURCE/SETTINGS` when only one of certificate and key is given.
    pub fn server(
        &self,
        protocol: Protocol,
        location: &str,
        ice_servers: Vec<IceServerLink>,
    ) -> Result<ServerConfig, String> {
        let tls = match (given(&self.tls_cert), given(&self.tls_key)) {
            (Some(cert), Some(key)) => Some((PathBuf::from(cert), PathBuf::from(key))),
            (None, None) => None,
            _ => {
                return Err(
                    "tls-cert and tls-key belong together: set both, each to a PEM file".to_owned(),
                );
            }
        };
        let tokens = self.auth_token.as_deref().unwrap_or_default().split(',');
        Ok(ServerConfig {
            protocol,
            location: location.to_owned(),
            tokens: tokens
                .map(str::trim)
                .filter(|token| !token.is_empty())
                .map(Token::new)
                .collect(),
            tls,
            max_peers: self.max_peers as usize,
            ice_servers,
            answer_limit: ANSWER_LIMIT,
            navigation: false,
        })
    }
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn text(name: &'static str, nick: &'static str, blurb: &'static str) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name)
        .nick(nick)
        .blurb(blurb)
        .mutable_ready()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_takes_several_tokens_and_a_whole_certificate() {
        gst::init().unwrap();
        let mut settings = HttpSettings::new(4);
        settings.auth_token = Some("one, two".to_owned());
        let config = settings.server(Protocol::Whep, "http://[::1]:0/whep", Vec::new());
        assert_eq!(config.unwrap().tokens.len(), 2);
        settings.tls_cert = Some("cert.pem".to_owned());
        let config = settings.server(Protocol::Whep, "https://[::1]:0/whep", Vec::new());
        assert!(config.is_err(), "a certificate without its key");
    }

    #[test]
    fn reconnects_are_without_end_unless_limited() {
        let mut settings = HttpSettings::new(1);
        let again = settings.client(Protocol::Whip, "http://127.0.0.1/whip");
        assert_eq!(settings.reconnect(&again).unwrap().limit, None);
        settings.max_reconnects = 3;
        assert_eq!(settings.reconnect(&again).unwrap().limit, Some(3));
        settings.reconnect = false;
        assert!(settings.reconnect(&again).is_none());
    }
}
