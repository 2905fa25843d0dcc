//! Single days on which a clock does something odd, written out by hand.

use jiff::{SignedDuration, Timestamp};

use super::{at, window};
use crate::gc::window::opening::{InvalidOpeningId, OpeningId, may_start, stop_by};
use crate::gc::window::{Window, next, open_at, too_long, upcoming};

/// What opens within a civil day and the next, by the clock before and after.
fn told(schedule: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
    let window = window("w", schedule, zone, 60);
    let openings = window.openings(at(from), at(until)).into_iter();
    openings.map(|it| it.start.to_string()).collect()
}

#[test]
fn what_the_clock_skips_opens_later_and_what_it_shows_twice_opens_once() {
    let (berlin, day) = (
        "Europe/Berlin",
        ["2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z"],
    );
    // 02:00 to 03:00 is skipped; 02:30 becomes 03:30.
    assert_eq!(
        told("30 2 * * *", berlin, day[0], day[1]),
        ["2027-03-28T01:30:00Z"]
    );
    // 02:00 becomes 03:00, which is due itself: one.
    assert_eq!(
        told("0 1-3 * * *", berlin, day[0], day[1]),
        ["2027-03-28T00:00:00Z", "2027-03-28T01:00:00Z"]
    );
    // 02:45 becomes 03:45, after 03:15.
    assert_eq!(
        told("15,45 2-3 * * *", berlin, day[0], day[1]),
        ["2027-03-28T01:15:00Z", "2027-03-28T01:45:00Z"]
    );
    // 02:00 to 03:00 is shown twice.
    let day = ["2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"];
    assert_eq!(
        told("30 2 * * *", berlin, day[0], day[1]),
        ["2026-10-25T00:30:00Z"]
    );
    assert_eq!(
        told("0 1-3 * * *", berlin, day[0], day[1]),
        [
            "2026-10-24T23:00:00Z",
            "2026-10-25T00:00:00Z",
            "2026-10-25T02:00:00Z"
        ]
    );
    // Half an hour back on Lord Howe: 01:30 to 02:00 is shown twice.
    let day = ["2027-04-03T02:00:00Z", "2027-04-04T02:00:00Z"];
    assert_eq!(
        told("45 1 * * *", "Australia/Lord_Howe", day[0], day[1]),
        ["2027-04-03T14:45:00Z"]
    );
    // Two hours forward at Troll: 01:00 to 03:00 is skipped.
    let day = ["2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z"];
    assert_eq!(
        told("30 1 * * *", "Antarctica/Troll", day[0], day[1]),
        ["2027-03-28T01:30:00Z"]
    );
    // Samoa had no 30th of December 2011, a Friday: that opening is Saturday's, where there is one, and else a
    // day late.
    let days = ["2011-12-28T13:00:00Z", "2012-01-01T12:00:00Z"];
    assert_eq!(
        told("0 2 * * *", "Pacific/Apia", days[0], days[1]),
        [
            "2011-12-29T12:00:00Z",
            "2011-12-30T12:00:00Z",
            "2011-12-31T12:00:00Z"
        ]
    );
    assert_eq!(
        told("0 2 * * 5", "Pacific/Apia", days[0], days[1]),
        ["2011-12-30T12:00:00Z"]
    );
}

#[test]
fn a_window_is_open_from_its_start_to_before_its_end_in_elapsed_time() {
    let window = [window("sunday", "0 2 * * 0", "Europe/Berlin", 180)];
    let start = at("2026-11-29T01:00:00Z");
    let moment = SignedDuration::from_nanos(1);
    let opening = open_at(&window, start).unwrap();
    assert_eq!(
        (opening.start, opening.end),
        (start, at("2026-11-29T04:00:00Z"))
    );
    assert_eq!(open_at(&window, start - moment), None);
    assert_eq!(
        open_at(&window, opening.end - moment),
        Some(opening.clone())
    );
    assert_eq!(open_at(&window, opening.end), None);
    assert_eq!(next(&window, start - moment), Some(opening.clone()));
    let later = next(&window, start).unwrap();
    assert_eq!(later.start, at("2026-12-06T01:00:00Z"));
    assert_eq!(next(&window, opening.end), Some(later));
    // The night in which the clock goes back has three hours too, and ends at 04:00 by the clock.
    let long = open_at(&window, at("2026-10-25T02:59:59Z")).unwrap();
    assert_eq!(
        (long.start, long.end),
        (at("2026-10-25T00:00:00Z"), at("2026-10-25T03:00:00Z"))
    );
    assert_eq!(
        stop_by(&opening, SignedDuration::from_mins(10)),
        at("2026-11-29T03:50:00Z")
    );
    assert_eq!(stop_by(&opening, SignedDuration::from_hours(4)), start);
}

#[test]
fn an_opening_has_one_run_whatever_the_clock_does() {
    let window = [window("sunday", "0 2 * * 0", "UTC", 180)];
    let now = at("2026-11-29T02:30:00Z");
    let opening = open_at(&window, now).unwrap();
    assert!(may_start(&opening, None, now));
    let last: OpeningId = opening.id().to_string().parse().unwrap();
    assert_eq!(last, opening.id());
    assert_eq!(last.to_string(), "sunday@2026-11-29T02:00:00Z");
    // Restarted within it; set back within it, and set back by a week.
    assert!(!may_start(
        &opening,
        Some(&last),
        at("2026-11-29T04:59:59Z")
    ));
    assert!(!may_start(
        &opening,
        Some(&last),
        at("2026-11-29T02:00:00Z")
    ));
    let before = at("2026-11-22T03:00:00Z");
    assert!(!may_start(
        &open_at(&window, before).unwrap(),
        Some(&last),
        before
    ));
    let after = at("2026-12-06T02:00:00Z");
    assert!(may_start(
        &open_at(&window, after).unwrap(),
        Some(&last),
        after
    ));
    // Not before it begins, nor when it is over.
    assert!(!may_start(&opening, None, at("2026-11-29T01:59:59Z")));
    assert!(!may_start(&opening, None, opening.end));
    for text in ["", "sunday", "@2026-11-29T02:00:00Z", "sunday@then"] {
        let problem: InvalidOpeningId = text.parse::<OpeningId>().unwrap_err();
        assert!(problem.to_string().contains("expected WINDOW@TIME"));
    }
}

#[test]
fn what_overlaps_or_touches_is_one_opening_with_all_names() {
    let windows = [
        window("late", "0 4 * * *", "UTC", 60),
        window("early", "0 2 * * *", "UTC", 120),
        window("within", "30 2 * * *", "UTC", 10),
        window("apart", "1 5 * * *", "UTC", 1),
    ];
    let opening = open_at(&windows, at("2026-11-22T04:30:00Z")).unwrap();
    assert_eq!(opening.windows, ["early", "within", "late"]);
    assert_eq!(opening.id().to_string(), "early@2026-11-22T02:00:00Z");
    assert_eq!(
        (opening.start, opening.end),
        (at("2026-11-22T02:00:00Z"), at("2026-11-22T05:00:00Z"))
    );
    assert_eq!(open_at(&windows, at("2026-11-22T05:00:30Z")), None);
    let names = upcoming(&windows, at("2026-11-22T02:00:00Z")).take(3);
    let names: Vec<String> = names.map(|it| it.id().to_string()).collect();
    assert_eq!(
        names,
        [
            "apart@2026-11-22T05:01:00Z",
            "early@2026-11-23T02:00:00Z",
            "apart@2026-11-23T05:01:00Z"
        ]
    );
    // A working week is one opening, however many windows it is made of.
    let week = [window("workday", "0 0 * * 1-5", "UTC", 24 * 60)];
    let opening = open_at(&week, at("2026-11-26T12:00:00Z")).unwrap();
    assert_eq!(
        (opening.start, opening.end),
        (at("2026-11-23T00:00:00Z"), at("2026-11-28T00:00:00Z"))
    );
}

#[test]
fn what_is_open_on_end_for_more_than_a_week_is_found() {
    let is_too_long = |windows: &[Window]| too_long(windows).is_some();
    assert!(!is_too_long(&[]));
    assert!(!is_too_long(&[window(
        "a",
        "0 2 * * *",
        "UTC",
        23 * 60 + 59
    )]));
    assert!(is_too_long(&[window("a", "0 2 * * *", "UTC", 24 * 60)]));
    assert!(is_too_long(&[window("a", "* * * * *", "UTC", 1)]));
    assert!(is_too_long(&[window("a", "*/7 * * * *", "UTC", 7)]));
    assert!(!is_too_long(&[window("a", "*/7 * * * *", "UTC", 6)]));
    assert!(!is_too_long(&[window("a", "0 0 * * 1-5", "UTC", 24 * 60)]));
    assert!(!is_too_long(&[window(
        "a",
        "0 0 1 * *",
        "UTC",
        7 * 24 * 60
    )]));
    assert!(is_too_long(&[window(
        "a",
        "0 0 1 * *",
        "UTC",
        7 * 24 * 60 + 1
    )]));
    let halves = [
        window("day", "0 6 * * *", "Europe/Berlin", 12 * 60),
        window("night", "0 18 * * *", "Europe/Berlin", 12 * 60),
    ];
    assert!(!is_too_long(&halves[..1]));
    assert!(is_too_long(&halves));
}

#[test]
fn the_ends_of_time_and_rare_days_are_answered() {
    let window = [window("w", "0 0 29 2 *", "Europe/Berlin", 60)];
    assert_eq!(
        next(&window, at("2096-03-01T00:00:00Z")).unwrap().start,
        at("2104-02-28T23:00:00Z")
    );
    for now in [Timestamp::MIN, Timestamp::MAX] {
        assert_eq!(open_at(&window, now), None);
    }
    assert_eq!(next(&window, Timestamp::MAX), None);
    assert!(next(&[], at("2026-11-22T00:00:00Z")).is_none());
}
