//! Since when a registry is read-only by what its Jobs tell, or by what one that died may have left. Pure.

use super::{Purpose, Seen, State};
use crate::second::Second;

/// What is known by the Jobs so far, in the order in which they were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switched {
    /// Since when it is read-only, or nobody knows whether it is; `None` where it is writable, as far as Jobs
    /// know.
    pub since: Option<Second>,
    /// Whether a Job said that it switches the registry: its configuration is not the daemon's.
    is_managed: bool,
}

impl Switched {
    /// With what came of one more Job. `is_managed`: by the daemon's own configuration Jobs switch the registry.
    #[must_use]
    pub fn after(self, seen: &Seen, is_managed: bool) -> Self {
        let State::Ended(ended) = &seen.state else {
            return self;
        };
        match &ended.told {
            Some(told) if told.knows_read_only => Self {
                since: told.read_only_since,
                is_managed: told.switches,
            },
            // One that switched it and could not switch it back has failed, also one that tells less.
            Some(told) if told.failed.is_none() && told.has_begun() => Self {
                since: None,
                ..self
            },
            None if ended.is_complete => Self {
                since: None,
                ..self
            },
            None if self.may_switch(seen, is_managed) => Self {
                since: self.since.or(Some(seen.created_at.into())),
                ..self
            },
            Some(_) | None => self,
        }
    }

    /// Whether nobody knows what this Job left: it may have switched the registry, and died without a word.
    pub fn is_in_doubt(self, seen: &Seen, is_managed: bool) -> bool {
        match &seen.state {
            State::Ended(ended) => {
                ended.told.is_none() && !ended.is_complete && self.may_switch(seen, is_managed)
            }
            State::Running => false,
        }
    }

    /// What goes back needs no registry that is read-only.
    fn may_switch(self, seen: &Seen, is_managed: bool) -> bool {
        seen.name.purpose == Purpose::Collect && (is_managed || self.is_managed)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::told::Told;
    use super::super::{Ended, Name};
    use super::*;

    fn ended(purpose: Purpose, since: i64, is_complete: bool, told: Option<Told>) -> Seen {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        Seen {
            name: Name {
                purpose,
                storage: "1a2b3c4d".to_owned(),
                since: Second::new(since),
                attempt: 0,
            },
            created_at: at(since),
            state: State::Ended(Ended {
                at: at(since + 10),
                is_complete,
                why: None,
                told: told.map(Box::new),
            }),
        }
    }

    fn told(read_only_since: Option<i64>) -> Told {
        Told {
            result: "refused".to_owned(),
            knows_read_only: true,
            read_only_since: read_only_since.map(Second::new),
            switches: true,
            ..Told::default()
        }
    }

    /// Of one that knows no such words.
    fn older(result: &str, failed: Option<&str>) -> Told {
        Told {
            result: result.to_owned(),
            failed: failed.map(str::to_owned),
            ..Told::default()
        }
    }

    fn since(jobs: &[Seen], is_managed: bool) -> Option<i64> {
        let known = jobs.iter().fold(Switched::default(), |known, seen| {
            known.after(seen, is_managed)
        });
        known.since.map(Second::get)
    }

    #[test]
    fn it_is_what_the_last_job_told() {
        let collect = |since, said| ended(Purpose::Collect, since, false, said);
        let left = collect(1000, Some(told(Some(1005))));
        assert_eq!(since(std::slice::from_ref(&left), false), Some(1005));
        let back = collect(2000, Some(told(None)));
        assert_eq!(since(&[left.clone(), back], false), None);
        let restored = ended(Purpose::Restore, 2000, true, Some(told(None)));
        assert_eq!(since(&[left.clone(), restored], false), None);
        // Whoever does not know says nothing of it.
        let another = Told {
            knows_read_only: false,
            ..told(None)
        };
        assert_eq!(
            since(&[left, collect(2000, Some(another))], false),
            Some(1005)
        );
    }

    #[test]
    fn one_that_died_without_a_word_left_nobody_knows_what() {
        let died = |since| ended(Purpose::Collect, since, false, None);
        assert_eq!(since(&[died(1000)], true), Some(1000));
        assert_eq!(since(&[died(1000), died(2000)], true), Some(1000));
        assert_eq!(
            since(
                &[died(1000), ended(Purpose::Collect, 2000, true, None)],
                true
            ),
            None
        );
        assert_eq!(
            since(
                &[
                    died(1000),
                    ended(Purpose::Collect, 2000, false, Some(told(None)))
                ],
                true
            ),
            None
        );
        // Where nobody switches it, and of what only puts back.
        assert_eq!(since(&[died(1000)], false), None);
        assert_eq!(
            since(&[ended(Purpose::Restore, 1000, false, None)], true),
            None
        );
        // The Job's own configuration says that it does.
        let before = ended(Purpose::Collect, 500, true, Some(told(None)));
        assert_eq!(since(&[before.clone(), died(1000)], false), Some(1000));
        let knows = Switched::default().after(&before, false);
        assert!(knows.is_in_doubt(&died(1000), false));
        assert!(!knows.is_in_doubt(&before, false));
        assert!(!Switched::default().is_in_doubt(&died(1000), false));
    }

    #[test]
    fn an_older_job_that_did_what_it_was_to_do_left_it_writable() {
        let died = ended(Purpose::Collect, 1000, false, None);
        let after = |said| {
            let next = ended(Purpose::Collect, 2000, true, Some(said));
            since(&[died.clone(), next], true)
        };
        assert_eq!(after(older("planned", None)), None);
        assert_eq!(after(older("restored", None)), None);
        // Refused, it may not have had the lock; failed, it may be that it could not switch it back.
        assert_eq!(after(older("refused", None)), Some(1000));
        assert_eq!(after(older("failed", Some("a reason"))), Some(1000));
        assert_eq!(after(older("restored", Some("a reason"))), Some(1000));
    }
}
