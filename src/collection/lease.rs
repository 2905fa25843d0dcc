//! Who collects, by a Lease of Kubernetes: what to do about a record that was read. Pure.
//!
//! No machine's clock is held against another's. A record lives as long as it is seen to change, by the clock
//! of whoever looks, and its own times are for people. Whoever has it stops before anybody else may think
//! that it is over: its time begins when the renewal was sent, theirs when they saw it.

use std::time::Duration;

/// A moment of the machine's own clock, which nobody sets and which goes on while it sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    #[must_use]
    pub fn after(self, long: Duration) -> Self {
        Self(self.0.saturating_add(long))
    }

    /// How long it is until then; nothing where that is past.
    pub fn until(self, then: Self) -> Duration {
        then.0.saturating_sub(self.0)
    }
}

/// What of a Lease matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Empty where somebody gave it back.
    pub holder: String,
    pub lasts: Duration,
    /// Another one for each change.
    pub version: String,
}

/// A record, and since when it was not seen to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub record: Record,
    pub since: Moment,
}

impl Observed {
    /// What was read at a moment, after what was read before.
    #[must_use]
    pub fn next(before: Option<Self>, record: Record, at: Moment) -> Self {
        match before {
            Some(before) if before.record == record => before,
            Some(_) | None => Self { record, since: at },
        }
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is none.
    Create,
    /// Nobody has it, or whoever had it has not been seen for long enough.
    Take,
    /// It is ours.
    Renew,
    /// Somebody has it; until then nobody else may.
    Wait(Moment),
}

/// What to do about what was seen.
pub fn step(me: &str, seen: Option<&Observed>, now: Moment) -> Step {
    let Some(Observed { record, since }) = seen else {
        return Step::Create;
    };
    if record.holder == me {
        return Step::Renew;
    }
    let ends = since.after(record.lasts);
    if record.holder.is_empty() || now >= ends {
        return Step::Take;
    }
    Step::Wait(ends)
}

/// For how long it is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure {
    until: Moment,
}

impl Tenure {
    /// By a record that lasts so long, sent at a moment and accepted.
    pub fn new(sent: Moment, lasts: Duration) -> Self {
        Self {
            until: sent.after(lasts),
        }
    }

    /// Whether something that may take so long is over before anybody else may begin.
    pub fn covers(&self, now: Moment, long: Duration) -> bool {
        now.after(long) < self.until
    }

    pub fn until(&self) -> Moment {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LASTS: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn record(holder: &str, version: u32) -> Record {
        Record {
            holder: holder.to_owned(),
            lasts: LASTS,
            version: version.to_string(),
        }
    }

    #[test]
    fn a_record_that_changes_is_somebodys_and_one_that_stays_is_nobodys() {
        assert_eq!(step("b", None, at(0)), Step::Create);
        let mut seen = Observed::next(None, record("a", 1), at(100));
        assert_eq!(step("a", Some(&seen), at(1000)), Step::Renew);
        for (version, now) in [(2, 110), (3, 124), (4, 138)] {
            seen = Observed::next(Some(seen), record("a", version), at(now));
            assert_eq!(step("b", Some(&seen), at(now)), Step::Wait(at(now + 15)));
        }
        // It is read again, and is the same.
        seen = Observed::next(Some(seen), record("a", 4), at(152));
        assert_eq!(step("b", Some(&seen), at(152)), Step::Wait(at(153)));
        assert_eq!(step("b", Some(&seen), at(153)), Step::Take);
        let released = Observed::next(Some(seen), record("", 5), at(153));
        assert_eq!(step("b", Some(&released), at(153)), Step::Take);
    }

    proptest! {
        /// Two machines whose clocks say anything, a way that takes anything: whoever takes it over begins after
        /// whoever had it has stopped.
        #[test]
        fn nobody_begins_before_the_other_has_stopped(
            (clock_a, clock_b) in (0_u64..1_000_000, 0_u64..1_000_000),
            renewals in prop::collection::vec((0_u64..20_000, 0_u64..5_000), 1..8),
            looks in prop::collection::vec(0_u64..4_000, 1..80),
            batch in 0_u64..5_000,
        ) {
            let millis = |of: u64, true_time: u64| Moment(Duration::from_millis(of + true_time));
            // By true time: a renewal is sent, and arrives later.
            let (mut sent, mut arrived) = (0, Vec::new());
            for (pause, way) in renewals {
                sent += pause;
                arrived.push((sent, sent + way));
                sent += way;
            }
            let mut now = 0;
            let mut seen: Option<Observed> = None;
            for pause in looks {
                now += pause;
                let version = arrived.iter().filter(|(_, there)| *there <= now).count();
                if version == 0 {
                    continue;
                }
                let version_text = u32::try_from(version).unwrap();
                let here = millis(clock_b, now);
                seen = Some(Observed::next(seen, record("a", version_text), here));
                if step("b", seen.as_ref(), here) == Step::Take {
                    // Only what arrived before counts: the server refuses what comes later.
                    let (sent, _) = arrived[version - 1];
                    let tenure = Tenure::new(millis(clock_a, sent), LASTS);
                    let batch = Duration::from_millis(batch);
                    // Whatever a batch was begun at that it covered, it is over by now.
                    let last_begin = tenure.until().0.saturating_sub(batch);
                    let over = last_begin + batch;
                    prop_assert!(over <= millis(clock_a, now).0);
                    prop_assert!(!tenure.covers(millis(clock_a, now), Duration::ZERO));
                    break;
                }
            }
        }
    }
}
