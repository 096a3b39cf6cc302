// SPDX-License-Identifier: MPL-2.0
use super::*;

/// Both ends of a handshake, on a path that takes 10 ms.
struct Handshake {
    ends: [Dtls; 2],
    now: Instant,
    /// To which end, when, and what.
    flying: Vec<(usize, Instant, BytesMut)>,
    /// Datagrams of each end so far.
    sent: [usize; 2],
}

const DELAY: Duration = Duration::from_millis(10);

impl Handshake {
    fn new() -> Self {
        let provider = rtc::crypto::default_provider().unwrap();
        let mut ends = [(); 2].map(|()| Dtls::new(provider.clone()).unwrap());
        let prints = [ends[0].fingerprint.clone(), ends[1].fingerprint.clone()];
        ends[0].start(DtlsRole::Client, &prints[1..]).unwrap();
        ends[1].start(DtlsRole::Server, &prints[..1]).unwrap();
        let now = Instant::now();
        for end in &mut ends {
            end.connected(None, now);
        }
        Self {
            ends,
            now,
            flying: Vec::new(),
            sent: [0; 2],
        }
    }

    /// Runs for `time`; of what end `index` sends as number `number`, `lost` tells the fate.
    fn run(&mut self, time: Duration, lost: impl Fn(usize, usize) -> bool) {
        let until = self.now + time;
        while self.now < until && !self.is_up() {
            for index in 0..2 {
                while let Some(datagram) = self.ends[index].out.pop_front() {
                    if !lost(index, self.sent[index]) {
                        self.flying.push((1 - index, self.now + DELAY, datagram));
                    }
                    self.sent[index] += 1;
                }
            }
            self.now += Duration::from_millis(1);
            for (to, at, datagram) in std::mem::take(&mut self.flying) {
                if at > self.now {
                    self.flying.push((to, at, datagram));
                } else {
                    self.ends[to].read(&datagram, self.now);
                }
            }
            for end in &mut self.ends {
                end.handle_timeout(self.now);
            }
        }
    }

    fn is_up(&self) -> bool {
        self.ends.iter().all(|end| end.state == DtlsState::Up)
    }
}

#[test]
fn any_datagram_may_be_lost() {
    for loser in 0..2 {
        for first in 0..6 {
            for count in 1..3 {
                let mut handshake = Handshake::new();
                let lost =
                    |index, number| index == loser && (first..first + count).contains(&number);
                handshake.run(Duration::from_secs(4), lost);
                assert!(handshake.is_up(), "{loser} loses {count} from {first}");
            }
        }
    }
}
