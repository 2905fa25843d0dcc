use super::*;
use proptest::prelude::*;

const WINDOW: i64 = 21_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn left(remaining: u64) -> Announced {
    Announced {
        limit: Some(100),
        remaining,
        window: Some(SignedDuration::from_secs(WINDOW)),
        resets_at: None,
    }
}

/// One request that is sent, if it may be, and its answer.
fn ask(quota: &mut Quota, kind: Kind, remaining: u64, now: i64) -> Result<(), Refusal> {
    let reservation = quota.reserve(kind, Some(SHARE), at(now))?;
    quota.settle(reservation, Some(left(remaining)), at(now));
    Ok(())
}

#[test]
fn a_tenth_is_used_in_a_window_and_no_more() {
    let mut quota = Quota::default();
    // HEADs that cost nothing, as Docker Hub's.
    for _ in 0..3 {
        ask(&mut quota, Kind::Other, 100, 0).unwrap();
    }
    for pull in 0..10 {
        ask(&mut quota, Kind::Pull, 99 - pull, 60).unwrap();
    }
    let refused = ask(&mut quota, Kind::Pull, 0, 61).unwrap_err();
    let Refusal::Share {
        used: 10,
        limit: 100,
        until,
    } = refused
    else {
        panic!("{refused:?}");
    };
    // Known to be free: these go on.
    ask(&mut quota, Kind::Other, 90, 61).unwrap();
    // Not before the window is over, and then again.
    assert!(until >= at(60 + WINDOW));
    assert!(ask(&mut quota, Kind::Pull, 90, 59 + WINDOW).is_err());
    let after = until.as_second() - at(0).as_second() + 1;
    assert!(after < 60 + WINDOW + WINDOW / 32);
    ask(&mut quota, Kind::Pull, 99, after).unwrap();
}

#[test]
fn what_is_in_flight_is_taken() {
    let mut quota = Quota::default();
    for _ in 0..3 {
        ask(&mut quota, Kind::Other, 100, 0).unwrap();
    }
    let flying: Vec<Reservation> = (0..10)
        .map(|_| quota.reserve(Kind::Pull, Some(SHARE), at(1)).unwrap())
        .collect();
    assert!(quota.reserve(Kind::Pull, Some(SHARE), at(1)).is_err());
    // Without an answer it may have been counted all the same.
    for reservation in flying {
        quota.settle(reservation, None, at(2));
    }
    assert!(quota.reserve(Kind::Pull, Some(SHARE), at(3)).is_err());
}

#[test]
fn where_everything_counts_everything_is_counted() {
    let mut quota = Quota::default();
    ask(&mut quota, Kind::Other, 100, 0).unwrap();
    // The first counts too: there was nothing to compare it with.
    for head in 0..9 {
        ask(&mut quota, Kind::Other, 99 - head, 1).unwrap();
        assert!(quota.is_in_doubt());
    }
    assert!(matches!(
        ask(&mut quota, Kind::Other, 89, 2),
        Err(Refusal::Share { used: 10, .. })
    ));
}

#[test]
fn others_pulls_are_not_ours_where_heads_are_free() {
    let mut quota = Quota::default();
    for _ in 0..4 {
        ask(&mut quota, Kind::Other, 80, 0).unwrap();
    }
    assert!(!quota.is_in_doubt());
    // Nodes pull between our HEADs, now and then.
    for head in 0..60 {
        ask(&mut quota, Kind::Other, 80 - head / 3, 1).unwrap();
    }
    ask(&mut quota, Kind::Pull, 59, 2).unwrap();
}

#[test]
fn our_own_pulls_beside_a_head_do_not_speak_against_it() {
    let mut quota = Quota::default();
    for _ in 0..4 {
        ask(&mut quota, Kind::Other, 100, 0).unwrap();
    }
    let mut remaining = 100;
    for pair in 0..10 {
        // One pull before the HEAD, or one after it: the registry has counted it when it answers the HEAD.
        let begin = |quota: &mut Quota, kind| quota.reserve(kind, Some(SHARE), at(1)).unwrap();
        let (head, pull) = if pair % 2 == 0 {
            let pull = begin(&mut quota, Kind::Pull);
            (begin(&mut quota, Kind::Other), pull)
        } else {
            let head = begin(&mut quota, Kind::Other);
            (head, begin(&mut quota, Kind::Pull))
        };
        remaining -= 1;
        quota.settle(head, Some(left(remaining)), at(1));
        quota.settle(pull, Some(left(remaining)), at(1));
        assert!(!quota.is_in_doubt(), "{pair}");
    }
    // The share is used by pulls alone, and HEADs go on.
    assert!(quota.reserve(Kind::Pull, Some(SHARE), at(2)).is_err());
    assert!(quota.reserve(Kind::Other, Some(SHARE), at(2)).is_ok());
}

#[test]
fn the_last_tenth_is_the_others() {
    let mut quota = Quota::default();
    let all = |quota: &mut Quota, now| quota.reserve(Kind::Other, None, at(now));
    let first = all(&mut quota, 0).unwrap();
    quota.settle(first, Some(left(11)), at(0));
    let second = all(&mut quota, 100).unwrap();
    let third = all(&mut quota, 100).unwrap();
    quota.settle(second, Some(left(10)), at(100));
    // The window was seen at 0 for the first time, so it ends a window later at the latest.
    let refusal = all(&mut quota, 101).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Floor {
            remaining: 10,
            limit: Some(100),
            until: at(WINDOW)
        }
    );
    assert!(refusal.to_string().contains("only 10 of 100 requests"));
    assert!(all(&mut quota, WINDOW - 1).is_err());
    // One that was in flight brings better news.
    quota.settle(third, Some(left(90)), at(200));
    assert!(all(&mut quota, 201).is_ok());
}

#[test]
fn the_floor_ends_with_the_window_and_is_asked_once_more() {
    let mut quota = Quota::default();
    let first = quota.reserve(Kind::Other, None, at(0)).unwrap();
    quota.settle(first, Some(left(0)), at(0));
    assert!(quota.reserve(Kind::Other, None, at(WINDOW - 1)).is_err());
    let again = quota.reserve(Kind::Other, None, at(WINDOW)).unwrap();
    quota.settle(again, Some(left(3)), at(WINDOW));
    assert!(quota.reserve(Kind::Other, None, at(WINDOW + 1)).is_err());
}

#[test]
fn without_a_limit_the_floor_is_one() {
    let mut quota = Quota::default();
    let only = |remaining| {
        Some(Announced {
            limit: None,
            remaining,
            window: None,
            resets_at: Some(at(30)),
        })
    };
    let reservation = quota.reserve(Kind::Other, None, at(0)).unwrap();
    quota.settle(reservation, only(2), at(0));
    let reservation = quota.reserve(Kind::Other, None, at(0)).unwrap();
    quota.settle(reservation, only(1), at(0));
    assert!(quota.reserve(Kind::Other, None, at(29)).is_err());
    assert!(quota.reserve(Kind::Other, None, at(30)).is_ok());
}

#[test]
fn a_registry_that_announces_nothing_is_not_doubted_for_long() {
    let mut quota = Quota::default();
    for _ in 0..3 {
        assert!(quota.is_in_doubt());
        let reservation = quota.reserve(Kind::Pull, Some(SHARE), at(0)).unwrap();
        quota.settle(reservation, None, at(0));
    }
    assert!(!quota.is_in_doubt());
    assert!(quota.is_idle(at(0)));
}

#[test]
fn a_clock_that_is_set_back_closes_nothing_for_long() {
    let mut quota = Quota::default();
    let year = 365 * 86_400;
    let first = quota.reserve(Kind::Other, None, at(year)).unwrap();
    quota.settle(first, Some(left(0)), at(year));
    assert!(quota.reserve(Kind::Other, None, at(0)).is_err());
    assert!(quota.reserve(Kind::Other, None, at(WINDOW)).is_ok());
}

#[test]
fn two_that_are_one_share_what_is_left() {
    let mut one = Quota::default();
    let mut two = Quota::default();
    for quota in [&mut one, &mut two] {
        for pull in 0..6 {
            ask(quota, Kind::Pull, 99 - pull, 0).unwrap();
        }
    }
    one.absorb(two);
    assert!(ask(&mut one, Kind::Pull, 0, 1).is_err());
}

/// A registry with a quota of its own counting, that others use too.
struct Hub {
    window_began: i64,
    used: u64,
    others: u64,
    heads_count: bool,
    ours: Vec<i64>,
}

impl Hub {
    fn answer(&mut self, kind: Kind, now: i64) -> Announced {
        if now >= self.window_began + WINDOW {
            self.window_began = now;
            self.used = 0;
        }
        self.used += self.others;
        self.others = 0;
        if kind == Kind::Pull || self.heads_count {
            self.used += 1;
            self.ours.push(now);
        }
        left(100_u64.saturating_sub(self.used))
    }
}

proptest! {
    /// Whatever comes when, whoever else pulls: in no window do we use more than a tenth.
    #[test]
    fn no_window_has_more_than_a_tenth(
        heads_count: bool,
        steps in prop::collection::vec((0..4u8, 0..2_000i64, 0..3u64), 1..400),
    ) {
        let mut hub = Hub { window_began: 0, used: 0, others: 0, heads_count, ours: Vec::new() };
        let mut quota = Quota::default();
        let mut now = 0;
        for (what, passes, others) in steps {
            now += passes;
            hub.others += others;
            let kind = if what == 0 { Kind::Pull } else { Kind::Other };
            if let Ok(reservation) = quota.reserve(kind, Some(SHARE), at(now)) {
                let answer = hub.answer(kind, now);
                // Every fourth answer is lost on the way.
                quota.settle(reservation, Some(answer).filter(|_| what != 3 || hub.heads_count), at(now));
            }
        }
        for begin in &hub.ours {
            let within = hub.ours.iter().filter(|pull| (*begin..begin + WINDOW).contains(*pull));
            prop_assert!(within.count() <= 10);
        }
    }
}
