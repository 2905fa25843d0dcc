//! What a bucket would purge by its own rule goes back before that, unless somebody has looked whether it is
//! needed again. Pure.
//!
//! Where pullproof purges, a listing that is young enough comes right before it. A bucket asks nobody: a run that
//! was not marked again two days before its rule reaches it is put back whole.

use super::item::RunId;
use super::run::Run;
use crate::second::Second;

/// So long before the bucket would purge a run it goes back, in seconds.
pub const BEFORE: i64 = 2 * 24 * 60 * 60;

/// How long things are held. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The bucket purges what was taken so long ago.
    pub purged_after: i64,
    /// As in the machine's rules: whoever looks earlier has looked too early.
    pub quarantine_for: i64,
    pub longest_request: i64,
}

/// When a run goes back by itself; `None` where nothing of it is in quarantine, or it was marked again.
/// `marked_at` is when the last listing began that a collection went by.
pub fn returns_at(id: RunId, run: &Run, marked_at: Option<Second>, terms: Terms) -> Option<Second> {
    let is_marked = marked_at
        .is_some_and(|at| run.may_be_judged_at(at, terms.quarantine_for, terms.longest_request));
    if is_marked || !run.holds() {
        return None;
    }
    // Nothing of it was taken before it began.
    let expires = id.began.get().saturating_add(terms.purged_after);
    Some(Second::new(expires.saturating_sub(BEFORE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::item::ItemId;
    use crate::collection::run::{Entry, Outcome, Proof};

    const DAY: i64 = 24 * 60 * 60;

    const TERMS: Terms = Terms {
        purged_after: 30 * DAY,
        quarantine_for: 6 * DAY,
        longest_request: 900,
    };

    fn id() -> RunId {
        RunId {
            began: Second::new(1000),
            epoch: 1,
        }
    }

    fn run(entries: &[(Entry, i64)]) -> Run {
        let mut run = Run::default();
        for (entry, at) in entries {
            run.apply(entry, Second::new(*at));
        }
        run
    }

    fn taken() -> Vec<(Entry, i64)> {
        let item = ItemId(0);
        vec![
            (Entry::Began, 1000),
            (Entry::Intent(vec![item]), 1010),
            (Entry::Found(vec![(item, Outcome::Held)]), 1020),
            (Entry::Proven(Proof::Clean), 1030),
            (Entry::Settled, 2000),
        ]
    }

    fn returns(run: &Run, marked_at: Option<i64>) -> Option<i64> {
        let marked_at = marked_at.map(Second::new);
        returns_at(id(), run, marked_at, TERMS).map(Second::get)
    }

    #[test]
    fn what_nobody_marked_again_goes_back_two_days_before_the_rule() {
        let run = run(&taken());
        let due = Some(1000 + 28 * DAY);
        assert_eq!(returns(&run, None), due);
        // The listing from which it was taken, and every one within the hold, says nothing of what came later.
        for early in [900, 1500, 1020 + 6 * DAY - 1] {
            assert_eq!(returns(&run, Some(early)), due, "{early}");
        }
        assert_eq!(returns(&run, Some(1020 + 6 * DAY)), None);
    }

    #[test]
    fn what_was_not_proven_or_did_not_settle_was_not_marked() {
        for left_out in [3, 4] {
            let mut entries = taken();
            entries.remove(left_out);
            assert_eq!(
                returns(&run(&entries), Some(20 * DAY)),
                Some(1000 + 28 * DAY)
            );
        }
        // A push that began before it settled may end later.
        let mut entries = taken();
        entries[4].1 = 20 * DAY;
        assert_eq!(
            returns(&run(&entries), Some(20 * DAY + 900)),
            Some(1000 + 28 * DAY)
        );
        assert_eq!(returns(&run(&entries), Some(20 * DAY + 901)), None);
    }

    #[test]
    fn of_which_nothing_is_held_nothing_goes_back() {
        let mut entries = taken();
        for outcome in [Outcome::Live, Outcome::Gone] {
            entries.push((Entry::Found(vec![(ItemId(0), outcome)]), 3000));
            assert_eq!(returns(&run(&entries), None), None);
        }
    }
}
