// SPDX-License-Identifier: MPL-2.0
//! What a TURN server is asked (RFC 8656).

use std::net::{IpAddr, SocketAddr};

use rtc::stun::message::{
    METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH, Method, Setter,
};
use rtc::turn::proto::PROTO_UDP;
use rtc::turn::proto::channum::ChannelNumber;
use rtc::turn::proto::peeraddr::PeerAddress;
use rtc::turn::proto::reqfamily::{REQUESTED_FAMILY_IPV6, RequestedAddressFamily};
use rtc::turn::proto::reqtrans::RequestedTransport;

pub(super) enum Request {
    Allocate,
    Refresh,
    Permit(Vec<IpAddr>),
    Bind(SocketAddr, u16),
}

impl Request {
    pub(super) fn method(&self) -> Method {
        match self {
            Self::Allocate => METHOD_ALLOCATE,
            Self::Refresh => METHOD_REFRESH,
            Self::Permit(_) => METHOD_CREATE_PERMISSION,
            Self::Bind(..) => METHOD_CHANNEL_BIND,
        }
    }

    pub(super) fn attributes(&self, base: SocketAddr) -> Vec<Box<dyn Setter>> {
        match self {
            Self::Allocate => {
                let mut attributes: Vec<Box<dyn Setter>> = vec![Box::new(RequestedTransport {
                    protocol: PROTO_UDP,
                })];
                if base.is_ipv6() {
                    let family = RequestedAddressFamily(REQUESTED_FAMILY_IPV6.0);
                    attributes.push(Box::new(family));
                }
                attributes
            }
            Self::Refresh => vec![],
            // The port does not matter (RFC 8656 section 9.1).
            Self::Permit(ips) => ips
                .iter()
                .map(|ip| peer_attribute(SocketAddr::new(*ip, 9)))
                .collect(),
            Self::Bind(peer, number) => {
                vec![
                    Box::new(ChannelNumber(*number)) as Box<dyn Setter>,
                    peer_attribute(*peer),
                ]
            }
        }
    }
}

pub(super) fn peer_attribute(peer: SocketAddr) -> Box<dyn Setter> {
    Box::new(PeerAddress {
        ip: peer.ip(),
        port: peer.port(),
    })
}
