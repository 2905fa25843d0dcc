//! Configurations in, words out.

use std::path::Path;

use super::*;

fn said(config: &str, now: &str, count: usize, is_wide: bool) -> String {
    let config = crate::config::parse(config, "p", Path::new("")).unwrap();
    let windows = Windows::of(&config, now.parse().unwrap(), count);
    text(&windows, is_wide, Paint::off())
}

fn of(window: &str) -> String {
    format!(
        "registries: [{{host: r.example, storage: {{filesystem: {{root: r}}}}}}]\ngc: {{windows: [{window}]}}"
    )
}

const SUNDAY: &str =
    "{name: sunday, schedule: \"0 2 * * 0\", timeZone: Europe/Berlin, duration: 3h}";

#[test]
fn the_next_openings_are_told_in_words() {
    assert_eq!(
        said(&of(SUNDAY), "2026-11-26T12:00:00Z", 2, false),
        "r.example\n  \
         in 2 days  Sunday 2026-11-29 02:00 to 05:00 Europe/Berlin (CET, UTC+1), 3 h: sunday\n  \
         in 9 days  Sunday 2026-12-06 02:00 to 05:00 Europe/Berlin (CET, UTC+1), 3 h: sunday\n"
    );
    assert_eq!(
        said(&of(SUNDAY), "2026-11-29T01:30:10Z", 1, true),
        "r.example\n  \
         open       Sunday 2026-11-29 02:00 to 05:00 Europe/Berlin (CET, UTC+1), 3 h, 2 h 29 min left: sunday\n  \
         \x20          sunday@2026-11-29T01:00:00Z\n  \
         in 6 days  Sunday 2026-12-06 02:00 to 05:00 Europe/Berlin (CET, UTC+1), 3 h: sunday\n  \
         \x20          sunday@2026-12-06T01:00:00Z\n"
    );
}

#[test]
fn what_the_clock_does_meanwhile_is_told() {
    for (window, now, told) in [
        (
            SUNDAY,
            "2026-10-24T12:00:00Z",
            "in 12 h  Sunday 2026-10-25 02:00 to 04:00 Europe/Berlin (CEST, UTC+2, then CET, UTC+1), 3 h; the clock \
             goes back in it: sunday",
        ),
        (
            "{name: a, schedule: \"0 1 * * 0\", timeZone: Europe/Berlin, duration: 1h30m}",
            "2027-03-28T00:00:00Z",
            "Sunday 2027-03-28 01:00 to 03:30 Europe/Berlin (CET, UTC+1, then CEST, UTC+2), 1 h 30 min; the \
             clock goes forward in it, 1 h 30 min left: a",
        ),
        (
            "{name: a, schedule: \"30 2 * * *\", timeZone: Europe/Berlin, duration: 45m}",
            "2027-03-28T01:29:31Z",
            "in less than a minute  Sunday 2027-03-28 03:30 to 04:15 Europe/Berlin (CEST, UTC+2), 45 min; the clock \
             skips the time at which it is due: a",
        ),
        (
            "{name: a, schedule: \"0 23 31 12 *\", duration: 90s}",
            "2026-12-31T21:30:00Z",
            "in 90 min  Thursday 2026-12-31 23:00 to 23:01 UTC, 90 s: a",
        ),
        (
            "{name: a, schedule: \"0 23 * * 5\", timeZone: America/St_Johns, duration: 10h}",
            "2026-12-31T00:00:00Z",
            "Friday 2027-01-01 23:00 to Saturday 2027-01-02 09:00 America/St_Johns (NST, UTC-3:30), 10 h: a",
        ),
        (
            "{name: a, schedule: \"0 23 * * 5\", timeZone: asia/tokyo, duration: 30m},\
             {name: b, schedule: \"15 14 * * *\", duration: 30m}",
            "2027-01-01T00:00:00Z",
            "in 14 h  Friday 2027-01-01 23:00 to 23:45 Asia/Tokyo (JST, UTC+9), 45 min: a, b",
        ),
        (
            "{name: a, schedule: \"0 1 * * *\", timeZone: Asia/Kathmandu, duration: 1h}",
            "2027-01-01T00:00:00Z",
            "Saturday 2027-01-02 01:00 to 02:00 Asia/Kathmandu (UTC+5:45), 1 h: a",
        ),
    ] {
        let text = said(&of(window), now, 1, false);
        assert!(text.contains(told), "{told}\n{text}");
    }
}

#[test]
fn storages_with_windows_of_their_own_are_told_apart() {
    let storage = "storage: {filesystem: {root: r}}";
    let text = said(
        &format!(
            "registries:\n\
             - {{host: a.b, {storage}}}\n\
             - {{host: c.d, {storage}, gc: {{windows: [{{name: noon, schedule: \"0 12 * * *\", duration: 1h}}]}}}}\n\
             - {{host: e.f, {storage}}}\n\
             - {{host: g.h, {storage}, gc: {{windows: []}}}}\n\
             - {{host: i.j}}\n\
             gc: {{windows: [{SUNDAY}]}}"
        ),
        "2026-11-29T01:30:00Z",
        1,
        false,
    );
    assert_eq!(
        text,
        "a.b, e.f\n  \
         open       Sunday 2026-11-29 02:00 to 05:00 Europe/Berlin (CET, UTC+1), 3 h, 2 h 30 min left: sunday\n  \
         in 6 days  Sunday 2026-12-06 02:00 to 05:00 Europe/Berlin (CET, UTC+1), 3 h: sunday\n\n\
         c.d\n  in 10 h  Sunday 2026-11-29 12:00 to 13:00 UTC, 1 h: noon\n\n\
         g.h\n  it has no window of its own and takes no other's\n"
    );
    let none = said(
        &format!("registries: [{{host: a.b, {storage}}}]"),
        "2026-11-29T01:30:00Z",
        1,
        false,
    );
    assert!(none.starts_with("no window is configured"), "{none}");
    // What it shows is a configuration.
    let (_, shown) = none.split_once("configuration\n").unwrap();
    let config = crate::config::parse(shown, "p", Path::new("")).unwrap();
    assert_eq!(config.gc.windows.len(), 1);
    let nobodys = said(
        &format!("gc: {{windows: [{SUNDAY}]}}"),
        "2026-11-29T01:30:00Z",
        1,
        false,
    );
    assert!(nobodys.starts_with("no storage\n  open "), "{nobodys}");
}

#[test]
fn the_documentation_shows_what_is_said() {
    let page = include_str!("../../../../../docs/collection.md");
    let (before, after) = page
        .split_once("```text\n$ pullproof gc windows --count 3\n")
        .unwrap();
    let (shown, _) = after.split_once("```\n").unwrap();
    let (_, window) = before.rsplit_once("windows: [").unwrap();
    let (window, _) = window.split_once("]\n").unwrap();
    assert_eq!(window, SUNDAY);
    let config = of(window).replace("r.example", "registry.example:5000");
    assert_eq!(said(&config, "2026-10-22T12:00:00Z", 3, false), shown);
}
