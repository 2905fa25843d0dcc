//! `gc windows -o json` and `/api/v1/windows`.

use jiff::Timestamp;
use serde::Serialize;

use crate::gc::window::opening::Opening;
use crate::state::windows::{Group, WindowStatus, Windows};

const SCHEMA: &str = "pullproof.dev/windows/v1";

/// The windows at one time, by window and by storage.
#[derive(Debug, Serialize)]
pub struct WindowsView<'a> {
    schema: &'static str,
    /// The time of which all of it is true.
    at: Timestamp,
    windows: Vec<OfWindow<'a>>,
    storages: Vec<OfStorage<'a>>,
}

/// A window, whatever others there are.
#[derive(Debug, Serialize)]
struct OfWindow<'a> {
    /// The label of its metrics.
    window: &'a str,
    name: &'a str,
    schedule: String,
    time_zone: Option<&'a str>,
    duration_seconds: i64,
    open: bool,
    next_open: Option<Timestamp>,
}

/// A storage, and when a collection may run in it.
#[derive(Debug, Serialize)]
struct OfStorage<'a> {
    storage: &'a str,
    /// The labels of its windows.
    windows: Vec<&'a str>,
    open: Option<OfOpening<'a>>,
    next: Vec<OfOpening<'a>>,
}

#[derive(Debug, Serialize)]
struct OfOpening<'a> {
    id: String,
    windows: &'a [String],
    start: Timestamp,
    end: Timestamp,
    duration_seconds: i64,
}

impl<'a> WindowsView<'a> {
    pub fn of(windows: &'a Windows) -> Self {
        let of_groups = windows.groups.iter().flat_map(|group| {
            let storages = group.storages.iter();
            storages.map(|storage| OfStorage::of(storage, group))
        });
        let mut storages: Vec<OfStorage<'_>> = of_groups.collect();
        storages.sort_by_key(|of| of.storage);
        Self {
            schema: SCHEMA,
            at: windows.at,
            windows: windows.all().map(OfWindow::from).collect(),
            storages,
        }
    }
}

impl<'a> OfStorage<'a> {
    fn of(storage: &'a str, group: &'a Group) -> Self {
        Self {
            storage,
            windows: group.windows.iter().map(|it| it.label.as_str()).collect(),
            open: group.open.as_ref().map(OfOpening::from),
            next: group.next.iter().map(OfOpening::from).collect(),
        }
    }
}

impl<'a> From<&'a WindowStatus> for OfWindow<'a> {
    fn from(status: &'a WindowStatus) -> Self {
        let window = &status.window;
        Self {
            window: &status.label,
            name: &window.name,
            schedule: window.schedule.to_string(),
            time_zone: window.zone.iana_name(),
            duration_seconds: window.duration.as_secs(),
            open: status.open.is_some(),
            next_open: status.next.as_ref().map(|next| next.start),
        }
    }
}

impl<'a> From<&'a Opening> for OfOpening<'a> {
    fn from(opening: &'a Opening) -> Self {
        Self {
            id: opening.id().to_string(),
            windows: &opening.windows,
            start: opening.start,
            end: opening.end,
            duration_seconds: opening.duration().as_secs(),
        }
    }
}
