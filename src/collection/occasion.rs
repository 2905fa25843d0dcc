//! When a daemon that watches a storage begins something by itself. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::gc::window::opening::{self, Opening, OpeningId};

/// Nothing is begun so shortly before a window ends.
pub const MARGIN: SignedDuration = SignedDuration::from_secs(30);
/// What was left open is tended so often.
const TEND_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// A gate that was closed is tried again, in the same opening, so often.
const TRY_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// What is known of a storage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing<'a> {
    /// Whether anything is to be taken at all.
    pub collects: bool,
    pub open: Option<&'a Opening>,
    /// The opening of the last run that passed the gate.
    pub last: Option<&'a OpeningId>,
    /// When the gate was tried last, in whatever opening.
    pub tried_at: Option<Timestamp>,
    /// An image that is kept got worse while something was in quarantine.
    pub is_worse: bool,
    /// When everything was to go back for it last.
    pub returned_at: Option<Timestamp>,
    /// A session has left something open: to be put back, proven, settled or looked for.
    pub is_open: bool,
    /// When a plan asked something back, since the last session began.
    pub recalled_at: Option<Timestamp>,
    /// When something goes back by itself, since the bucket would purge it.
    pub returns_at: Option<Timestamp>,
    /// When it was tended last; `None` before the first session.
    pub tended_at: Option<Timestamp>,
}

/// What is to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occasion {
    /// Everything in quarantine goes back.
    Return,
    /// A run, which must have stopped by then.
    Run(OpeningId, Timestamp),
    /// Whatever is open is brought to its end; nothing is taken or purged.
    Tend,
}

/// What comes first; `None` while there is nothing to do.
pub fn next(standing: &Standing<'_>, now: Timestamp) -> Option<Occasion> {
    let since = |at: Option<Timestamp>| at.map(|at| now.duration_since(at));
    // A clock that was set back lets nobody wait for ever.
    let is_due = |at: Option<Timestamp>, every: SignedDuration| {
        since(at).is_none_or(|passed| passed >= every || passed.is_negative())
    };
    // What could not be put back is tried again after a while.
    if standing.is_worse && is_due(standing.returned_at, TEND_EVERY) {
        return Some(Occasion::Return);
    }
    // Whatever a daemon that died left open comes before anything new, and so does what a push needs.
    if standing.tended_at.is_none() || standing.recalled_at.is_some() {
        return Some(Occasion::Tend);
    }
    if let Some(open) = standing.open
        && standing.collects
        && opening::may_start(open, standing.last, now)
        && is_due(standing.tried_at, TRY_EVERY)
    {
        let until = opening::stop_by(open, MARGIN);
        if now < until {
            return Some(Occasion::Run(open.id(), until));
        }
    }
    let returns = standing.returns_at.is_some_and(|at| at <= now);
    let is_open = standing.is_open || returns;
    (is_open && is_due(standing.tended_at, TEND_EVERY)).then_some(Occasion::Tend)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn open() -> Opening {
        Opening {
            windows: vec!["night".to_owned()],
            start: at(1000),
            end: at(5000),
        }
    }

    #[test]
    fn one_run_an_opening_that_passed_the_gate() {
        let open = open();
        let standing = Standing {
            collects: true,
            open: Some(&open),
            tended_at: Some(at(900)),
            ..Standing::default()
        };
        let run = Some(Occasion::Run(open.id(), at(4970)));
        assert_eq!(next(&standing, at(1000)), run);
        // It was refused a moment ago, and is tried again.
        let tried = Standing {
            tried_at: Some(at(1000)),
            ..standing
        };
        assert_eq!(next(&tried, at(1299)), None);
        assert_eq!(next(&tried, at(1300)), run);
        // The clock was set back.
        assert_eq!(
            next(
                &Standing {
                    tried_at: Some(at(4000)),
                    ..standing
                },
                at(1001)
            ),
            run
        );
        let last = open.id();
        let had = Standing {
            last: Some(&last),
            ..standing
        };
        assert_eq!(next(&had, at(4000)), None);
        // Too late, or nothing is to be taken.
        assert_eq!(next(&standing, at(4970)), None);
        assert_eq!(
            next(
                &Standing {
                    collects: false,
                    ..standing
                },
                at(1000)
            ),
            None
        );
        assert_eq!(
            next(
                &Standing {
                    open: None,
                    ..standing
                },
                at(1000)
            ),
            None
        );
    }

    #[test]
    fn what_got_worse_comes_first_and_what_is_open_before_anything_new() {
        let open = open();
        let standing = Standing {
            collects: true,
            open: Some(&open),
            ..Standing::default()
        };
        assert_eq!(next(&standing, at(1000)), Some(Occasion::Tend));
        let worse = Standing {
            is_worse: true,
            ..standing
        };
        assert_eq!(next(&worse, at(1000)), Some(Occasion::Return));
        let returned = Standing {
            returned_at: Some(at(1000)),
            ..worse
        };
        assert_eq!(next(&returned, at(1059)), Some(Occasion::Tend));
        assert_eq!(next(&returned, at(1060)), Some(Occasion::Return));
        let closed = Standing {
            open: None,
            is_open: true,
            tended_at: Some(at(900)),
            ..standing
        };
        assert_eq!(next(&closed, at(959)), None);
        let recalled = Standing {
            recalled_at: Some(at(900)),
            ..closed
        };
        assert_eq!(next(&recalled, at(901)), Some(Occasion::Tend));
        assert_eq!(next(&closed, at(960)), Some(Occasion::Tend));
        // What the bucket would purge is no business of a window's.
        let expiring = Standing {
            is_open: false,
            returns_at: Some(at(2000)),
            ..closed
        };
        assert_eq!(next(&expiring, at(1999)), None);
        assert_eq!(next(&expiring, at(2000)), Some(Occasion::Tend));
        assert_eq!(
            next(
                &Standing {
                    is_open: false,
                    ..closed
                },
                at(9999)
            ),
            None
        );
    }
}
