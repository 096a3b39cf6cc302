// SPDX-License-Identifier: MPL-2.0
use super::*;

/// Numbers, with the time at which they were asked for.
type Asked = Vec<(u64, Vec<u16>)>;

/// A source and its clock.
struct Test {
    requests: Requests,
    answers: AnswerTime,
    start: Instant,
    patience: (Duration, Duration),
}

impl Test {
    fn new(round_trip: Option<u64>, patience: u64) -> Self {
        let mut answers = AnswerTime::default();
        if let Some(round_trip) = round_trip {
            (0..100).for_each(|_| answers.measured(ms(round_trip)));
        }
        let mut requests = Requests::new(true, MediaKind::Video);
        // Tests of redundancy turn it on again.
        requests.redundancy.needless = 1000;
        Self {
            requests,
            answers,
            start: Instant::now(),
            patience: (ms(patience), Duration::ZERO),
        }
    }

    fn missing(&mut self, before: u32, count: u32, at: u64) {
        let now = self.start + ms(at);
        self.requests.missing(before, count, now, now);
    }

    fn found(&mut self, number: u32, how: How, at: u64) -> bool {
        let now = self.start + ms(at);
        self.requests.found(number, how, now, &mut self.answers)
    }

    /// What is asked for up to `end`, each with its time, and what is given up when.
    fn run(&mut self, end: u64) -> (Asked, Option<(u64, u32)>) {
        let (mut asked, mut given_up) = (Vec::new(), None);
        while let Some(next) = self.requests.next()
            && next <= self.start + ms(end)
        {
            let due = self
                .requests
                .poll(next, &self.answers, self.patience)
                .unwrap();
            let at = (next - self.start).as_millis() as u64;
            if !due.ask.is_empty() {
                asked.push((at, due.ask));
            }
            given_up = due.given_up.map(|number| (at, number)).or(given_up);
        }
        (asked, given_up)
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn what_is_missing_is_asked_for_at_once_and_again_when_the_answer_is_overdue() {
    let mut test = Test::new(Some(50), 1000);
    test.missing(0x1_0002, 3, 7);
    let (asked, given_up) = test.run(130);
    let all = vec![0xffff, 0, 1];
    assert_eq!(asked, [(7, all.clone()), (60, all.clone()), (113, all)]);
    assert_eq!(given_up, None);
}

#[test]
fn it_is_given_up_when_no_answer_can_come_in_time() {
    let mut test = Test::new(Some(50), 200);
    test.missing(101, 1, 0);
    let (asked, given_up) = test.run(1000);
    let times: Vec<u64> = asked.iter().map(|(at, _)| *at).collect();
    // An answer to a request at 159 would come at 209.
    assert_eq!(times, [0, 53, 106]);
    assert_eq!(given_up, Some((159, 100)));
    assert_eq!(test.requests.next(), None);
}

#[test]
fn the_last_request_is_made_although_the_timer_runs_late() {
    let mut test = Test::new(Some(50), 110);
    (0..20).for_each(|_| test.answers.measured(ms(70)));
    (0..20).for_each(|_| test.answers.measured(ms(50)));
    assert!(test.answers.limit() > ms(57), "{:?}", test.answers);
    test.missing(101, 1, 0);
    let mut asked = Vec::new();
    while let Some(next) = test.requests.next().filter(|at| *at < test.start + ms(100)) {
        let late = next + ms(2);
        let due = test.requests.poll(late, &test.answers, test.patience);
        asked.extend(due.unwrap().ask);
    }
    assert_eq!(asked, [100, 100]);
}

#[test]
fn an_answer_in_time_is_asked_for_before_one_that_is_late() {
    for overtime in [0, 150] {
        let mut test = Test::new(Some(50), 110);
        test.requests.redundancy.unanswered = 0.01;
        (0..20).for_each(|_| test.answers.measured(ms(70)));
        (0..20).for_each(|_| test.answers.measured(ms(50)));
        test.patience.1 = ms(overtime);
        test.missing(101, 1, 0);
        let (asked, _) = test.run(1000);
        let in_time = asked.iter().filter(|(at, _)| *at <= 60).count();
        assert_eq!(in_time, 2, "{overtime}: {asked:?}");
    }
}

#[test]
fn what_was_asked_for_is_waited_for_though_another_request_would_be_too_late() {
    let mut test = Test::new(Some(50), 120);
    test.missing(101, 1, 0);
    let (asked, given_up) = test.run(1000);
    let times: Vec<u64> = asked.iter().map(|(at, _)| *at).collect();
    // The next one would go at 85, and its answer come at 135; that of 42 is overdue at 95.
    assert_eq!(times, [0, 42]);
    assert_eq!(given_up, Some((95, 100)));
}

#[test]
fn where_few_answers_fit_into_the_time_the_first_is_not_waited_for() {
    for (patience, times) in [(140, vec![0, 42, 85]), (160, vec![0, 53, 106])] {
        let mut test = Test::new(Some(50), patience);
        test.missing(101, 1, 0);
        let (asked, _) = test.run(1000);
        let seen: Vec<u64> = asked.iter().map(|(at, _)| *at).collect();
        assert_eq!(seen, times, "{patience}");
    }
    // What may come late is asked for like the rest, and for longer.
    let mut test = Test::new(Some(50), 140);
    test.patience.1 = ms(60);
    test.missing(101, 1, 0);
    let (asked, given_up) = test.run(1000);
    let seen: Vec<u64> = asked.iter().map(|(at, _)| *at).collect();
    assert_eq!(seen, [0, 42, 85, 127]);
    assert!(given_up.is_some_and(|(at, _)| at > 170), "{given_up:?}");
    // Where answers come, there is no hurry.
    let mut test = Test::new(Some(50), 140);
    test.requests.redundancy.unanswered = 0.01;
    test.missing(101, 1, 0);
    assert_eq!(test.run(52).0.len(), 1);
}

#[test]
fn after_a_pause_sound_that_is_too_old_by_then_is_given_up() {
    let mut test = Test::new(Some(50), 200);
    test.requests.even = true;
    let answers = &test.answers;
    let mut came = |number, skipped, at| {
        let now = test.start + ms(at);
        test.requests
            .came(number, skipped, true, How::Sent, now, answers);
    };
    came(100, 0, 0);
    came(110, 9, 300);
    let (asked, given_up) = test.run(300);
    // One each 30 ms: those up to 103 should have come 200 ms ago.
    assert_eq!(asked, [(300, (104..110).collect())]);
    assert_eq!(given_up, Some((300, 103)));
}

#[test]
fn after_a_stall_all_of_a_picture_is_asked_for_as_the_reader_waits_for_all() {
    let asked_after = |pause: u64| {
        let mut test = Test::new(Some(5), 200);
        let start = test.start;
        let mut came = |number, skipped, at| {
            let answers = &test.answers;
            test.requests
                .came(number, skipped, true, How::Sent, start + ms(at), answers);
        };
        came(100, 0, 0);
        came(110, 9, pause);
        let (asked, _) = test.run(pause);
        asked.into_iter().flat_map(|(_, numbers)| numbers).count()
    };
    assert_eq!(asked_after(450), 9);
    // The answer is a new picture by then.
    assert!(asked_after(2000) < 9);
}

#[test]
fn it_is_asked_for_once_even_if_answers_were_too_slow() {
    let mut test = Test::new(Some(300), 200);
    test.missing(101, 1, 0);
    let (asked, given_up) = test.run(1000);
    assert_eq!(asked.len(), 1);
    assert_eq!(given_up, Some((200, 100)));
}

#[test]
fn a_patient_reader_has_it_asked_for_a_bounded_number_of_times() {
    let mut test = Test::new(Some(20), 60_000);
    test.missing(101, 1, 0);
    let (asked, given_up) = test.run(60_000);
    assert_eq!(asked.len(), usize::from(MOST_ROUNDS));
    assert!(given_up.is_some());
}

#[test]
fn an_answer_ends_it_and_measures_the_path() {
    let mut test = Test::new(None, 1000);
    test.missing(101, 1, 0);
    test.run(0);
    assert!(test.found(100, How::Resent, 40));
    assert_eq!(test.answers.known(), Some(ms(40)));
    assert_eq!(test.run(1000).0, []);
}

#[test]
fn an_answer_to_the_request_before_the_last_is_known_for_one() {
    let mut test = Test::new(Some(50), 1000);
    test.missing(101, 1, 0);
    test.run(60);
    // The path is slower now: 5 ms after the second request this is no answer to it.
    assert!(test.found(100, How::Resent, 65));
    let measure = test.answers.known().unwrap();
    assert!(measure > ms(51) && measure < ms(53), "{measure:?}");
}

#[test]
fn answers_that_are_slower_than_believed_are_learnt() {
    // 100 ms are believed before anything is known.
    let mut test = Test::new(None, 2000);
    let mut requests = Vec::new();
    for packet in 0..40u32 {
        let at = u64::from(packet) * 1000;
        test.missing(101 + packet * 2, 1, at);
        let asked = test.run(at + 300).0;
        requests.push(asked.len());
        assert!(test.found(100 + packet * 2, How::Resent, at + 300));
    }
    assert_eq!(requests.first(), Some(&3));
    assert_eq!(requests.last(), Some(&1));
    let known = test.answers.known().unwrap();
    assert!(known > ms(295) && known < ms(305), "{known:?}");
}

#[test]
fn where_packets_overtake_each_other_they_are_waited_for() {
    let mut test = Test::new(Some(50), 1000);
    test.missing(101, 1, 0);
    test.run(0);
    assert!(!test.found(100, How::Sent, 10));
    // 13.5 ms: what was seen, and a quarter, and one.
    test.missing(103, 1, 10);
    assert_eq!(test.run(23).0, []);
    assert!(!test.found(102, How::Sent, 20));
    // It is forgotten when nothing of the kind happens.
    test.missing(105, 1, 20_000);
    assert_eq!(test.run(20_000).0, [(20_000, vec![104])]);
}

#[test]
fn without_rtx_a_repair_is_told_by_its_time() {
    let mut test = Test::new(Some(50), 1000);
    test.requests = Requests::new(false, MediaKind::Video);
    test.missing(102, 2, 0);
    test.run(0);
    assert!(!test.found(100, How::Sent, 10));
    assert!(test.found(101, How::Sent, 50));
}

#[test]
fn where_requests_get_lost_each_is_sent_more_than_once() {
    let mut test = Test::new(Some(80), 1000);
    test.requests.redundancy.needless = 0;
    test.missing(101, 1, 0);
    let times: Vec<u64> = test.run(120).0.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 5, 88, 93]);
    assert!(test.found(100, How::Resent, 150));
    test.missing(103, 1, 200);
    test.requests.redundancy.unanswered = 0.4;
    assert_eq!(test.run(240).0.len(), 3);
}

#[test]
fn a_remote_that_answers_both_is_asked_once() {
    let mut test = Test::new(Some(80), 1000);
    test.requests.redundancy = Redundancy::default();
    for number in 0..10u32 {
        let at = u64::from(number) * 200;
        test.missing(100 + number * 2, 1, at);
        test.run(at + 20);
        assert!(test.found(99 + number * 2, How::Resent, at + 80));
        test.requests.needless(99 + number * 2);
        test.requests.redundancy.unanswered = 0.1;
    }
    test.missing(201, 1, 10_000);
    let times: Vec<u64> = test.run(10_050).0.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [10_000]);
}

#[test]
fn an_outage_is_given_up_and_the_memory_is_bounded() {
    let mut test = Test::new(Some(50), 10_000);
    test.missing(5000, 2000, 0);
    assert_eq!(test.run(0), (vec![], Some((0, 4999))));
    (0..3000).for_each(|n| test.missing(6000 + n * 2, 1, 1));
    assert_eq!(test.requests.holes.len(), MOST_HOLES);
    let (asked, given_up) = test.run(1);
    assert_eq!(
        asked.iter().map(|(_, n)| n.len()).sum::<usize>(),
        MOST_HOLES
    );
    assert!(given_up.is_some());
}
