// SPDX-License-Identifier: MPL-2.0
use super::*;

use crate::rswebrtcsrc::playout;

impl LipSync {
    pub(super) fn now(&self) -> Instant {
        let clock = self.clock.lock().unwrap();
        clock.unwrap_or_else(Instant::now)
    }
}

fn streams(epochs: &[Option<i64>], at: Instant) -> Vec<Stream> {
    let epochs = epochs.iter().map(|epoch| Stream {
        jitter_buffer: glib::WeakRef::new(),
        epoch: epoch.map(|ms| (ms * 1_000_000, at)),
        offset: 0,
    });
    epochs.collect()
}

fn offsets(streams: &[Stream]) -> Vec<i64> {
    streams.iter().map(|s| s.offset / 1_000_000).collect()
}

#[test]
fn the_stream_that_is_ahead_is_delayed_and_then_left_alone() {
    let now = Instant::now();
    let mut streams = streams(&[Some(100), Some(130)], now);
    let changed = adjust(&mut streams, now);
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].1, 30_000_000);
    assert!(adjust(&mut streams, now).is_empty());
    streams[1].epoch = Some((133_000_000, now));
    assert!(
        adjust(&mut streams, now).is_empty(),
        "jitter of the measurement"
    );
}

#[test]
fn one_stream_alone_and_a_broken_clock_change_nothing() {
    let now = Instant::now();
    assert!(adjust(&mut streams(&[Some(5), None], now), now).is_empty());
    assert!(adjust(&mut streams(&[Some(0), Some(6000)], now), now).is_empty());
}

#[test]
fn a_stream_that_reports_no_more_stays_where_it_is_and_so_does_what_is_in_step_with_it() {
    let start = Instant::now();
    let mut streams = streams(&[Some(100), Some(130), Some(150)], start);
    adjust(&mut streams, start);
    assert_eq!(offsets(&streams), [0, 30, 50]);
    // Two minutes later the clocks are 12 ms apart.
    let later = start + Duration::from_secs(120);
    streams[1].epoch = Some((142_000_000, later));
    streams[2].epoch = Some((162_000_000, later));
    assert!(adjust(&mut streams, later).is_empty());
    streams[2].epoch = Some((172_000_000, later));
    adjust(&mut streams, later);
    assert_eq!(offsets(&streams), [0, 30, 60]);
    streams[0].epoch = Some((112_000_000, later));
    assert!(adjust(&mut streams, later).is_empty());
}

#[test]
fn the_time_of_a_report_is_found_behind_other_packets() {
    let receiver_report = [0x80u8, 201, 0, 1, 0, 0, 0, 9];
    let compound = [&receiver_report[..], &sender_report(1, 2.5, 0)].concat();
    assert_eq!(ntp_time(&compound), Some(2_500_000_000));
    for end in 0..compound.len() {
        let _ = ntp_time(&compound[..end]);
    }
}

fn sender_report(ssrc: u32, ntp: f64, rtp: u32) -> Vec<u8> {
    let mut bytes = vec![0x80u8, 200, 0, 6];
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend((ntp as u32).to_be_bytes());
    bytes.extend(((ntp.fract() * 4_294_967_296.0) as u32).to_be_bytes());
    bytes.extend(rtp.to_be_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// One stream on its way through a jitter buffer.
struct Medium {
    harness: gst_check::Harness,
    reports: gst::Pad,
    ssrc: u32,
    clock_rate: f64,
    /// Frames per second of its own clock.
    rate: f64,
    /// Its own clock against the sender's wall clock.
    drift: f64,
    /// From capture to arrival, s.
    delay: f64,
    pushed: u32,
    last_arrival: f64,
    /// Times of arrival and of output of each packet, s.
    arrivals: Vec<f64>,
    outputs: Vec<f64>,
}

/// The sender's wall clock runs so much faster than ours.
const SENDER_DRIFT: f64 = 100e-6;

impl Medium {
    fn new(lip_sync: &Arc<LipSync>, ssrc: u32, (clock_rate, rate): (f64, f64), delay: f64) -> Self {
        let jitter_buffer = playout::jitter_buffer(Duration::from_millis(200)).unwrap();
        let harness = gst_check::Harness::with_element(&jitter_buffer, Some("sink"), Some("src"));
        let mut harness = harness;
        harness.use_testclock();
        harness.set_src_caps(
            gst::Caps::builder("application/x-rtp")
                .field("media", "video")
                .field("clock-rate", clock_rate as i32)
                .field("payload", 96)
                .field("encoding-name", "TEST")
                .build(),
        );
        let reports = lip_sync.connect(&jitter_buffer, "test").unwrap();
        Self {
            harness,
            reports,
            ssrc,
            clock_rate,
            rate,
            drift: 0.0,
            delay,
            pushed: 0,
            last_arrival: 0.0,
            arrivals: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Sender's wall-clock time at which packet `n` is made, s.
    fn made(&self, n: u32) -> f64 {
        f64::from(n) / self.rate / (1.0 + self.drift)
    }

    /// Everything that is made before `until`.
    fn push(&mut self, until: f64, jitter: &mut impl FnMut() -> f64) {
        while self.made(self.pushed) < until {
            let n = self.pushed;
            self.pushed += 1;
            let arrival = self.made(n) / (1.0 + SENDER_DRIFT) + self.delay + jitter();
            self.last_arrival = self.last_arrival.max(arrival);
            self.arrivals.push(self.last_arrival);
            let ticks = (f64::from(n) / self.rate * self.clock_rate).round() as u64 as u32;
            let mut packet = vec![0x80, 0x80 | 96];
            packet.extend((n as u16).to_be_bytes());
            packet.extend(ticks.to_be_bytes());
            packet.extend(self.ssrc.to_be_bytes());
            packet.extend([0; 4]);
            let time = gst::ClockTime::from_nseconds((self.last_arrival * 1e9) as u64);
            let mut buffer = gst::Buffer::from_slice(packet);
            let writable = buffer.get_mut().unwrap();
            writable.set_dts(time);
            writable.set_pts(time);
            self.harness.set_time(time).unwrap();
            self.harness.push(buffer).unwrap();
        }
    }

    fn report(&self, at: f64) {
        let ticks = (at * (1.0 + self.drift) * self.clock_rate) as u64 as u32;
        let bytes = sender_report(self.ssrc, 1000.0 + at, ticks);
        let _ = self.reports.push(gst::Buffer::from_slice(bytes));
    }

    fn pull(&mut self) {
        while self.outputs.len() < self.arrivals.len() {
            // A jitter buffer whose first packet finds events still in the queue starts at its
            // deadline and not at once, and a test clock calls nobody by itself.
            let clock = self.harness.testclock().unwrap();
            let start = Instant::now();
            let buffer = loop {
                if let Some(buffer) = self.harness.try_pull() {
                    break buffer;
                }
                assert!(start.elapsed() < Duration::from_secs(20), "nothing comes");
                clock.process_next_clock_id();
                std::thread::yield_now();
            };
            let pts = buffer.pts().unwrap();
            self.outputs.push(pts.nseconds() as f64 / 1e9);
        }
    }

    /// Output time less the time at which packet `n` was made.
    fn shift(&self, n: usize) -> f64 {
        self.outputs[n] - self.made(n as u32)
    }

    /// How far it is ahead of (negative) or behind `other`, at each packet.
    fn behind<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (f64, f64)> + 'a {
        let last = other.outputs.len() - 1;
        (0..self.outputs.len()).map(move |n| {
            let made = self.made(n as u32);
            let same = (made * (1.0 + other.drift) * other.rate).round() as usize;
            (made, self.shift(n) - other.shift(same.min(last)))
        })
    }
}

/// An hour of picture and sound from a sender whose wall clock drifts from ours and whose sound card
/// drifts from its wall clock. The reports begin late, and those of the picture are gone for ten
/// minutes. Sound leaves the sender 95 ms before the picture.
#[test]
fn picture_and_sound_keep_together_for_an_hour_of_drift() {
    gst::init().unwrap();
    let start = Instant::now();
    let lip_sync = Arc::new(LipSync::default());
    let mut video = Medium::new(&lip_sync, 1, (90_000.0, 30.0), 0.120);
    let mut audio = Medium::new(&lip_sync, 2, (48_000.0, 50.0), 0.025);
    audio.drift = 50e-6;
    let mut seed = 1u32;
    let mut jitter = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed >> 8) / f64::from(1 << 24) * 0.020
    };
    for second in 1..=3600u32 {
        let now = f64::from(second);
        video.push(now, &mut jitter);
        audio.push(now, &mut jitter);
        *lip_sync.clock.lock().unwrap() = Some(start + Duration::from_secs(second.into()));
        if second % 5 == 0 {
            audio.report(now - 0.01);
            if !(1200..1800).contains(&second) {
                video.report(now - 0.01);
            }
        }
        video.pull();
        audio.pull();
    }
    let settled = 10.0;
    let worst = video.behind(&audio).filter(|(made, _)| *made > settled);
    let worst = worst.map(|(_, d)| d.abs()).fold(0.0, f64::max);
    assert!(worst < 0.040, "{worst} s apart");
    for medium in [&video, &audio] {
        let held = medium.outputs.iter().zip(&medium.arrivals);
        let (least, most) = held.fold((f64::MAX, f64::MIN), |(least, most), (out, came)| {
            (least.min(out - came), most.max(out - came))
        });
        // Its own 20 ms of jitter, and the 95 ms that sound is ahead.
        assert!(least > -0.040 && most < 0.140, "held {least} to {most} s");
        let nominal = 1.0 / medium.rate;
        let steps = medium
            .outputs
            .windows(2)
            .map(|w| (w[1] - w[0] - nominal).abs());
        let jump = steps.skip(100).fold(0.0, f64::max);
        assert!(jump < 0.006, "a jump of {jump} s");
    }
}
