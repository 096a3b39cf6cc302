// SPDX-License-Identifier: MPL-2.0
//! Properties that both elements have: one source of names, defaults and texts.

use std::path::PathBuf;

use gst::glib;
use gst::glib::prelude::*;
use gst::prelude::*;

use crate::session::SessionConfig;
use crate::session::addresses;
use crate::signalling::{Role, SignallerConfig};

use super::errors::settings_error;

/// How descriptions travel between the two peers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcSignaller")]
pub enum SignallerKind {
    /// Copy and paste.
    #[default]
    #[enum_value(
        name = "Copy and paste: one JSON object a line on stdin and stdout",
        nick = "stdio"
    )]
    Stdio,
    /// Files.
    #[enum_value(
        name = "Files: offer.json, answer.json and bye.json in the directory 'location'",
        nick = "file"
    )]
    File,
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
#[derive(Debug, Default, Clone)]
pub struct CallSettings {
    signaller: SignallerKind,
    location: Option<String>,
    role: RoleSetting,
    stun_server: Option<String>,
    turn_servers: Vec<String>,
    ice_addresses: Option<String>,
}

impl CallSettings {
    /// The specifications, in the order that gst-inspect shows.
    pub fn properties() -> Vec<glib::ParamSpec> {
        vec![
            glib::ParamSpecEnum::builder::<SignallerKind>("signaller")
                .nick("Signaller")
                .blurb("How the session descriptions travel to the other side and back")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("location")
                .nick("Location")
                .blurb("With signaller=file: the directory in which the two sides meet")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder::<RoleSetting>("role")
                .nick("Role")
                .blurb("Which side writes the offer")
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
                    "TURN servers to relay through, turn://user:password@host:port; an array, or \
                     one string with commas. Reading shows them without passwords",
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
        match pspec.name() {
            "signaller" => assign(&mut self.signaller, value),
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
            "signaller" => self.signaller.to_value(),
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
            _ => return None,
        })
    }

    /// Whether a person exchanges the descriptions or watches a terminal while files do.
    pub fn reports_on_stderr(&self) -> bool {
        matches!(self.signaller, SignallerKind::Stdio | SignallerKind::File)
    }

    /// Everything a call needs.
    ///
    /// # Errors
    ///
    /// `RESOURCE/SETTINGS` naming the property that is missing or wrong.
    pub fn session_config(&self, automatic: Role) -> Result<SessionConfig, gst::ErrorMessage> {
        let role = match self.role {
            RoleSetting::Auto => automatic,
            RoleSetting::Offer => Role::Offerer,
            RoleSetting::Answer => Role::Answerer,
        };
        let location = self.location.as_deref().filter(|l| !l.is_empty());
        let signaller = match (self.signaller, location) {
            (SignallerKind::Stdio, _) => SignallerConfig::Stdio,
            (SignallerKind::File, Some(directory)) => {
                SignallerConfig::File(PathBuf::from(directory))
            }
            (SignallerKind::File, None) => {
                return Err(settings_error(
                    "signaller=file needs the directory in which the two sides meet: set location",
                ));
            }
        };
        let wanted = self.ice_addresses.as_deref().unwrap_or_default();
        let addresses = addresses::local_addresses(wanted).map_err(|e| settings_error(&e))?;
        let ice_servers = self
            .stun_server
            .iter()
            .chain(&self.turn_servers)
            .filter(|uri| !uri.is_empty())
            .map(|uri| addresses::ice_server(uri))
            .collect::<Result<_, _>>()
            .map_err(|e| settings_error(&e))?;
        Ok(SessionConfig {
            role,
            signaller: signaller.build(),
            addresses,
            ice_servers,
        })
    }
}

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
        let settings = CallSettings {
            signaller: SignallerKind::File,
            ..Default::default()
        };
        assert!(settings.session_config(Role::Offerer).is_err());
    }
}
