// SPDX-License-Identifier: MPL-2.0
//! The data channels' part of the core: SCTP packets are application data of DTLS.

use std::time::Instant;

use bytes::BytesMut;

use super::core::Core;
use super::dtls::{DtlsRole, DtlsState};
use super::sctp::Sctp;

/// Packets that leave in one go: about 0.1 MB. Media is looked for in between.
const RUN: usize = 96;

impl Core {
    /// Packets of the remote.
    pub(super) fn read_data(&mut self, packets: Vec<BytesMut>, now: Instant) {
        if !packets.is_empty() {
            self.begin_data(now);
        }
        for packet in packets {
            if let Some(sctp) = &mut self.sctp {
                sctp.read(packet.freeze(), now);
            }
        }
        if self.dtls.state == DtlsState::Closed {
            self.end_data("the remote ended the call");
        }
    }

    /// Starts SCTP, once both sides want it and DTLS is up.
    fn begin_data(&mut self, now: Instant) {
        if self.sctp.is_none()
            && self.dtls.state == DtlsState::Up
            && let Some(agreed) = self.shared.data.agreed()
        {
            let client = self.dtls.role == Some(DtlsRole::Client);
            self.sctp = Some(Sctp::new(self.shared.clone(), agreed, client, now));
        }
    }

    pub(super) fn data_timeout(&mut self, now: Instant) {
        self.begin_data(now);
        if let Some(sctp) = &mut self.sctp
            && sctp.poll_timeout().is_some_and(|due| now >= due)
        {
            sctp.handle_timeout(now);
        }
    }

    /// Takes packets that may leave now, behind media. `true`: there are more.
    pub(super) fn pump_data(&mut self, now: Instant) -> bool {
        let Some(sctp) = &mut self.sctp else {
            return false;
        };
        sctp.turn(now);
        for _ in 0..RUN {
            if self.outbox.is_full() {
                break;
            }
            let Some(packet) = sctp.poll_write() else {
                break;
            };
            self.dtls.write(&packet, now);
        }
        let more = sctp.has_output();
        self.flush_dtls();
        more
    }

    pub(super) fn end_data(&mut self, reason: &str) {
        if let Some(sctp) = &mut self.sctp {
            sctp.end(reason);
        }
    }
}
