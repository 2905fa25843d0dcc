//! What a source that is not complete is taken for: what is read of it now, and what it said before. Pure.
//!
//! One kind that may not be read any more hides nothing that another says now, and nothing that was known
//! is taken for gone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::running::RunningUse;
use super::{Class, ImageUse, PullSecrets, SourceState, TopOwner, User};
use crate::oci::platform::Platform;

/// Who names which image, as what. Whatever else is known of it may have changed.
type Key<'a> = (&'a TopOwner, &'a str, &'a str, Class);

fn key(user: &User) -> Key<'_> {
    (&user.owner, &user.container, &user.image, user.class)
}

/// What is read now, and while that is not all, what was known `last` too.
pub fn with_last(fresh: SourceState, last: &SourceState) -> SourceState {
    let is_known = last.complete_at.is_some() || !last.uses.is_empty();
    if fresh.incomplete.is_none() || !is_known {
        return fresh;
    }
    if fresh.uses.is_empty() {
        return SourceState {
            incomplete: fresh.incomplete,
            is_awaited: fresh.is_awaited,
            ..last.clone()
        };
    }
    let ran: HashMap<Key<'_>, &Arc<RunningUse>> = last
        .running
        .iter()
        .map(|ran| (key(&ran.user), ran))
        .collect();
    // Pods may be what cannot be read.
    let now = fresh.uses_told().map(|(it, told)| {
        let runs = told.filter(|told| !told.running.is_empty());
        let told = match (runs, ran.get(&key(&it.user))) {
            (None, Some(ran)) => Some(Arc::new(RunningUse {
                user: Arc::clone(&it.user),
                running: ran.running.clone(),
                ..told.map_or_else(|| RunningUse::clone(ran), |told| RunningUse::clone(told))
            })),
            _ => told.cloned(),
        };
        (it, told)
    });
    let mut all: Vec<(&ImageUse, Option<Arc<RunningUse>>)> = now.collect();
    let named: HashSet<Key<'_>> = fresh.uses.iter().map(|it| key(&it.user)).collect();
    let before = last.uses_told();
    let before = before.filter(|(it, _)| !named.contains(&key(&it.user)));
    all.extend(before.map(|(it, told)| (it, told.cloned())));
    // However far it is read: what is the same stands in the same order.
    all.sort_by(|(one, _), (other, _)| key(&one.user).cmp(&key(&other.user)));
    let uses: Arc<[ImageUse]> = all.iter().map(|(it, _)| ImageUse::clone(it)).collect();
    let running = all.into_iter().filter_map(|(_, told)| told).collect();
    let mut pull_secrets = PullSecrets::clone(&last.pull_secrets);
    let secrets = fresh.pull_secrets.iter();
    pull_secrets.extend(secrets.map(|(key, secret)| (key.clone(), secret.clone())));
    let marks = fresh.marks.with_last(&last.marks, &fresh.uses);
    SourceState {
        complete_at: last.complete_at,
        marks,
        uses,
        running,
        pull_secrets: Arc::new(pull_secrets),
        platforms: platforms(fresh.platforms.as_ref(), last.platforms.as_ref()),
        ..fresh
    }
}

fn platforms(
    fresh: Option<&Arc<[Platform]>>,
    last: Option<&Arc<[Platform]>>,
) -> Option<Arc<[Platform]>> {
    let known = fresh.into_iter().chain(last);
    let all: BTreeSet<&Platform> = known.flat_map(|some| some.iter()).collect();
    (!all.is_empty()).then(|| all.into_iter().cloned().collect())
}

/// The same where a cluster's workloads are of this class, since its role is another now.
pub fn of_class(state: SourceState, class: Class) -> SourceState {
    let is_other =
        |user: &User| matches!(user.class, Class::Runtime | Class::Failover) && user.class != class;
    if !state.uses.iter().any(|it| is_other(&it.user)) {
        return state;
    }
    let mut uses = Vec::with_capacity(state.uses.len());
    let mut running = Vec::with_capacity(state.running.len());
    for (it, told) in state.uses_told() {
        let user = if is_other(&it.user) {
            let user = User::clone(&it.user);
            Arc::new(User { class, ..user })
        } else {
            Arc::clone(&it.user)
        };
        running.extend(told.map(|told| {
            Arc::new(RunningUse {
                user: Arc::clone(&user),
                ..RunningUse::clone(told)
            })
        }));
        uses.push(ImageUse { user, ..it.clone() });
    }
    SourceState {
        uses: uses.into(),
        running: running.into(),
        ..state
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::inventory::marks::{Mark, Marked, Marks};
    use crate::inventory::references;
    use crate::inventory::running::{ImageId, Place, Running};
    use crate::oci::digest::Digest;

    fn state(text: &str, second: i64) -> SourceState {
        references::read_text("prod", text, Timestamp::from_second(second).unwrap())
    }

    fn incomplete(text: &str) -> SourceState {
        SourceState {
            incomplete: Some("replicasets may not be read".to_owned()),
            complete_at: None,
            ..state(text, 20)
        }
    }

    fn runs(state: &mut SourceState, at: usize) {
        let id = ImageId {
            digest: Digest::of(b"what runs"),
            place: Place::Named,
        };
        let by = "ReplicaSet/web-1".into();
        state.running = [Arc::new(RunningUse {
            user: Arc::clone(&state.uses[at].user),
            running: [Running { id, by }].into(),
            refusal: None,
            pulled: None,
        })]
        .into();
    }

    fn names(state: &SourceState) -> Vec<&str> {
        state.uses.iter().map(|it| &*it.user.image).collect()
    }

    #[test]
    fn what_is_read_now_is_there_beside_what_was_known() {
        let mut last = state("a:1\nb:1", 10);
        runs(&mut last, 1);
        let both = with_last(incomplete("c:1\n\nb:1"), &last);
        assert_eq!(names(&both), ["a:1", "b:1", "c:1"]);
        assert_eq!(both.complete_at, last.complete_at);
        assert!(both.incomplete.is_some());
        // As it is now; and that it runs was said before.
        let now = incomplete("c:1\n\nb:1");
        assert_eq!(both.uses[1], now.uses[1]);
        let told: Vec<_> = both.uses_told().map(|(_, told)| told.is_some()).collect();
        assert_eq!(told, [false, true, false]);
        // In whatever order it is read, it is the same.
        let again = with_last(incomplete("c:1\n\nb:1"), &both);
        assert_eq!((&again.uses, &again.running), (&both.uses, &both.running));
    }

    #[test]
    fn what_is_complete_or_was_never_known_is_itself() {
        let last = state("a:1\nb:1", 10);
        assert_eq!(names(&with_last(state("c:1", 20), &last)), ["c:1"]);
        let unread = SourceState::unread("prod");
        assert_eq!(names(&with_last(incomplete("c:1"), &unread)), ["c:1"]);
        let none = with_last(incomplete(""), &last);
        assert_eq!(none.uses, last.uses);
        assert_eq!(none.complete_at, last.complete_at);
    }

    #[test]
    fn a_role_is_that_of_now() {
        let mut state = state("a:1\nb:1", 10);
        let user = |class| {
            let user = User::clone(&state.uses[0].user);
            Arc::new(User { class, ..user })
        };
        let mut uses = state.uses.to_vec();
        uses[0].user = user(Class::Runtime);
        state.uses = uses.into();
        runs(&mut state, 0);
        let standby = of_class(state, Class::Failover);
        let classes: Vec<Class> = standby.uses.iter().map(|it| it.user.class).collect();
        assert_eq!(classes, [Class::Failover, Class::Listed]);
        assert_eq!(standby.running[0].user, standby.uses[0].user);
    }

    #[test]
    fn what_was_said_of_alerts_stands_too() {
        let mut last = state("a\nb\n", 10);
        let owner = Arc::new(TopOwner {
            namespace: "shop".into(),
            kind: "Deployment".into(),
            name: "web".into(),
            ..TopOwner::default()
        });
        let mark = Mark {
            ignore: Some("moving".into()),
            labels: Box::default(),
        };
        let marked = Marked {
            owner,
            mark: Arc::new(mark),
        };
        last.marks = Marks::new([marked].into(), Vec::new());
        assert_eq!(with_last(incomplete("a\n"), &last).marks, last.marks);
        assert_eq!(with_last(state("a\n", 20), &last).marks, Marks::default());
    }
}
