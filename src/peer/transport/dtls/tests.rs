// SPDX-License-Identifier: MPL-2.0
use super::*;

/// Both ends of a handshake, on a path that takes `delay`.
struct Handshake {
    ends: [Dtls; 2],
    now: Instant,
    /// To which end, when, and what.
    flying: Vec<(usize, Instant, BytesMut)>,
    /// Datagrams of each end so far.
    sent: [usize; 2],
    delay: Duration,
}

impl Handshake {
    fn new() -> Self {
        Self::with(|print| print, Duration::from_millis(10), None)
    }

    /// The client knows the server's fingerprint as `changed`; ICE knows this round trip.
    fn with(
        changed: impl Fn(String) -> String,
        delay: Duration,
        round_trip: Option<Duration>,
    ) -> Self {
        let provider = rtc::crypto::default_provider().unwrap();
        let mut ends = [(); 2].map(|()| Dtls::new(provider.clone()).unwrap());
        let prints = [ends[0].fingerprint.clone(), ends[1].fingerprint.clone()];
        let changed = changed(prints[1].clone());
        ends[0].start(DtlsRole::Client, &[changed]).unwrap();
        ends[1].start(DtlsRole::Server, &prints[..1]).unwrap();
        let now = Instant::now();
        for end in &mut ends {
            end.connected(round_trip, now);
        }
        Self {
            ends,
            now,
            flying: Vec::new(),
            sent: [0; 2],
            delay,
        }
    }

    /// Runs for `time`; of what end `index` sends as number `number`, `lost` tells the fate.
    fn run(&mut self, time: Duration, lost: impl Fn(usize, usize) -> bool) {
        let until = self.now + time;
        while self.now < until && !self.is_up() {
            for index in 0..2 {
                while let Some(datagram) = self.ends[index].out.pop_front() {
                    if !lost(index, self.sent[index]) {
                        self.flying
                            .push((1 - index, self.now + self.delay, datagram));
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

#[test]
fn a_long_path_is_up_after_three_round_trips_whatever_is_known_of_it() {
    for delay in [1, 20, 50, 100, 150, 250] {
        for known in [None, Some(1), Some(2 * delay)] {
            let (way, known) = (
                Duration::from_millis(delay),
                known.map(Duration::from_millis),
            );
            let mut handshake = Handshake::with(|print| print, way, known);
            let begun = handshake.now;
            handshake.run(Duration::from_secs(4), |_, _| false);
            assert!(handshake.is_up(), "{delay} ms, known to be {known:?}");
            let taken = handshake.now - begun;
            assert!(
                taken <= way * 6 + Duration::from_millis(10),
                "{delay}: {taken:?}"
            );
        }
    }
}

#[test]
fn the_cause_of_a_failure_stays_though_the_remote_closes() {
    let other = |print: String| {
        let last = print.len() - 1;
        let digit = if print.ends_with('0') { "1" } else { "0" };
        print[..last].to_owned() + digit
    };
    let mut handshake = Handshake::with(other, Duration::from_millis(1), None);
    handshake.run(Duration::from_millis(50), |_, _| false);
    let now = handshake.now;
    handshake.ends[1].close(now);
    handshake.run(Duration::from_millis(50), |_, _| false);
    let cause = "the remote's certificate is not the one described";
    assert_eq!(handshake.ends[0].state, DtlsState::Failed(cause));
}
