// SPDX-License-Identifier: MPL-2.0
//! Which local addresses and servers a call uses, from the user's words.

use std::net::{IpAddr, Ipv4Addr};

use if_addrs::{IfAddr, Interface};

use crate::peer::IceServer;

/// Local addresses for `wanted`: comma-separated addresses or interface names, or, when empty,
/// every address that is neither loopback nor link-local.
///
/// # Errors
///
/// A text that names the part that fits nothing, and what there is.
pub fn local_addresses(wanted: &str) -> Result<Vec<IpAddr>, String> {
    let interfaces =
        if_addrs::get_if_addrs().map_err(|e| format!("cannot list the network interfaces: {e}"))?;
    let mut addresses = choose(wanted, &interfaces)?;
    addresses.dedup();
    if addresses.is_empty() {
        // A machine without a network can still talk to itself.
        addresses = interfaces
            .iter()
            .filter(|i| i.is_loopback())
            .map(Interface::ip)
            .collect();
    }
    if addresses.is_empty() {
        return Err("this machine has no network address; bring an interface up".to_owned());
    }
    Ok(addresses)
}

fn choose(wanted: &str, interfaces: &[Interface]) -> Result<Vec<IpAddr>, String> {
    let parts: Vec<_> = wanted
        .split(',')
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .collect();
    if parts.is_empty() {
        return Ok(interfaces
            .iter()
            .filter(|i| !i.is_loopback() && !link_local(&i.addr))
            .map(Interface::ip)
            .collect());
    }
    let mut chosen = Vec::new();
    for part in parts {
        if let Ok(address) = part.parse::<IpAddr>() {
            let ours = interfaces.iter().any(|i| i.ip() == address);
            if ours || address.is_loopback() {
                chosen.push(address);
                continue;
            }
        }
        let before = chosen.len();
        chosen.extend(
            interfaces
                .iter()
                .filter(|i| i.name == part && !link_local(&i.addr))
                .map(Interface::ip),
        );
        if chosen.len() == before {
            let names: Vec<_> = interfaces
                .iter()
                .map(|i| format!("{} ({})", i.name, i.ip()))
                .collect();
            return Err(format!(
                "ice-addresses: '{part}' is neither an address nor an interface of this machine; \
                 it has {}",
                names.join(", ")
            ));
        }
    }
    Ok(chosen)
}

fn link_local(address: &IfAddr) -> bool {
    match address {
        IfAddr::V4(v4) => v4.ip.is_link_local(),
        IfAddr::V6(v6) => v6.ip.is_unicast_link_local(),
    }
}

/// The loopback address that `url` names, if it does.
pub fn loopback_in(url: &str) -> Option<IpAddr> {
    let url = url::Url::parse(url).ok()?;
    match url.host()? {
        // The hosts of schemes that the crate does not know are names.
        url::Host::Domain(name) => {
            let name = name.trim_start_matches('[').trim_end_matches(']');
            let address = if name.eq_ignore_ascii_case("localhost") {
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            } else {
                name.parse().ok()?
            };
            Some(address)
        }
        url::Host::Ipv4(address) => Some(IpAddr::V4(address)),
        url::Host::Ipv6(address) => Some(IpAddr::V6(address)),
    }
    .filter(IpAddr::is_loopback)
}

/// A server as GStreamer writes it: `stun://host:port`, `turn(s)://user:password@host:port`
/// (optionally `?transport=udp`), or with the W3C's single colon.
///
/// # Errors
///
/// A text that says what is wrong; it never repeats a password.
pub fn ice_server(uri: &str) -> Result<IceServer, String> {
    let (scheme, rest) = uri.split_once(':').ok_or_else(|| SERVER_FORM.to_owned())?;
    if !["stun", "stuns", "turn", "turns"].contains(&scheme) {
        return Err(format!("'{scheme}:' is no STUN or TURN scheme"));
    }
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    if host.is_empty() {
        return Err(format!("the {scheme} server has no host"));
    }
    let (username, credential) = match user {
        Some(user) => user
            .split_once(':')
            .ok_or_else(|| format!("the {scheme} server {host} has a user but no password"))?,
        None if scheme.starts_with("turn") => {
            return Err(format!(
                "the {scheme} server {host} needs user:password@ before its host"
            ));
        }
        None => ("", ""),
    };
    if scheme == "turns" || scheme == "stuns" || host.contains("transport=tcp") {
        return Err(format!(
            "{scheme} server {host}: only UDP is supported to STUN and TURN servers"
        ));
    }
    Ok(IceServer {
        url: format!("{scheme}:{host}"),
        username: percent_decoded(username),
        credential: percent_decoded(credential),
    })
}

const SERVER_FORM: &str = "stun-server and turn-servers are written stun://host:port and \
                           turn://user:password@host:port";

/// `%3A` and the like in a user name or password (RFC 3986 section 2.1).
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| first == b'%');
        let value = hex
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_given() {
        let all = local_addresses("127.0.0.1, ::1").unwrap();
        assert_eq!(
            all,
            [
                "127.0.0.1".parse::<IpAddr>().unwrap(),
                "::1".parse().unwrap()
            ]
        );
        assert!(!local_addresses("").unwrap().is_empty());
    }

    #[test]
    fn an_interface_is_found_by_name_and_an_unknown_one_is_named() {
        assert!(
            local_addresses("lo")
                .unwrap()
                .contains(&"127.0.0.1".parse().unwrap())
        );
        for wrong in ["nosuch0", "192.0.2.77"] {
            let text = local_addresses(wrong).unwrap_err();
            assert!(text.contains(wrong) && text.contains("lo"), "{text}");
        }
    }

    #[test]
    fn servers_are_read_in_both_spellings() {
        assert_eq!(ice_server("stun://a:3478").unwrap().url, "stun:a:3478");
        let turn = ice_server("turn://us%3Aer:p%40ss@h:1?transport=udp").unwrap();
        assert_eq!(
            (turn.username.as_str(), turn.credential.as_str()),
            ("us:er", "p@ss")
        );
        assert_eq!(turn.url, "turn:h:1?transport=udp");
    }

    #[test]
    fn a_refused_server_never_repeats_its_password() {
        for uri in [
            "turns://u:secret@h",
            "turn://secret@h",
            "turn:h",
            "http://u:secret@h",
            "x",
        ] {
            let text = ice_server(uri).err().unwrap();
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
