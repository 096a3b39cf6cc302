// SPDX-License-Identifier: MPL-2.0
//! What the model does, each property for itself.

use super::*;

const PACKETS: usize = 20_000;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn link(text: &str) -> Link {
    Link::new(text.parse::<Config>().unwrap(), 7)
}

/// Packets of 1222 bytes, 1250 with their headers, one every `gap`.
fn send(link: &mut Link, packets: usize, gap: Duration) -> Vec<Passage> {
    (0..packets as u32)
        .map(|number| link.send(gap * number, 1222))
        .collect()
}

fn share(passages: &[Passage], of: impl Fn(&Passage) -> bool) -> f64 {
    passages.iter().filter(|passage| of(passage)).count() as f64 / passages.len() as f64
}

fn lost(passages: &[Passage]) -> f64 {
    share(passages, |passage| passage.fate == Fate::Lost)
}

#[test]
fn a_plain_link_passes_everything_at_once() {
    let passages = send(&mut link(""), 10, ms(1));
    let arrivals: Vec<Duration> = passages.iter().flat_map(Passage::arrivals).collect();
    assert_eq!(arrivals, (0..10).map(ms).collect::<Vec<_>>());
}

#[test]
fn the_same_seed_gives_the_same_link_and_another_one_does_not() {
    let config: Config = "loss=10% jitter=20ms reorder=5%/9ms duplicate=2%"
        .parse()
        .unwrap();
    let run = |seed| send(&mut Link::new(config.clone(), seed), 1000, ms(1));
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn one_property_leaves_what_another_does_alone() {
    let gone = |text| -> Vec<bool> {
        send(&mut link(text), 1000, ms(1))
            .iter()
            .map(|passage| passage.fate == Fate::Lost)
            .collect()
    };
    assert_eq!(gone("loss=10%"), gone("loss=10% jitter=9ms duplicate=5%"));
}

#[test]
fn random_loss_is_as_frequent_as_told() {
    let share = lost(&send(&mut link("loss=10%"), PACKETS, ms(1)));
    assert!((0.09..0.11).contains(&share), "{share}");
}

#[test]
fn bursts_by_packets_are_as_long_and_as_frequent_as_told() {
    let passages = send(&mut link("gilbert=1%/25%"), PACKETS, ms(1));
    let bursts = passages
        .windows(2)
        .filter(|pair| pair[0].fate != Fate::Lost && pair[1].fate == Fate::Lost)
        .count();
    let share = lost(&passages);
    let length = share * PACKETS as f64 / bursts as f64;
    // 1 % / (1 % + 25 %) of the time in the bad state.
    assert!((0.03..0.05).contains(&share), "{share}");
    assert!((3.5..4.5).contains(&length), "{length}");
}

#[test]
fn an_outage_takes_its_time_of_each_period_and_nothing_else() {
    let passages = send(&mut link("burst=50ms/1s"), 5000, ms(1));
    for (number, passage) in passages.iter().enumerate() {
        assert_eq!(passage.fate == Fate::Lost, number % 1000 >= 950, "{number}");
    }
}

#[test]
fn jitter_keeps_the_order_and_its_bounds() {
    let passages = send(&mut link("delay=20ms jitter=10ms"), 5000, ms(5));
    let arrivals: Vec<Duration> = passages.iter().flat_map(Passage::arrivals).collect();
    assert!(arrivals.is_sorted());
    let times: Vec<Duration> = arrivals
        .iter()
        .enumerate()
        .map(|(number, at)| *at - ms(5) * number as u32)
        .collect();
    assert!(*times.iter().min().unwrap() < ms(21));
    assert!((ms(29)..=ms(30)).contains(times.iter().max().unwrap()));
}

#[test]
fn reordered_packets_come_behind_later_ones() {
    let passages = send(&mut link("reorder=5%/10ms"), PACKETS, ms(1));
    let arrivals: Vec<Duration> = passages.iter().flat_map(Passage::arrivals).collect();
    let late = arrivals.windows(2).filter(|pair| pair[1] < pair[0]).count();
    let share = late as f64 / PACKETS as f64;
    assert!((0.04..0.06).contains(&share), "{share}");
}

#[test]
fn duplicates_are_as_frequent_as_told() {
    let passages = send(&mut link("duplicate=5%"), PACKETS, ms(1));
    let twice = share(&passages, |passage| passage.arrivals().count() == 2);
    assert!((0.045..0.055).contains(&twice), "{twice}");
}

#[test]
fn a_bottleneck_passes_its_rate_and_delays_up_to_its_queue() {
    // 1250 bytes at 1 Mbit/s take 10 ms; twice that is sent.
    let passages = send(&mut link("rate=1M queue=100ms delay=5ms"), 2000, ms(5));
    let arrivals: Vec<Duration> = passages.iter().flat_map(Passage::arrivals).collect();
    let gaps = arrivals.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(
        gaps.into_iter()
            .all(|gap| gap.abs_diff(ms(10)) < Duration::from_micros(1))
    );
    let overflow = share(&passages, |passage| passage.fate == Fate::Overflow);
    assert!((0.49..0.51).contains(&overflow), "{overflow}");
    let longest = passages.iter().map(|passage| passage.queued).max().unwrap();
    assert!((ms(100)..=ms(110)).contains(&longest), "{longest:?}");
}

#[test]
fn a_queue_in_bytes_holds_as_many() {
    let mut link = link("rate=1M queue=12500B");
    let sent: Vec<Fate> = (0..12)
        .map(|_| link.send(Duration::ZERO, 1222).fate)
        .collect();
    assert!(sent[..10].iter().all(|fate| *fate != Fate::Overflow));
    assert_eq!(sent[10..], [Fate::Overflow; 2]);
    assert_eq!(link.queued_bytes(Duration::ZERO), 12500);
    assert_eq!(link.queued_bytes(ms(50)), 6250);
    assert!(link.send(ms(10), 1222).fate != Fate::Overflow);
}

#[test]
fn what_waits_leaves_at_the_rate_of_that_time() {
    let mut link = link("rate=2M queue=1s; 50ms: rate=500k");
    // 20 packets are 100 ms at 2 Mbit/s: half of them have left when the rate falls to a quarter.
    let last = (0..20)
        .map(|_| link.send(Duration::ZERO, 1222))
        .last()
        .unwrap();
    assert_eq!(last.queued, ms(50 + 200));
    assert_eq!(link.queued_bytes(ms(50)), 12500);
    // And all of it at once when the bottleneck is gone.
    let mut link = self::link("rate=2M queue=1s; 50ms: rate=none");
    let last = (0..20)
        .map(|_| link.send(Duration::ZERO, 1222))
        .last()
        .unwrap();
    assert_eq!(last.queued, ms(50));
}

#[test]
fn flows_share_the_bottleneck_in_the_order_of_their_packets() {
    let mut link = link("rate=1M queue=1s");
    let [one, two] = [0, 0].map(|at| link.send(ms(at), 1222).queued);
    assert_eq!([one, two], [ms(10), ms(20)]);
}

#[test]
fn conditions_change_at_their_time() {
    let passages = send(
        &mut link("loss=0%; 1s: loss=100%; 2s: loss=0%"),
        3000,
        ms(1),
    );
    for (number, passage) in passages.iter().enumerate() {
        let lost = (1000..2000).contains(&number);
        assert_eq!(passage.fate == Fate::Lost, lost, "{number}");
    }
}
