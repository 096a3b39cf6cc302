// SPDX-License-Identifier: MPL-2.0
//! Makes one RTP stream of those that follow each other: when a call is made again, the remote
//! sends with another SSRC, other sequence numbers, timestamps and payload types. So does one that
//! changes between sources during a call, and goes back to the first. What is downstream sees the
//! first of them go on, with a gap as long as the interruption.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::media::rtp_packet::{Header, InboundPacket, SOURCE_IS_SILENT};

/// Former sources, whose late packets are of no more use.
const REMEMBERED: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct Splice {
    current: Option<Source>,
    former: Vec<Former>,
    /// Another connection has come: what follows is of it, whatever its SSRC.
    anew: bool,
}

#[derive(Debug)]
struct Former {
    ssrc: u32,
    /// Highest that came.
    sequence: u16,
}

impl Former {
    /// Whether the remote has gone back to it, rather than that this packet is late, when the
    /// current source was silent for so long.
    fn comes_back(&mut self, sequence: u16, silence: Duration) -> bool {
        /// Whatever its number, a packet is not as late as that.
        const LATEST: Duration = Duration::from_secs(1);
        let step = sequence.wrapping_sub(self.sequence);
        let ahead = (1..0x8000).contains(&step);
        if ahead {
            self.sequence = sequence;
        }
        silence >= LATEST || (ahead && silence >= SOURCE_IS_SILENT)
    }
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// Added to what comes.
    sequence_offset: u16,
    timestamp_offset: u32,
    /// Nothing has to be changed.
    first: bool,
    /// SSRC that is seen downstream.
    seen_as: u32,
    /// Highest that went out.
    sequence: u16,
    timestamp: u32,
    arrival: Instant,
}

impl Splice {
    /// Another connection goes on with the stream. It may have the SSRC of one before.
    pub fn start_over(&mut self) {
        self.anew = self.current.is_some();
        self.former.clear();
    }

    /// What goes out for `packet`; `None` when it belongs to a source that is over. `clock_rate`
    /// is that of its codec; `payload_type` the one to go out with.
    pub fn pass(
        &mut self,
        packet: InboundPacket,
        clock_rate: u32,
        payload_type: u8,
    ) -> Option<InboundPacket> {
        let header = Header::read(&packet.header)?;
        if let Some(at) = self.former.iter().position(|f| f.ssrc == header.ssrc) {
            let silence = self.silence(packet.arrival);
            let former = self.former.get_mut(at)?;
            if packet.payload.is_empty() || !former.comes_back(header.sequence, silence) {
                return None;
            }
            self.former.remove(at);
        }
        let follows = self.current.as_ref().is_none_or(|c| c.ssrc != header.ssrc);
        if follows || std::mem::take(&mut self.anew) {
            self.anew = false;
            let next = self.next_source(&header, packet.arrival, clock_rate);
            if let Some(former) = self.current.replace(next).filter(|f| f.ssrc != header.ssrc) {
                if self.former.len() >= REMEMBERED {
                    self.former.remove(0);
                }
                self.former.push(Former {
                    ssrc: former.ssrc,
                    sequence: former.sequence.wrapping_sub(former.sequence_offset),
                });
            }
        }
        let source = self.current.as_mut()?;
        let sequence = header.sequence.wrapping_add(source.sequence_offset);
        let timestamp = header.timestamp.wrapping_add(source.timestamp_offset);
        if sequence.wrapping_sub(source.sequence) < 0x8000 {
            source.sequence = sequence;
            source.timestamp = timestamp;
            source.arrival = packet.arrival;
        }
        if source.first && header.payload_type == payload_type {
            return Some(packet);
        }
        let header = rewritten(
            &packet.header,
            payload_type,
            sequence,
            timestamp,
            source.seen_as,
        )?;
        Some(InboundPacket {
            header,
            whole: None,
            ..packet
        })
    }

    /// How long before `arrival` the last packet of the current source came.
    fn silence(&self, arrival: Instant) -> Duration {
        let current = self.current.as_ref();
        current.map_or(Duration::MAX, |current| {
            arrival.saturating_duration_since(current.arrival)
        })
    }

    /// A sender report of the current source as it is seen downstream; `None` for any other.
    pub fn report(&self, report: &Bytes) -> Option<Bytes> {
        /// RFC 3550 section 6.4.1.
        const SENDER_REPORT: u8 = 200;
        let source = self.current.as_ref()?;
        if source.first {
            return Some(report.clone());
        }
        let mut at = 0;
        loop {
            let words = u16::from_be_bytes(array(report, at + 2)?);
            if *report.get(at + 1)? == SENDER_REPORT {
                break;
            }
            at += (usize::from(words) + 1) * 4;
        }
        if u32::from_be_bytes(array(report, at + 4)?) != source.ssrc {
            return None;
        }
        let timestamp = u32::from_be_bytes(array(report, at + 16)?);
        let timestamp = timestamp.wrapping_add(source.timestamp_offset);
        let mut changed = BytesMut::from(&report[..]);
        put(&mut changed, at + 4, &source.seen_as.to_be_bytes())?;
        put(&mut changed, at + 16, &timestamp.to_be_bytes())?;
        Some(changed.freeze())
    }

    fn next_source(&self, header: &Header, arrival: Instant, clock_rate: u32) -> Source {
        let mut next = Source {
            ssrc: header.ssrc,
            sequence_offset: 0,
            timestamp_offset: 0,
            first: true,
            seen_as: header.ssrc,
            sequence: header.sequence,
            timestamp: header.timestamp,
            arrival,
        };
        if let Some(last) = &self.current {
            // One number is left out: to what is downstream a packet was lost, so that it throws
            // away a frame that was cut off and does not join it to the next.
            let sequence = last.sequence.wrapping_add(2);
            let passed = arrival.saturating_duration_since(last.arrival).as_micros();
            // The low 32 bits are all there is.
            let ticks = (passed * u128::from(clock_rate) / 1_000_000).max(1) as u32;
            let timestamp = last.timestamp.wrapping_add(ticks);
            next.first = false;
            next.seen_as = last.seen_as;
            next.sequence_offset = sequence.wrapping_sub(header.sequence);
            next.timestamp_offset = timestamp.wrapping_sub(header.timestamp);
            (next.sequence, next.timestamp) = (sequence, timestamp);
        }
        next
    }
}

fn rewritten(
    header: &[u8],
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
) -> Option<Bytes> {
    let mut changed = BytesMut::from(header);
    let marker = header.get(1)? & 0x80;
    put(&mut changed, 1, &[marker | payload_type])?;
    put(&mut changed, 2, &sequence.to_be_bytes())?;
    put(&mut changed, 4, &timestamp.to_be_bytes())?;
    put(&mut changed, 8, &ssrc.to_be_bytes())?;
    Some(changed.freeze())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + value.len())?.copy_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u32, sequence: u16, timestamp: u32, arrival: Instant) -> InboundPacket {
        let mut header = vec![0x80, 0x80 | 96];
        header.extend(sequence.to_be_bytes());
        header.extend(timestamp.to_be_bytes());
        header.extend(ssrc.to_be_bytes());
        InboundPacket {
            arrival,
            header: header.into(),
            payload: Bytes::from_static(&[1]),
            whole: None,
        }
    }

    fn read(packet: &InboundPacket) -> (u32, u16, u32) {
        let header = Header::read(&packet.header).unwrap();
        (header.ssrc, header.sequence, header.timestamp)
    }

    #[test]
    fn a_second_connection_goes_on_where_the_first_was_cut() {
        let mut splice = Splice::default();
        let start = Instant::now();
        let first = packet(7, 65_534, u32::MAX - 10, start);
        assert_eq!(read(&splice.pass(first, 90_000, 96).unwrap()).1, 65_534);
        let later = start + Duration::from_secs(6);
        let second = splice.pass(packet(9, 100, 5, later), 90_000, 96).unwrap();
        let expected = (u32::MAX - 10).wrapping_add(540_000);
        assert_eq!(read(&second), (7, 0, expected), "one number is missing");
        let third = splice
            .pass(packet(9, 101, 3005, later), 90_000, 96)
            .unwrap();
        assert_eq!(read(&third), (7, 1, expected.wrapping_add(3000)));
        assert!(
            splice
                .pass(packet(7, 65_535, 0, later), 90_000, 96)
                .is_none()
        );
    }

    #[test]
    fn a_source_that_the_remote_goes_back_to_goes_on() {
        let mut splice = Splice::default();
        let start = Instant::now();
        let mut at = |ssrc, sequence, ms| {
            let arrival = start + Duration::from_millis(ms);
            let passed = splice.pass(packet(ssrc, sequence, 0, arrival), 90_000, 96);
            passed.map(|packet| read(&packet).1)
        };
        assert_eq!(at(7, 100, 0), Some(100));
        assert_eq!(at(9, 60_000, 1000), Some(102));
        // The last of the first source, late.
        assert_eq!(at(7, 101, 1010), None);
        // Newer than what came, but the other one goes on: both send at the same time.
        for ms in (1020..4000).step_by(20) {
            assert!(at(9, 60_000 + (ms / 20) as u16, ms).is_some());
            assert_eq!(at(7, 102 + (ms / 20) as u16, ms), None);
        }
        let last = at(9, 60_400, 4000).unwrap();
        assert_eq!(at(7, 99, 4900), None, "older than what came");
        assert_eq!(at(7, 400, 4900), Some(last + 2));
        assert_eq!(at(7, 401, 4920), Some(last + 3));
        assert_eq!(at(9, 60_401, 4930), None, "late now itself");
        assert_eq!(at(9, 60_402, 5900), Some(last + 5));
        // Its numbers begin anew.
        assert_eq!(at(7, 30, 6900), Some(last + 7));
    }

    #[test]
    fn a_connection_with_the_same_ssrc_goes_on_too() {
        let mut splice = Splice::default();
        let start = Instant::now();
        let _ = splice.pass(packet(7, 500, 9_000, start), 90_000, 96);
        splice.start_over();
        let later = start + Duration::from_secs(1);
        let second = splice.pass(packet(7, 1, 0, later), 90_000, 96).unwrap();
        assert_eq!(read(&second), (7, 502, 99_000));
    }

    #[test]
    fn the_payload_type_stays_and_the_marker_too() {
        let mut splice = Splice::default();
        let now = Instant::now();
        let _ = splice.pass(packet(7, 1, 1, now), 90_000, 96);
        let mut other = packet(9, 1, 1, now).header.to_vec();
        other[1] = 0x80 | 102;
        let other = InboundPacket {
            header: other.into(),
            ..packet(9, 1, 1, now)
        };
        let passed = splice.pass(other, 90_000, 96).unwrap();
        assert_eq!(passed.header[1], 0x80 | 96);
    }

    #[test]
    fn sender_reports_follow_and_those_of_former_connections_do_not() {
        let mut splice = Splice::default();
        let now = Instant::now();
        let report = |ssrc: u32, timestamp: u32| {
            let mut bytes = vec![0x80, 200, 0, 6];
            bytes.extend(ssrc.to_be_bytes());
            bytes.extend([0; 8]);
            bytes.extend(timestamp.to_be_bytes());
            bytes.extend([0; 8]);
            Bytes::from(bytes)
        };
        let _ = splice.pass(packet(7, 1, 1000, now), 90_000, 96);
        assert_eq!(splice.report(&report(7, 1000)), Some(report(7, 1000)));
        let later = now + Duration::from_secs(1);
        let _ = splice.pass(packet(9, 1, 50, later), 90_000, 96);
        assert_eq!(splice.report(&report(9, 50)), Some(report(7, 91_000)));
        assert_eq!(splice.report(&report(7, 1000)), None);
        for end in 0..28 {
            let _ = splice.report(&report(9, 50).slice(..end));
        }
    }
}
