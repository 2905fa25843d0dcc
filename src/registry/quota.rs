//! What a registry announces of its quota, and what of it is ours to use. Pure.
//!
//! Docker Hub is the model: `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600` are 100 pulls
//! in six hours, of which 76 are left; a GET of a manifest counts, a HEAD does not; both carry the headers.
//! A quota belongs to an address or an account (`docker-ratelimit-source`), which others use too: above all
//! the nodes, whose pulls must not fail for our questions. So two rules:
//!
//! - the floor, for every registry: when few are left, all of them are the others';
//! - the share, for registries that are somebody else's: we use a part of the limit in a window, no more.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

pub use announced::Announced;

mod announced;

/// Of a registry that nobody listed one in so many is used.
pub const SHARE: u64 = 10;
/// When only one in so many is left, or only one, none of them is ours.
const FLOOR: u64 = 10;
/// A window that is not announced: Docker Hub's.
const WINDOW_ASSUMED: SignedDuration = SignedDuration::from_secs(6 * 3600);
/// So often a request must have left the quota as it was, more often than not, before its like are
/// taken to be free.
const FREE_AFTER: i8 = 2;
/// So many answers without an announcement, and there is no quota.
const SILENT_AFTER: u8 = 3;
/// Expiries of what was spent are kept this exactly: a window in so many parts.
const PARTS: i32 = 64;

/// What a request is, to those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A GET of a manifest: a pull, wherever pulls are counted.
    Pull,
    /// Anything else; whether it counts is learnt.
    Other,
}

/// A request that may be sent; given back with what came of it.
#[derive(Debug, Clone, Copy)]
#[must_use = "what is not given back stays in flight for ever"]
pub struct Reservation {
    kind: Kind,
    is_counted: bool,
    lowest: Option<u64>,
    /// Pulls that began before it and had not come back.
    pulls_under_way: u64,
    /// How many pulls had begun by then.
    pulls_begun: u64,
}

/// Why a request is not sent, and when it may be, at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too little is left for others.
    Floor {
        remaining: u64,
        limit: Option<u64>,
        until: Timestamp,
    },
    /// Our share is used.
    Share {
        used: u64,
        limit: u64,
        until: Timestamp,
    },
}

/// The quota of one address or account at one registry.
#[derive(Debug, Default)]
pub struct Quota {
    known: Option<Known>,
    spent: VecDeque<Spent>,
    /// Requests in flight that count, or may.
    reserved: u64,
    in_flight: u64,
    /// Pulls in flight, and how many began so far.
    pulls_in_flight: u64,
    pulls_begun: u64,
    /// Above zero where other requests than pulls were seen to be free, below where not.
    free: i8,
    /// Those of which it cannot be told whether they counted: the first of all, and of a window.
    doubted: VecDeque<Spent>,
    silent: u8,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// Where none was announced, the most that was ever left.
    limit: u64,
    is_limit_announced: bool,
    remaining: u64,
    /// The least that was left in this window.
    lowest: u64,
    window: SignedDuration,
    /// The window ends by then.
    ends: Timestamp,
}

/// What we used that comes back at one time.
#[derive(Debug, Clone, Copy)]
struct Spent {
    until: Timestamp,
    count: u64,
}

impl Quota {
    /// Whether requests have to go one at a time, since it is not known yet what they cost.
    pub fn is_in_doubt(&self) -> bool {
        match self.known {
            Some(_) => self.free < FREE_AFTER,
            None => self.silent < SILENT_AFTER,
        }
    }

    /// Asks for one request. `share` is one in how many of the quota are ours; `None` is all of them.
    pub fn reserve(
        &mut self,
        kind: Kind,
        share: Option<u64>,
        now: Timestamp,
    ) -> Result<Reservation, Refusal> {
        self.forget(now);
        if let Some(known) = self.known {
            let floor = if known.is_limit_announced {
                (known.limit / FLOOR).max(1)
            } else {
                1
            };
            if known.remaining <= floor && now < known.ends {
                return Err(Refusal::Floor {
                    remaining: known.remaining,
                    limit: known.is_limit_announced.then_some(known.limit),
                    until: known.ends,
                });
            }
        }
        let is_counted = share.is_some() && (kind == Kind::Pull || self.free < FREE_AFTER);
        if let (true, Some(share), Some(known)) = (is_counted, share, self.known) {
            let spent = self.spent();
            if spent + self.reserved >= known.limit / share.max(1) {
                let next = self.counted().map(|spent| spent.until).min();
                return Err(Refusal::Share {
                    used: spent + self.reserved,
                    limit: known.limit,
                    until: next.unwrap_or(now.max(known.ends)),
                });
            }
        }
        self.in_flight += 1;
        self.reserved += u64::from(is_counted);
        let reservation = Reservation {
            kind,
            is_counted,
            lowest: self.known.map(|known| known.lowest),
            pulls_under_way: self.pulls_in_flight,
            pulls_begun: self.pulls_begun,
        };
        self.pulls_in_flight += u64::from(kind == Kind::Pull);
        self.pulls_begun += u64::from(kind == Kind::Pull);
        Ok(reservation)
    }

    /// Takes a request back: what its answer announced, or `None` where it announced nothing or there was
    /// no answer. A pull counts as used all the same.
    pub fn settle(
        &mut self,
        reservation: Reservation,
        announced: Option<Announced>,
        now: Timestamp,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if reservation.is_counted {
            self.reserved = self.reserved.saturating_sub(1);
        }
        let is_pull = reservation.kind == Kind::Pull;
        self.pulls_in_flight = self.pulls_in_flight.saturating_sub(u64::from(is_pull));
        // Pulls of ours that were under way beside it say for themselves why there is less.
        let begun_since = self.pulls_begun.saturating_sub(reservation.pulls_begun);
        let explained = reservation.pulls_under_way + begun_since;
        let is_lower = match (announced, reservation.lowest) {
            (Some(announced), Some(lowest)) => announced.remaining + explained < lowest,
            (_, _) => false,
        };
        if reservation.kind == Kind::Other
            && let (Some(announced), Some(lowest)) = (announced, reservation.lowest)
        {
            if is_lower {
                self.free = self.free.saturating_sub(1).max(-FREE_AFTER);
            } else if announced.remaining == lowest {
                self.free = self.free.saturating_add(1).min(FREE_AFTER * 2);
            }
        }
        match announced {
            Some(announced) => self.note(announced, now),
            None => self.silent = self.silent.saturating_add(1),
        }
        let (true, Some(known)) = (reservation.is_counted, self.known) else {
            return;
        };
        match reservation.kind {
            Kind::Pull => spend(&mut self.spent, known, now),
            // Not known to be free, and there is less than before: taken to be ours.
            Kind::Other if is_lower => spend(&mut self.spent, known, now),
            Kind::Other if announced.is_some() => spend(&mut self.doubted, known, now),
            Kind::Other => {}
        }
    }

    /// What is left, as it was announced last.
    pub fn remaining(&self) -> Option<u64> {
        self.known.map(|known| known.remaining)
    }

    /// Whether nothing would be lost with it.
    pub fn is_idle(&mut self, now: Timestamp) -> bool {
        self.forget(now);
        let is_over = self.known.is_none_or(|known| known.ends <= now);
        self.in_flight == 0 && self.spent.is_empty() && is_over
    }

    /// Two that turn out to be one: what was used of either was used of it.
    pub fn absorb(&mut self, other: Self) {
        for (ours, theirs) in [
            (&mut self.spent, other.spent),
            (&mut self.doubted, other.doubted),
        ] {
            ours.extend(theirs);
            ours.make_contiguous()
                .sort_unstable_by_key(|spent| spent.until);
        }
        self.reserved += other.reserved;
        self.in_flight += other.in_flight;
        self.pulls_in_flight += other.pulls_in_flight;
        self.known = self.known.or(other.known);
        self.free = self.free.min(other.free);
        self.silent = self.silent.max(other.silent);
    }

    fn note(&mut self, announced: Announced, now: Timestamp) {
        let window = announced.window.unwrap_or(WINDOW_ASSUMED);
        let ends = announced
            .resets_at
            .unwrap_or_else(|| now.saturating_add(window).unwrap_or(now));
        let remaining = announced.remaining;
        let before = self.known;
        let limit = announced
            .limit
            .unwrap_or_else(|| before.map_or(remaining, |known| known.limit).max(remaining));
        // Answers overtake each other, so a little more than before is no new window yet.
        let same =
            before.filter(|known| now < known.ends && remaining <= known.lowest + self.in_flight);
        self.known = Some(Known {
            limit,
            is_limit_announced: announced.limit.is_some(),
            remaining,
            lowest: same.map_or(remaining, |known| known.lowest.min(remaining)),
            window,
            // A window that we saw the middle of ends before a whole one has passed.
            ends: same.map_or(ends, |known| known.ends.min(ends)),
        });
    }

    /// What is used of our share.
    fn spent(&self) -> u64 {
        self.counted().map(|spent| spent.count).sum()
    }

    fn counted(&self) -> impl Iterator<Item = &Spent> {
        let is_free = self.free >= FREE_AFTER;
        let doubted = self.doubted.iter().filter(move |_| !is_free);
        self.spent.iter().chain(doubted)
    }

    fn forget(&mut self, now: Timestamp) {
        for log in [&mut self.spent, &mut self.doubted] {
            while log.front().is_some_and(|spent| spent.until <= now) {
                log.pop_front();
            }
        }
        // A clock that was set back must not keep it for longer than it lasts.
        if let Some(known) = &mut self.known {
            let latest = now.saturating_add(known.window).unwrap_or(now);
            known.ends = known.ends.min(latest);
            let latest = latest
                .saturating_add(known.window / PARTS)
                .unwrap_or(latest);
            for spent in self.spent.iter_mut().chain(&mut self.doubted) {
                spent.until = spent.until.min(latest);
            }
        }
    }
}

/// Counts one for a whole window from now on, whichever way the registry's own moves.
fn spend(log: &mut VecDeque<Spent>, known: Known, now: Timestamp) {
    let until = now.saturating_add(known.window).unwrap_or(now);
    match log.back_mut() {
        Some(last) if until <= last.until => last.count += 1,
        Some(_) | None => {
            let until = until.saturating_add(known.window / PARTS).unwrap_or(until);
            log.push_back(Spent { until, count: 1 });
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Floor {
                remaining,
                limit,
                until,
            } => {
                write!(formatter, "only {remaining} ")?;
                if let Some(limit) = limit {
                    write!(formatter, "of {limit} ")?;
                }
                write!(
                    formatter,
                    "requests are left of its quota, and these are left to the nodes; \
                     it is asked again by {until:.0}"
                )
            }
            Self::Share { used, limit, until } => write!(
                formatter,
                "{used} of its quota of {limit} are used by us, which is our share of a registry without an \
                 entry; more are free from {until:.0}; list it under `registries` to use more"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
