// SPDX-License-Identifier: MPL-2.0
//! Descriptions that lead through the relay.

use std::net::{Ipv4Addr, SocketAddrV4};

/// The address in `line`, if it is a UDP candidate of the first component on IPv4.
fn candidate(line: &str) -> Option<SocketAddrV4> {
    let mut words = line.strip_prefix("a=candidate:")?.split(' ').skip(1);
    let (component, transport) = (words.next()?, words.next()?);
    let (_priority, address, port) = (words.next()?, words.next()?, words.next()?);
    if component != "1" || !transport.eq_ignore_ascii_case("udp") {
        return None;
    }
    Some(SocketAddrV4::new(address.parse().ok()?, port.parse().ok()?))
}

/// The address of the peer that `sdp` is of: on the loopback interface if it has one there.
pub fn address(sdp: &str) -> Option<SocketAddrV4> {
    let mut found = None;
    for address in sdp.lines().filter_map(candidate) {
        if *address.ip() == Ipv4Addr::LOCALHOST {
            return Some(address);
        }
        found = found.or(Some(address));
    }
    found
}

/// `sdp` with `relay` as the only candidate of each m-line that has any.
pub fn lead_through(sdp: &str, relay: SocketAddrV4) -> String {
    let mut described = String::with_capacity(sdp.len());
    let mut done = false;
    for line in sdp.lines() {
        done &= !line.starts_with("m=");
        if !line.starts_with("a=candidate:") {
            described.push_str(line);
        } else if done {
            continue;
        } else {
            done = true;
            let (ip, port) = (relay.ip(), relay.port());
            described.push_str(&format!(
                "a=candidate:1 1 udp 2130706431 {ip} {port} typ host"
            ));
        }
        described.push_str("\r\n");
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
        a=candidate:1 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active\r\n\
        a=candidate:2 1 udp 2122260223 192.0.2.7 40000 typ host generation 0\r\n\
        a=candidate:3 1 UDP 2122194687 127.0.0.1 40001 typ host\r\n\
        a=candidate:3 2 udp 2122194686 127.0.0.1 40002 typ host\r\n\
        a=end-of-candidates\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\n";

    #[test]
    fn one_candidate_remains_and_leads_to_the_relay() {
        assert_eq!(address(SDP), Some("127.0.0.1:40001".parse().unwrap()));
        let described = lead_through(SDP, "127.0.0.1:5000".parse().unwrap());
        let candidates: Vec<&str> = described
            .lines()
            .filter(|line| line.starts_with("a=candidate"))
            .collect();
        assert_eq!(
            candidates,
            ["a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host"]
        );
        assert!(
            described
                .ends_with("a=end-of-candidates\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\n")
        );
    }

    #[test]
    fn an_address_elsewhere_is_better_than_none() {
        let sdp = SDP.replace("127.0.0.1", "x.local");
        assert_eq!(address(&sdp), Some("192.0.2.7:40000".parse().unwrap()));
        assert_eq!(address("v=0\r\n"), None);
    }
}
