// SPDX-License-Identifier: MPL-2.0
//! Viewers and shares on a clock of their own.

use super::*;

const MEGABIT: u64 = 1_000_000;

fn estimate(media: u64) -> Estimate {
    Estimate {
        total: media + media / 10,
        media,
        ..Estimate::default()
    }
}

/// Viewers with these estimates, long settled.
struct Audience {
    viewers: Viewers,
    now: Instant,
}

impl Audience {
    fn new(rates: &[u64]) -> Self {
        let now = Instant::now();
        let mut viewers = Viewers::default();
        for (number, rate) in rates.iter().enumerate() {
            viewers.tell(&number.to_string().into(), estimate(*rate), now);
        }
        Self {
            viewers,
            now: now + SETTLING,
        }
    }

    fn tell(&mut self, number: usize, rate: u64) {
        let id = number.to_string().into();
        self.viewers.tell(&id, estimate(rate), self.now);
    }

    fn after(&mut self, seconds: u64, policy: Policy) -> u64 {
        self.now += Duration::from_secs(seconds);
        self.viewers.target(policy, self.now).unwrap().media
    }
}

#[test]
fn the_slowest_of_those_that_keep_up_counts() {
    let mut audience = Audience::new(&[3 * MEGABIT, 5 * MEGABIT, 2 * MEGABIT]);
    assert_eq!(audience.after(0, Policy::Min), 2 * MEGABIT);
    assert_eq!(audience.after(60, Policy::Min), 2 * MEGABIT);
    audience.viewers.remove("2");
    assert_eq!(audience.after(0, Policy::Min), 3 * MEGABIT);
}

#[test]
fn who_is_far_behind_for_seconds_holds_nobody_up_until_it_catches_up() {
    let mut audience = Audience::new(&[3 * MEGABIT, 4 * MEGABIT, 500_000]);
    assert_eq!(audience.after(0, Policy::Min), 500_000);
    assert_eq!(
        audience.after(4, Policy::Min),
        500_000,
        "it may be a moment"
    );
    assert_eq!(audience.after(1, Policy::Min), 3 * MEGABIT);
    audience.tell(2, 2 * MEGABIT);
    assert_eq!(audience.after(1, Policy::Min), 3 * MEGABIT);
    assert_eq!(audience.after(2, Policy::Min), 3 * MEGABIT);
    audience.tell(2, 500_000);
    assert_eq!(audience.after(2, Policy::Min), 3 * MEGABIT);
    audience.tell(2, 2 * MEGABIT);
    assert_eq!(audience.after(1, Policy::Min), 3 * MEGABIT, "it began anew");
    assert_eq!(audience.after(5, Policy::Min), 2 * MEGABIT);
}

#[test]
fn a_path_that_died_holds_nobody_up_for_more_than_a_second() {
    let mut audience = Audience::new(&[3 * MEGABIT, 4 * MEGABIT, 2 * MEGABIT]);
    assert_eq!(audience.after(0, Policy::Min), 2 * MEGABIT);
    audience.tell(2, 100_000);
    assert_eq!(audience.after(0, Policy::Min), 100_000);
    assert_eq!(audience.after(1, Policy::Min), 3 * MEGABIT);
    audience.tell(2, 2 * MEGABIT);
    assert_eq!(audience.after(1, Policy::Min), 3 * MEGABIT);
    assert_eq!(
        audience.after(4, Policy::Min),
        3 * MEGABIT,
        "it may be a moment"
    );
    assert_eq!(audience.after(1, Policy::Min), 2 * MEGABIT);
}

#[test]
fn of_two_the_slower_one_can_be_left_behind() {
    let mut audience = Audience::new(&[3 * MEGABIT, 300_000]);
    assert_eq!(audience.after(0, Policy::Min), 300_000);
    assert_eq!(audience.after(5, Policy::Min), 3 * MEGABIT);
    audience.viewers.remove("0");
    assert_eq!(
        audience.after(0, Policy::Min),
        300_000,
        "nobody else is there"
    );
}

#[test]
fn who_comes_does_not_hold_the_others_up_while_its_estimate_grows() {
    let mut audience = Audience::new(&[8 * MEGABIT]);
    audience.tell(1, 2 * MEGABIT);
    assert_eq!(audience.after(0, Policy::Min), 8 * MEGABIT);
    assert_eq!(audience.after(2, Policy::Min), 8 * MEGABIT);
    audience.tell(1, 5 * MEGABIT);
    assert_eq!(audience.after(1, Policy::Min), 5 * MEGABIT);
}

#[test]
fn who_comes_counts_at_once_when_its_path_shows_its_limit() {
    let mut audience = Audience::new(&[3 * MEGABIT]);
    audience.tell(1, 2 * MEGABIT);
    audience.tell(1, 1_600_000);
    assert_eq!(
        audience.after(0, Policy::Min),
        3 * MEGABIT,
        "headers and repairs came off"
    );
    audience.tell(1, 1_400_000);
    assert_eq!(audience.after(0, Policy::Min), 1_400_000);
}

#[test]
fn the_first_viewers_estimate_counts_at_once() {
    let mut viewers = Viewers::default();
    let now = Instant::now();
    assert!(viewers.target(Policy::Min, now).is_none());
    viewers.tell(&"0".into(), estimate(MEGABIT), now);
    assert_eq!(viewers.target(Policy::Min, now).unwrap().media, MEGABIT);
    viewers.tell(&"0".into(), estimate(2 * MEGABIT), now);
    assert_eq!(viewers.target(Policy::Min, now).unwrap().media, 2 * MEGABIT);
}

#[test]
fn the_median_leaves_half_behind_and_loss_is_the_highest() {
    let mut audience = Audience::new(&[MEGABIT, 3 * MEGABIT, 5 * MEGABIT]);
    assert_eq!(audience.after(0, Policy::Median), 3 * MEGABIT);
    let lossy = Estimate {
        loss: 0.1,
        ..estimate(5 * MEGABIT)
    };
    audience.viewers.tell(&"2".into(), lossy, audience.now);
    let target = audience.viewers.target(Policy::Min, audience.now).unwrap();
    assert!((target.loss - 0.1).abs() < 1e-9);
}

fn video(weight: f64, encoders: &[usize]) -> Stream {
    Stream {
        video: true,
        weight,
        encoders: encoders.to_vec(),
        nominal: 0,
    }
}

fn audio(nominal: u64, encoders: &[usize]) -> Stream {
    Stream {
        video: false,
        weight: 1.0,
        encoders: encoders.to_vec(),
        nominal,
    }
}

#[test]
fn audio_comes_first_and_video_shares_the_rest_by_weight() {
    let streams = [video(3.0, &[0]), video(1.0, &[1]), audio(64_000, &[2])];
    let shares = share(2_064_000, &streams);
    assert_eq!(shares, [(0, 1_500_000), (1, 500_000), (2, 64_000)]);
}

#[test]
fn on_a_narrow_path_audio_takes_a_third_at_most_but_stays_speech() {
    let streams = [video(1.0, &[0]), audio(64_000, &[1])];
    assert_eq!(share(90_000, &streams), [(0, 60_000), (1, 30_000)]);
    assert_eq!(share(30_000, &streams), [(0, 14_000), (1, 16_000)]);
    assert_eq!(share(50_000, &[audio(64_000, &[0])]), [(0, 50_000)]);
    assert_eq!(share(5_000_000, &[audio(64_000, &[0])]), [(0, 64_000)]);
}

#[test]
fn what_nobody_drives_is_taken_off_first() {
    let mut stored = video(1.0, &[]);
    stored.nominal = 1_500_000;
    let streams = [stored, video(1.0, &[0]), audio(100_000, &[])];
    assert_eq!(share(2_000_000, &streams), [(0, 400_000)]);
    assert_eq!(share(1_000_000, &streams), [(0, 100_000)], "it stays alive");
}

#[test]
fn an_encoder_behind_two_pads_gets_the_lesser_share_once() {
    let streams = [video(3.0, &[0]), video(1.0, &[0])];
    assert_eq!(share(4_000_000, &streams), [(0, 1_000_000)]);
    let selected = [video(1.0, &[0, 1])];
    assert_eq!(share(MEGABIT, &selected), [(0, MEGABIT), (1, MEGABIT)]);
}

#[test]
fn an_encoder_is_set_far_down_at_once_and_else_in_steps() {
    let now = Instant::now();
    let mut setting = Setting::default();
    assert!(setting.is_due(MEGABIT, now));
    setting.set(MEGABIT, now);
    assert!(setting.is_due(850_000, now));
    assert!(!setting.is_due(900_000, now));
    assert!(setting.is_due(900_000, now + RISE_INTERVAL));
    assert!(!setting.is_due(1_100_000, now));
    assert!(setting.is_due(1_100_000, now + RISE_INTERVAL));
    assert!(
        !setting.is_due(1_040_000, now + RISE_INTERVAL),
        "too little to bother"
    );
    assert!(!setting.is_due(970_000, now + RISE_INTERVAL));
    assert!(setting.is_due(1_040_000, now + FINE_INTERVAL));
    assert!(!setting.is_due(980_000, now + Duration::from_secs(60)));
    assert!(!setting.is_due(1_020_000, now + Duration::from_secs(60)));
    assert!(!setting.is_due(MEGABIT, now + Duration::from_secs(60)));
    setting.set(2, now);
    assert!(
        !setting.is_due(2, now + FINE_INTERVAL),
        "nor where a percent is nothing"
    );
}

/// An encoder that makes `made` times what it is set to, but at least `floor`, for ten seconds.
fn adjusted(overshoot: &mut Overshoot, share: u64, made: f64, floor: f64) -> f64 {
    let mut now = Instant::now();
    let mut rate = 0.0;
    for _ in 0..20 {
        overshoot.set(share, now);
        rate = (overshoot.corrected(share) as f64 * made).max(floor);
        overshoot.measured(rate as u64, now + RISE_INTERVAL);
        now += Duration::from_secs(1);
    }
    rate
}

#[test]
fn an_encoder_that_makes_too_much_is_set_lower_until_it_fits() {
    let mut overshoot = Overshoot::default();
    let rate = adjusted(&mut overshoot, MEGABIT, 1.95, 0.0);
    assert!((0.85e6..1.15e6).contains(&rate), "{rate}");
    let rate = adjusted(&mut overshoot, MEGABIT, 1.0, 0.0);
    assert!((0.85e6..1.15e6).contains(&rate), "{rate}");
}

#[test]
fn an_encoder_that_makes_less_or_a_little_more_is_left_alone() {
    let mut overshoot = Overshoot::default();
    adjusted(&mut overshoot, MEGABIT, 0.3, 0.0);
    assert_eq!(overshoot.corrected(MEGABIT), MEGABIT);
    adjusted(&mut overshoot, MEGABIT, 1.1, 0.0);
    assert_eq!(overshoot.corrected(MEGABIT), MEGABIT);
}

#[test]
fn one_that_cannot_make_less_is_not_set_to_nothing() {
    let mut overshoot = Overshoot::default();
    adjusted(&mut overshoot, MEGABIT, 1.0, 9e6);
    assert!(overshoot.corrected(MEGABIT) > 300_000);
    adjusted(&mut overshoot, 3 * MEGABIT, 0.8, 0.0);
    assert_eq!(overshoot.corrected(MEGABIT), MEGABIT, "it forgot");
}

#[test]
fn what_was_made_before_a_change_says_nothing() {
    let mut overshoot = Overshoot::default();
    let now = Instant::now();
    overshoot.set(MEGABIT, now);
    for _ in 0..10 {
        overshoot.measured(9 * MEGABIT, now);
    }
    assert_eq!(overshoot.corrected(MEGABIT), MEGABIT);
}
