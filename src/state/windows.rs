//! Which windows are open, and when they open next. Pure.

use jiff::Timestamp;

use crate::config::Config;
use crate::gc::window::opening::Opening;
use crate::gc::window::{self, Window};

/// What is so at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Windows {
    pub at: Timestamp,
    /// Those that all storages share first.
    pub groups: Vec<Group>,
}

/// Windows that hold together: what overlaps among them is one opening.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The hosts of the registries whose storages they are for.
    pub storages: Vec<String>,
    /// May be empty.
    pub windows: Vec<WindowStatus>,
    pub open: Option<Opening>,
    /// What opens next; as many as were asked for.
    pub next: Vec<Opening>,
}

/// One window, whatever others there are.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowStatus {
    /// Unique among all groups.
    pub label: String,
    pub window: Window,
    pub open: Option<Opening>,
    pub next: Option<Opening>,
}

impl WindowStatus {
    fn of(label: String, window: &Window, now: Timestamp) -> Self {
        let alone = std::slice::from_ref(window);
        Self {
            label,
            window: window.clone(),
            open: window::open_at(alone, now),
            next: window::next(alone, now),
        }
    }
}

impl Windows {
    /// With so many of each group's next openings. Groups that are nobody's and have no window are left out.
    pub fn of(config: &Config, now: Timestamp, count: usize) -> Self {
        let groups = config.windows().into_iter();
        let groups = groups.filter(|(of, hosts)| !of.windows.is_empty() || !hosts.is_empty());
        let groups = groups.map(|(of, hosts)| Group {
            storages: hosts.into_iter().map(ToOwned::to_owned).collect(),
            windows: (of.windows.iter())
                .map(|window| WindowStatus::of(of.label(window), window, now))
                .collect(),
            open: window::open_at(of.windows, now),
            next: window::upcoming(of.windows, now).take(count).collect(),
        });
        Self {
            at: now,
            groups: groups.collect(),
        }
    }

    /// All windows of all groups.
    pub fn all(&self) -> impl Iterator<Item = &WindowStatus> {
        self.groups.iter().flat_map(|group| &group.windows)
    }

    /// When any of it changes: the next time at which a window opens or closes.
    pub fn changes_at(&self) -> Option<Timestamp> {
        let ends = self.all().filter_map(|it| Some(it.open.as_ref()?.end));
        let starts = self.all().filter_map(|it| Some(it.next.as_ref()?.start));
        ends.chain(starts).min()
    }
}
