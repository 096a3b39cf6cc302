// SPDX-License-Identifier: MPL-2.0
//! What a datagram is, as far as one sees from outside (RFC 7983, RFC 5761 section 4).

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stun,
    Dtls,
    Rtp {
        payload_type: u8,
        sequence_number: u16,
        ssrc: u32,
    },
    Rtcp,
    Other,
}

impl Kind {
    pub fn of(datagram: &[u8]) -> Self {
        match datagram {
            [0..=3, ..] => Self::Stun,
            [20..=63, ..] => Self::Dtls,
            [128..=191, 192..=223, ..] => Self::Rtcp,
            &[128..=191, second, s1, s2, _, _, _, _, c1, c2, c3, c4, ..] => Self::Rtp {
                payload_type: second & 0x7f,
                sequence_number: u16::from_be_bytes([s1, s2]),
                ssrc: u32::from_be_bytes([c1, c2, c3, c4]),
            },
            _ => Self::Other,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Stun => "stun",
            Self::Dtls => "dtls",
            Self::Rtp { .. } => "rtp",
            Self::Rtcp => "rtcp",
            Self::Other => "other",
        }
    }
}
