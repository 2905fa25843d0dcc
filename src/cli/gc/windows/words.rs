//! Windows as a person reads them in a terminal. Pure.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::cli::explain::text::push;
use crate::cli::terminal::Paint;
use crate::gc::window::Window;
use crate::gc::window::opening::Opening;
use crate::state::windows::{Group, Windows};

const NONE: &str = "no window is configured, and a collection runs in a window only; write in the configuration\n  \
                    gc:\n    windows:\n      - {name: sunday, schedule: \"0 2 * * 0\", timeZone: \
                    Europe/Berlin, duration: 3h}";

pub(super) fn text(windows: &Windows, is_wide: bool, paint: Paint) -> String {
    let mut text = String::new();
    if windows.all().next().is_none() {
        push(&mut text, NONE);
        return text;
    }
    for (index, group) in windows.groups.iter().enumerate() {
        if index > 0 {
            push(&mut text, "");
        }
        let head = if group.storages.is_empty() {
            "no storage".to_owned()
        } else {
            group.storages.join(", ")
        };
        push(&mut text, &paint.bold(&head));
        of_group(group, windows.at, is_wide, paint, &mut text);
    }
    text
}

fn of_group(group: &Group, now: Timestamp, is_wide: bool, paint: Paint, text: &mut String) {
    if group.windows.is_empty() {
        push(text, "  it has no window of its own and takes no other's");
        return;
    }
    let mut lines: Vec<(String, &Opening)> = Vec::new();
    if let Some(open) = &group.open {
        lines.push(("open".to_owned(), open));
    }
    for next in &group.next {
        lines.push((until(now, next.start), next));
    }
    let width = lines.iter().map(|(when, _)| when.len()).max();
    let width = width.unwrap_or_default();
    for (when, opening) in lines {
        let is_open = opening.contains(now);
        let padded = format!("{when:<width$}");
        let when = if is_open {
            paint.green(&padded)
        } else {
            padded
        };
        let left = if is_open {
            format!(", {} left", span(opening.end.duration_since(now)))
        } else {
            String::new()
        };
        let names = opening.windows.join(", ");
        let told = told(group, opening);
        push(text, &format!("  {when}  {told}{left}: {names}"));
        if is_wide {
            push(
                text,
                &paint.faint(&format!("  {:<width$}  {}", "", opening.id())),
            );
        }
    }
}

/// When it is by the clock of the window that begins it, how long it takes, and what the clock does meanwhile.
fn told(group: &Group, opening: &Opening) -> String {
    let first = opening.windows.first();
    let window = first.and_then(|name| {
        let windows = group.windows.iter().map(|it| &it.window);
        windows.into_iter().find(|it| it.name == *name)
    });
    let utc = TimeZone::UTC;
    let zone = window.map_or(&utc, |window| &window.zone);
    let (begin, end) = (
        zone.to_datetime(opening.start),
        zone.to_datetime(opening.end),
    );
    let until = if begin.date() == end.date() {
        end.strftime("%H:%M")
    } else {
        end.strftime("%A %F %H:%M")
    };
    let mut text = format!("{} to {until} ", begin.strftime("%A %F %H:%M"));
    text.push_str(&clock(zone, opening));
    text.push_str(&format!(", {}", span(opening.duration())));
    for change in changes(zone, opening) {
        text.push_str(change);
    }
    if window.is_some_and(|window| is_late(window, opening)) {
        text.push_str("; the clock skips the time at which it is due");
    }
    text
}

fn is_late(window: &Window, opening: &Opening) -> bool {
    window.is_shifted(opening.start)
}

/// `Europe/Berlin (CET, UTC+1)`
fn clock(zone: &TimeZone, opening: &Opening) -> String {
    let name = zone.iana_name().unwrap_or("UTC");
    let said = |at| {
        let info = zone.to_offset_info(at);
        let offset = offset(info.offset());
        let short = info.abbreviation();
        // Many zones have a number for it.
        if short.starts_with(char::is_alphabetic) && short != name {
            format!("{short}, {offset}")
        } else {
            offset
        }
    };
    let (begin, end) = (said(opening.start), said(opening.end));
    match (begin == name, begin == end) {
        (true, true) => name.to_owned(),
        (_, true) => format!("{name} ({begin})"),
        (_, false) => format!("{name} ({begin}, then {end})"),
    }
}

/// `UTC+1`, `UTC-3:30`
fn offset(offset: Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("UTC{sign}{hours}"),
        (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
    }
}

/// What the clock does while it is open.
fn changes<'a>(
    zone: &'a TimeZone,
    opening: &'a Opening,
) -> impl Iterator<Item = &'static str> + 'a {
    let mut offset = zone.to_offset(opening.start);
    let changes = zone
        .following(opening.start)
        .take_while(|it| it.timestamp() <= opening.end);
    changes.filter_map(move |change| {
        let before = std::mem::replace(&mut offset, change.offset());
        match change.offset().cmp(&before) {
            std::cmp::Ordering::Less => Some("; the clock goes back in it"),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some("; the clock goes forward in it"),
        }
    })
}

fn until(now: Timestamp, start: Timestamp) -> String {
    let minutes = start.duration_since(now).as_mins();
    match minutes {
        ..1 => "in less than a minute".to_owned(),
        1..120 => format!("in {minutes} min"),
        120..2880 => format!("in {} h", minutes / 60),
        _ => format!("in {} days", minutes / 1440),
    }
}

/// `3 h`, `1 h 30 min`, `90 s`
fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
    match (hours, minutes) {
        _ if seconds < 120 => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests;
