//! Merging, against what it is to be: nothing more open, nothing less, and a pause between any two.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::window;
use crate::gc::window::opening::{Opening, merged};
use crate::gc::window::{Window, next, open_at, too_long};

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Crowded enough that much of it overlaps and touches.
fn openings() -> impl Strategy<Value = Vec<Opening>> {
    let opening = (0..3_usize, 0..60_i64, 1..8_i64).prop_map(|(name, start, length)| Opening {
        windows: vec![["a", "b", "c"][name].to_owned()],
        start: second(start),
        end: second(start + length),
    });
    prop::collection::vec(opening, 0..12)
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let schedules = prop::sample::select(vec![
        "30 2 * * *",
        "0 */3 * * *",
        "*/20 1-3 * * *",
        "0 0 * * 0",
        "15 1 29 2 *",
        "0 12 13 * 5",
        "0 0 1 4,10 *",
    ]);
    let zones = prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Antarctica/Troll",
        "Africa/Casablanca",
        "Pacific/Apia",
        "Pacific/Chatham",
    ]);
    let parts = (schedules, zones, 1..30_i64);
    prop::collection::vec(parts, 0..4).prop_map(|all| {
        let all = all.into_iter().enumerate();
        all.map(|(index, (schedule, zone, minutes))| {
            window(&format!("w{index}"), schedule, zone, minutes * 10)
        })
        .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_merged_is_open_when_any_of_it_was_and_with_pauses(single in openings()) {
        let merged = merged(single.clone());
        // Twice a second, so that ends are looked at and what is between them.
        for half in -1..=140_i64 {
            let at = second(0) + SignedDuration::from_millis(half * 500);
            let was: Vec<&Opening> = single.iter().filter(|it| it.contains(at)).collect();
            let is: Vec<&Opening> = merged.iter().filter(|it| it.contains(at)).collect();
            prop_assert_eq!(is.len(), usize::from(!was.is_empty()), "{}", at);
            for (one, was) in is.iter().flat_map(|one| was.iter().map(move |was| (one, was))) {
                prop_assert!(one.windows.contains(&was.windows[0]));
            }
        }
        prop_assert!(merged.windows(2).all(|pair| pair[0].end < pair[1].start));
        for one in &merged {
            let parts = single.iter().filter(|it| one.start <= it.start && it.end <= one.end);
            let mut names: Vec<&String> = parts.map(|it| &it.windows[0]).collect();
            names.sort();
            names.dedup();
            let mut told: Vec<&String> = one.windows.iter().collect();
            told.sort();
            prop_assert_eq!(told, names, "each name once");
        }
        prop_assert_eq!(super::super::opening::merged(merged.clone()), merged);
    }

    #[test]
    fn what_is_open_and_what_is_next_is_what_all_openings_together_say(
        windows in windows(),
        hour in 0..17_520_i64,
        minute in 0..60_i64,
    ) {
        prop_assume!(too_long(&windows).is_none());
        let now = super::at("2026-01-01T00:00:00Z")
            + SignedDuration::from_hours(hour) + SignedDuration::from_mins(minute);
        let month = SignedDuration::from_hours(40 * 24);
        let all = windows.iter().flat_map(|it| it.openings(now - month, now + month));
        let all = merged(all.collect());
        let open = all.iter().find(|it| it.contains(now));
        let following = all.iter().find(|it| it.start > now);
        let told = open_at(&windows, now);
        prop_assert_eq!(told.as_ref(), open);
        match following {
            // Of the last one in sight not all may be in sight.
            Some(following) if following.end < now + month - SignedDuration::from_hours(48) => {
                let next = next(&windows, now);
                prop_assert_eq!(next.as_ref(), Some(following));
            }
            Some(_) => {}
            None => prop_assert!(next(&windows, now).is_none_or(|it| it.start >= now + month)),
        }
    }
}
