//! Jobs that collect in a daemon's place: how they are called, and when one is started. Pure.
//!
//! A name says what a Job is for and of which opening, so that whoever starts it twice is told that it is there:
//! a daemon that died in between, or another replica of it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use self::told::Told;
use super::occasion::MARGIN;
use crate::gc::window::opening::{self, Opening, OpeningId};
use crate::oci::digest::Digest;
use crate::second::Second;

pub mod manifest;
pub mod switched;
pub mod told;

/// A Job that was refused is started again, in the same opening, after so long; one that was to put back and
/// could not, too.
const TRY_EVERY: SignedDuration = SignedDuration::from_mins(15);
const RESTORE_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// What a Job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The one run of an opening.
    Collect,
    /// Everything in quarantine goes back.
    Restore,
}

impl Purpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Restore => "restore",
        }
    }
}

/// The name of a Job: `pullproof-collect-1a2b3c4d-1795309200`, and `-1` behind it for a second attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub purpose: Purpose,
    /// Short, and no other storage's: see [`of_storage`].
    pub storage: String,
    /// When the opening began, or since when an image is worse.
    pub since: Second,
    pub attempt: u32,
}

/// A storage in a name and in a label: a host may be too long for both.
pub fn of_storage(host: &str) -> String {
    let digest = Digest::of(host.as_bytes()).to_string();
    let hexadecimal = digest.strip_prefix("sha256:").unwrap_or(&digest);
    hexadecimal.chars().take(8).collect()
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            purpose,
            storage,
            since,
            attempt,
        } = self;
        let (purpose, since) = (purpose.as_str(), since.get());
        write!(formatter, "pullproof-{purpose}-{storage}-{since}")?;
        if *attempt > 0 {
            write!(formatter, "-{attempt}")?;
        }
        Ok(())
    }
}

impl Name {
    /// `None` for what is not called so.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("pullproof-")?.split('-');
        let purpose = match parts.next()? {
            "collect" => Purpose::Collect,
            "restore" => Purpose::Restore,
            _ => return None,
        };
        let name = Self {
            purpose,
            storage: parts.next()?.to_owned(),
            since: Second::new(parts.next()?.parse().ok()?),
            attempt: parts.next().map_or(Some(0), |it| it.parse().ok())?,
        };
        // Whatever else reads like it has another name.
        (name.to_string() == text).then_some(name)
    }
}

/// How far a Job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for its pod, or its pod runs.
    Running,
    Ended(Ended),
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub at: Timestamp,
    pub is_complete: bool,
    /// Why it failed, as Kubernetes has it.
    pub why: Option<String>,
    /// What its container said last; `None` where it could not say anything.
    pub told: Option<Box<Told>>,
}

/// A Job of ours, of one storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub name: Name,
    pub created_at: Timestamp,
    pub state: State,
}

impl Seen {
    fn is_running(&self) -> bool {
        self.state == State::Running
    }

    fn told(&self) -> Option<&Told> {
        match &self.state {
            State::Ended(ended) => ended.told.as_deref(),
            State::Running => None,
        }
    }

    /// Whether it said that the gate was closed: then nothing was taken.
    fn was_refused(&self) -> bool {
        self.told().is_some_and(|told| told.result == "refused")
    }
}

/// What is known of a storage.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Whether nothing that the daemon itself sees speaks against a collection.
    pub collects: bool,
    pub open: Option<&'a Opening>,
    /// Those of this storage, in any order.
    pub jobs: &'a [Seen],
    /// Since when something has to go back: an image that is kept is worse, the first of those that got so since
    /// something is held, or the bucket would purge it.
    pub worse: Option<Second>,
    /// The storage, as [`of_storage`] has it.
    pub storage: &'a str,
}

/// A Job that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub name: Name,
    pub opening: Option<OpeningId>,
    /// The hard stop; what goes back has none.
    pub until: Option<Timestamp>,
}

/// Since when something may be in quarantine, as the Jobs tell it: what says nothing of it may have taken
/// something from its beginning on.
pub fn held_since(jobs: &[Seen]) -> Option<Second> {
    let mut jobs: Vec<&Seen> = jobs.iter().collect();
    jobs.sort_by_key(|job| (job.created_at, &job.name));
    let mut since = None;
    for job in jobs {
        match (job.told(), job.name.purpose) {
            // Whatever else it is, this is what it saw in the storage.
            (Some(told), _) if told.knows_held => since = told.held_since,
            (_, Purpose::Collect) => since = since.or(Some(job.created_at.into())),
            (_, Purpose::Restore) => {}
        }
    }
    since
}

/// When something goes back by itself, since the bucket would purge it, as the last Job that looked tells it.
pub fn returns_at(jobs: &[Seen]) -> Option<Second> {
    let said = jobs
        .iter()
        .filter(|job| job.told().is_some_and(|it| it.knows_held));
    let last = said.max_by_key(|job| (job.created_at, &job.name))?;
    last.told()?.returns_at
}

/// What is to be started now; `None` while there is nothing to do. Never two at a time: the storage has one
/// lock.
pub fn next(standing: &Standing<'_>, now: Timestamp) -> Option<Start> {
    let jobs = standing.jobs;
    // A clock that was set back lets nobody wait for ever.
    let is_past = |at: Timestamp, long: SignedDuration| {
        let passed = now.duration_since(at);
        passed >= long || passed.is_negative()
    };
    let of = |purpose: Purpose, since: Second| {
        let all = jobs.iter();
        all.filter(move |it| it.name.purpose == purpose && it.name.since == since)
    };
    let name = |purpose: Purpose, since: Second| Name {
        purpose,
        storage: standing.storage.to_owned(),
        since,
        attempt: of(purpose, since)
            .map(|it| it.name.attempt.saturating_add(1))
            .max()
            .unwrap_or_default(),
    };
    if jobs.iter().any(Seen::is_running) {
        return None;
    }
    if let Some(since) = standing.worse {
        let is_tried = of(Purpose::Restore, since).any(|it| match &it.state {
            // What was asked for is done.
            State::Ended(ended) => ended.is_complete || !is_past(ended.at, RESTORE_EVERY),
            State::Running => true,
        });
        return (!is_tried).then(|| Start {
            name: name(Purpose::Restore, since),
            opening: None,
            until: None,
        });
    }
    let open = standing.open.filter(|_| standing.collects)?;
    let had = jobs.iter().filter(|it| it.name.purpose == Purpose::Collect);
    let since = Second::from(open.start);
    // One run an opening, also after the clock was set back. What was refused was none.
    let is_done = had.clone().any(|it| {
        it.name.since > since
            || (it.name.since == since
                && !(it.was_refused()
                    && matches!(&it.state, State::Ended(ended) if is_past(ended.at, TRY_EVERY))))
    });
    let until = opening::stop_by(open, MARGIN);
    if is_done || !opening::may_start(open, None, now) || now >= until {
        return None;
    }
    Some(Start {
        name: name(Purpose::Collect, since),
        opening: Some(open.id()),
        until: Some(until),
    })
}

#[cfg(test)]
mod tests;
