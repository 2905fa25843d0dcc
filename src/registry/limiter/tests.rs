use super::*;
use proptest::prelude::*;

/// Answers one full flight after the other, as a busy round does.
fn answers(limiter: &mut Limiter, count: usize, latency: impl Fn(usize) -> Duration) {
    for _ in 0..count {
        let in_flight = limiter.limit();
        limiter.take(Sample {
            kind: 0,
            latency: latency(in_flight),
            outcome: Outcome::Answered,
            in_flight,
            generation: limiter.generation(),
        });
    }
}

fn overload(limiter: &mut Limiter, generation: u32) {
    limiter.take(Sample {
        kind: 0,
        latency: Duration::from_millis(1),
        outcome: Outcome::Overloaded,
        in_flight: limiter.limit(),
        generation,
    });
}

fn millis(millis: usize) -> Duration {
    Duration::from_millis(millis as u64)
}

#[test]
fn constant_latency_is_not_growing_latency() {
    for latency in [Duration::from_micros(200), millis(20), millis(900)] {
        let mut limiter = Limiter::new(32);
        assert_eq!(limiter.limit(), START);
        answers(&mut limiter, 40, |_| latency);
        assert_eq!(limiter.limit(), 32, "{latency:?}");
        answers(&mut limiter, 10_000, |_| latency);
        assert_eq!(limiter.limit(), 32, "{latency:?}");
    }
}

#[test]
fn a_registry_nearby_that_queues_a_little_is_used_in_full() {
    // Each request takes 0.3 ms of one processor: with 32 in flight each waits for all others.
    let queue = |n: usize| Duration::from_micros(300 * n as u64);
    let mut limiter = Limiter::new(32);
    answers(&mut limiter, 300, queue);
    assert_eq!(limiter.limit(), 32);
    answers(&mut limiter, 14_000, queue);
    assert_eq!(limiter.limit(), 32);
}

#[test]
fn a_registry_that_does_four_at_once_is_asked_by_few_more() {
    // 100 ms each, four at a time; the rest waits.
    let mut limiter = Limiter::new(32);
    let queue = |n: usize| millis(100 * n.div_ceil(4));
    answers(&mut limiter, 2_000, queue);
    for _ in 0..200 {
        answers(&mut limiter, 20, queue);
        assert!((8..=17).contains(&limiter.limit()), "{}", limiter.limit());
    }
}

#[test]
fn a_longer_way_throttles_only_until_it_is_known() {
    let mut limiter = Limiter::new(32);
    answers(&mut limiter, 200, |_| millis(20));
    answers(&mut limiter, 64, |_| millis(500));
    assert!(limiter.limit() < 32);
    answers(&mut limiter, 400, |_| millis(500));
    assert_eq!(limiter.limit(), 32);
}

#[test]
fn one_fast_answer_makes_the_others_no_slower() {
    let mut limiter = Limiter::new(32);
    for _ in 0..100 {
        answers(&mut limiter, 1, |_| millis(1));
        answers(&mut limiter, 15, |_| millis(300));
    }
    assert_eq!(limiter.limit(), 32);
}

#[test]
fn one_overload_halves_once_however_many_tell_of_it() {
    let mut limiter = Limiter::new(32);
    answers(&mut limiter, 40, |_| millis(1));
    let generation = limiter.generation();
    for _ in 0..32 {
        overload(&mut limiter, generation);
    }
    assert_eq!(limiter.limit(), 16);
    let generation = limiter.generation();
    overload(&mut limiter, generation);
    assert_eq!(limiter.limit(), 8);
    // Back by one for each flight that is answered.
    answers(&mut limiter, 8, |_| millis(1));
    assert!(limiter.limit() <= 9);
    answers(&mut limiter, 600, |_| millis(1));
    assert_eq!(limiter.limit(), 32);
}

#[test]
fn what_nobody_asks_for_is_not_given() {
    let mut limiter = Limiter::new(32);
    for _ in 0..100 {
        limiter.take(Sample {
            kind: 0,
            latency: millis(1),
            outcome: Outcome::Answered,
            in_flight: 1,
            generation: limiter.generation(),
        });
    }
    assert_eq!(limiter.limit(), START);
}

#[test]
fn another_maximum_is_obeyed_at_once() {
    let mut limiter = Limiter::new(32);
    answers(&mut limiter, 40, |_| millis(1));
    limiter.set_max(4);
    assert_eq!(limiter.limit(), 4);
    limiter.set_max(0);
    assert_eq!(limiter.limit(), 1);
}

fn sample() -> impl Strategy<Value = (usize, u64, u8, usize, u32)> {
    (0..KINDS + 2, 0..40_000u64, 0..3u8, 0..100usize, 0..3u32)
}

proptest! {
    #[test]
    fn it_stays_within_bounds_and_comes_back(max in 0..64usize, samples in prop::collection::vec(sample(), 0..600)) {
        let mut limiter = Limiter::new(max);
        let max = max.max(1);
        for (kind, latency, outcome, in_flight, age) in samples {
            let outcome = match outcome {
                0 => Outcome::Answered,
                1 => Outcome::Overloaded,
                _ => Outcome::Other,
            };
            let generation = limiter.generation().wrapping_sub(age);
            limiter.take(Sample { kind, latency: Duration::from_millis(latency), outcome, in_flight, generation });
            prop_assert!((1..=max).contains(&limiter.limit()));
        }
        // Whatever it learnt: a registry that answers evenly is asked by all again.
        answers(&mut limiter, 3_000, |_| Duration::from_millis(50));
        prop_assert_eq!(limiter.limit(), max);
    }
}
