//! Windows: their check, and which hold for which storages.

use std::collections::HashMap;

use jiff::SignedDuration;
use jiff::tz::{self, TimeZone};

use super::check::Checker;
use super::problem::quoted;
use super::suggest::nearest;
use super::{Config, Registry, raw};
use crate::gc::window::{LONGEST, Window, too_long};

const NAME_BYTES_MAX: usize = 128;

/// Windows that hold together, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct WindowsOf<'a> {
    /// The registry that has windows of its own; `None` for the windows of all others.
    pub own: Option<&'a str>,
    /// May be empty.
    pub windows: &'a [Window],
}

impl WindowsOf<'_> {
    /// What a window is called among all of them: the value of the label `window`.
    pub fn label(&self, window: &Window) -> String {
        match self.own {
            None => window.name.clone(),
            Some(host) => format!("{host}/{}", window.name),
        }
    }
}

impl Config {
    /// The windows that hold for all registries without windows of their own first, then those of each registry
    /// that is collected, or whose tags are decided about, and has others; with the hosts of the storages for
    /// which they hold.
    pub fn windows(&self) -> Vec<(WindowsOf<'_>, Vec<&str>)> {
        let shared = WindowsOf {
            own: None,
            windows: &self.gc.windows,
        };
        let mut all = vec![(shared, Vec::new())];
        let is_changed = |it: &&Registry| it.is_collected() || it.is_retained();
        for registry in self.registries.iter().filter(is_changed) {
            let host = registry.host.as_str();
            if registry.gc.windows == self.gc.windows {
                if let Some((_, storages)) = all.first_mut() {
                    storages.push(host);
                }
            } else {
                let own = WindowsOf {
                    own: Some(host),
                    windows: &registry.gc.windows,
                };
                all.push((own, vec![host]));
            }
        }
        all
    }
}

impl Checker<'_, '_> {
    pub(super) fn windows(&mut self, path: &str, raw: Vec<raw::Window>) -> Vec<Window> {
        let mut names = HashMap::new();
        let count = raw.len();
        let mut windows = Vec::with_capacity(count);
        for (index, window) in raw.into_iter().enumerate() {
            let at = format!("{path}[{index}]");
            let name = window.name.clone().unwrap_or_default();
            let is_named = self.window_name(&at, &name, &mut names);
            let window = self.window(&at, window);
            windows.extend(window.filter(|_| is_named));
        }
        // Of windows that are each good alone.
        if windows.len() == count && too_long(&windows).is_some() {
            let message = format!(
                "together they are open for more than {} on end, since openings that overlap or touch are one; \
                 one collection is run in an opening, so leave a pause between them",
                days(LONGEST)
            );
            self.report.add(path, message);
        }
        windows
    }

    /// It becomes a label, so it stays one short word.
    fn window_name(&mut self, at: &str, name: &str, names: &mut HashMap<String, String>) -> bool {
        let path = format!("{at}.name");
        let is_word = |c: char| !c.is_whitespace() && !c.is_control();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_word) {
            let message = format!(
                "{} is not a name: expected 1 to {NAME_BYTES_MAX} characters without white space",
                quoted(name)
            );
            self.report.add(&path, message);
            return false;
        }
        if let Some(first) = names.get(name) {
            let message = format!(
                "{} is already the name of {first}; every window of a list has its own",
                quoted(name)
            );
            self.report.add(&path, message);
            return false;
        }
        names.insert(name.to_owned(), at.to_owned());
        true
    }

    /// `None` where something was reported.
    fn window(&mut self, at: &str, raw: raw::Window) -> Option<Window> {
        let raw::Window {
            name,
            schedule,
            time_zone,
            duration,
        } = raw;
        let of = |key: &str| format!("{at}.{key}");
        let schedule = schedule.and_then(|text| {
            let parsed = text.parse();
            parsed
                .map_err(|problem: crate::gc::window::schedule::InvalidSchedule| {
                    let message = format!("{} is not a schedule: {problem}", quoted(&text));
                    self.report.add(&of("schedule"), message);
                })
                .ok()
        });
        let zone = match time_zone {
            None => Some(TimeZone::UTC),
            Some(name) => self.zone(&of("timeZone"), &name),
        };
        let duration = duration.and_then(|text| self.window_duration(&of("duration"), &text));
        let window = Window {
            name: name?,
            schedule: schedule?,
            zone: zone?,
            duration: duration?,
        };
        if too_long(std::slice::from_ref(&window)).is_some() {
            let message = format!(
                "by `{}` it opens again before it closes, and would be open for more than {} on end; one \
                 collection is run in an opening, and stops before its end: write a shorter duration",
                window.schedule,
                days(LONGEST)
            );
            self.report.add(&of("duration"), message);
            return None;
        }
        Some(window)
    }

    fn window_duration(&mut self, path: &str, text: &str) -> Option<SignedDuration> {
        let duration = self.duration(path, text);
        if self.report.has(path) {
            return None;
        }
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        if duration.is_zero() {
            self.report.add(
                path,
                "a window that closes as it opens lets nothing run; write how long it is open, as 3h",
            );
            return None;
        }
        if duration > LONGEST {
            let message = format!(
                "{} is longer than {}, the most that a window may be open on end",
                quoted(text),
                days(LONGEST)
            );
            self.report.add(path, message);
            return None;
        }
        Some(duration)
    }

    fn zone(&mut self, path: &str, name: &str) -> Option<TimeZone> {
        let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
        if zone.is_none() {
            let names: Vec<String> = tz::db().available().map(|it| it.to_string()).collect();
            let way_out = nearest(name, names.iter()).map_or_else(
                || "expected one as Europe/Berlin or UTC".to_owned(),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            let message = format!("{} is not an IANA time zone; {way_out}", quoted(name));
            self.report.add(path, message);
        }
        zone
    }
}

fn days(duration: SignedDuration) -> String {
    format!("{}d", duration.as_hours() / 24)
}
