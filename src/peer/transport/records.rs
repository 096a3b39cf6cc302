// SPDX-License-Identifier: MPL-2.0
//! Looks through DTLS datagrams (RFC 6347 sections 4.1 and 4.2.2) before rtc-dtls does: until its
//! keys are there anybody can write them, and it keeps fragments without bounds, puts them together by
//! recursion, and takes an error of its own for a refusal by the remote.

/// Records without keys, or for which there are none yet, in all of a handshake with its repetitions:
/// one takes less than 30.
const HANDSHAKE: u32 = 1024;
/// The same afterwards: the remote repeats its last flight if ours was lost.
const AFTERWARDS: u32 = 64;
/// The largest message of a handshake, bytes; a chain of certificates takes a few thousand.
const LARGEST: usize = 32 << 10;

/// What is in a datagram.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents {
    /// It may go on.
    pub(super) admitted: bool,
    /// The remote, or somebody in its name, says in plain text that it gives up.
    pub(super) fatal: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Records {
    before: u32,
    after: u32,
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |all, byte| all << 8 | usize::from(*byte))
}

/// Whether `body` is whole handshake messages, or fragments that fit into them.
fn is_handshake(mut body: &[u8]) -> bool {
    while !body.is_empty() {
        let Some((header, rest)) = body.split_at_checked(12) else {
            return false;
        };
        let field = |from: usize, to: usize| header.get(from..to).map_or(usize::MAX, number);
        let (length, offset, size) = (field(1, 4), field(6, 9), field(9, 12));
        let empty = size == 0 && length > 0;
        if length > LARGEST || empty || offset + size > length {
            return false;
        }
        let Some(next) = rest.get(size..) else {
            return false;
        };
        body = next;
    }
    true
}

impl Records {
    /// A datagram came; `up`: the handshake is over.
    pub(super) fn look(&mut self, mut data: &[u8], up: bool) -> Contents {
        let mut contents = Contents::default();
        while !data.is_empty() {
            let Some((header, rest)) = data.split_at_checked(13) else {
                return Contents::default();
            };
            let field = |from: usize, to: usize| header.get(from..to).map_or(usize::MAX, number);
            let (kind, epoch, size) = (field(0, 1), field(3, 5), field(11, 13));
            let Some((body, next)) = rest.split_at_checked(size) else {
                return Contents::default();
            };
            let plain = epoch == 0;
            let fits = match kind {
                20 => true,
                21 => {
                    contents.fatal |= plain && body.first() == Some(&2);
                    true
                }
                22 => !plain || is_handshake(body),
                // Application data is never in plain text.
                23 => !plain,
                _ => false,
            };
            let spent = match (up, plain) {
                (true, false) => &mut 0,
                (true, true) => {
                    self.after += 1;
                    &mut self.after
                }
                (false, _) => {
                    self.before += 1;
                    &mut self.before
                }
            };
            let most = if up { AFTERWARDS } else { HANDSHAKE };
            if !fits || *spent > most {
                return Contents::default();
            }
            data = next;
        }
        contents.admitted = true;
        contents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut record = vec![
            kind,
            254,
            253,
            0,
            epoch,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            body.len() as u8,
        ];
        record.extend_from_slice(body);
        record
    }

    fn fragment(length: u8, offset: u8, size: u8, data: &[u8]) -> Vec<u8> {
        let mut body = vec![1, 0, 0, length, 0, 0, 0, 0, offset, 0, 0, size];
        body.extend_from_slice(data);
        record(22, 0, &body)
    }

    fn admitted(data: &[u8]) -> bool {
        Records::default().look(data, false).admitted
    }

    #[test]
    fn fragments_that_hold_nothing_or_too_much_are_refused() {
        assert!(admitted(&fragment(4, 0, 4, &[0; 4])));
        assert!(admitted(&fragment(4, 2, 2, &[0; 2])));
        assert!(admitted(&fragment(0, 0, 0, &[])), "ServerHelloDone");
        assert!(!admitted(&fragment(4, 1, 0, &[])), "nothing in it");
        assert!(!admitted(&fragment(4, 3, 2, &[0; 2])), "beyond its message");
        assert!(!admitted(&fragment(4, 0, 4, &[0; 2])), "beyond its record");
        let mut several = fragment(4, 0, 4, &[0; 4]);
        several.extend(record(20, 0, &[1]));
        several.extend(record(22, 1, &[9; 40]));
        assert!(admitted(&several));
        several.push(22);
        assert!(!admitted(&several), "a record that is cut off");
    }

    #[test]
    fn what_no_handshake_needs_is_refused() {
        assert!(!admitted(&record(23, 0, b"data in plain text")));
        assert!(admitted(&record(23, 1, b"data")));
        assert!(!admitted(&record(99, 0, b"?")));
        let mut records = Records::default();
        let one = fragment(200, 0, 1, &[0]);
        let taken = (0..5000).filter(|_| records.look(&one, false).admitted);
        assert_eq!(taken.count(), HANDSHAKE as usize);
        let taken = (0..500).filter(|_| records.look(&one, true).admitted);
        assert_eq!(taken.count(), AFTERWARDS as usize);
        let data = record(23, 1, &[0; 100]);
        assert!((0..5000).all(|_| records.look(&data, true).admitted));
    }

    #[test]
    fn only_an_alert_of_the_remote_is_its_refusal() {
        let look = |data: &[u8]| Records::default().look(data, false).fatal;
        assert!(look(&record(21, 0, &[2, 42])));
        assert!(!look(&record(21, 0, &[1, 0])), "a warning");
        assert!(!look(&record(22, 0, &[2, 42])));
    }
}
