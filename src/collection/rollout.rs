//! Whether what runs a registry is as it was asked for, and since when its replicas run. Pure.

use crate::second::Second;

/// The clocks of two machines are taken to differ by less, in seconds.
const CLOCKS: i64 = 60;

/// What a Deployment or a StatefulSet says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of what is wanted.
    pub generation: i64,
    /// Up to which its controller has looked.
    pub observed: i64,
    pub wanted: i32,
    pub total: i32,
    pub updated: i32,
    pub available: i32,
    /// Why it goes no further.
    pub failed: Option<String>,
}

/// One pod of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    pub name: String,
    /// It is on its way out, and may still answer.
    pub is_ending: bool,
    /// Whether its container is as it was asked for.
    pub is_as_wanted: bool,
    /// When its container began to run, by the clock of its machine; `None` while it does not.
    pub started: Option<Second>,
    /// When pullproof had it restarted, by our own clock.
    pub restarted: Option<Second>,
}

impl Replica {
    /// It began to run after this, whatever its machine's clock says.
    pub fn began_after(&self) -> Option<Second> {
        let started = self.started?;
        let by_its_clock = Second::new(started.get().saturating_sub(CLOCKS));
        Some(
            self.restarted
                .map_or(by_its_clock, |ours| ours.max(by_its_clock)),
        )
    }
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    Done,
    /// What it waits for.
    Waits(String),
    /// Why it will not be.
    Failed(String),
}

/// Every replica is as it was asked for, and nothing else is left of it.
pub fn judge(progress: &Progress, replicas: &[Replica]) -> Rollout {
    let Progress {
        generation,
        observed,
        wanted,
        total,
        updated,
        available,
        failed,
    } = progress;
    if observed < generation {
        return Rollout::Waits("its controller has not looked at it yet".to_owned());
    }
    if let Some(problem) = failed {
        return Rollout::Failed(problem.clone());
    }
    if *wanted < 1 {
        return Rollout::Failed("it has no replicas".to_owned());
    }
    for (have, what) in [(updated, "are updated"), (available, "are available")] {
        if have < wanted {
            return Rollout::Waits(format!("{have} of {wanted} replicas {what}"));
        }
    }
    if total > updated {
        return Rollout::Waits(format!("{} old replicas have not ended", total - updated));
    }
    // Its counts leave out those that are ending, and those may still write.
    if let Some(old) = replicas.iter().find(|it| it.is_ending || !it.is_as_wanted) {
        return Rollout::Waits(format!("the pod {} has not ended", old.name));
    }
    let running = replicas.iter().filter(|it| it.started.is_some()).count();
    if i32::try_from(running).unwrap_or(i32::MAX) < *wanted {
        return Rollout::Waits(format!("{running} of {wanted} pods run"));
    }
    Rollout::Done
}

/// All of them began to run after this; `None` where there are none, or one cannot be told.
pub fn all_began_after(replicas: &[Replica]) -> Option<Second> {
    let began = replicas.iter().map(Replica::began_after);
    began.min().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Progress {
        Progress {
            generation: 4,
            observed: 4,
            wanted: 2,
            total: 2,
            updated: 2,
            available: 2,
            failed: None,
        }
    }

    fn replica(name: &str) -> Replica {
        Replica {
            name: name.to_owned(),
            is_ending: false,
            is_as_wanted: true,
            started: Some(Second::new(1000)),
            restarted: None,
        }
    }

    #[test]
    fn it_is_done_when_everything_says_so_and_waits_for_anything_that_does_not() {
        type Change = fn(&mut Progress);
        let pods = [replica("a"), replica("b")];
        assert_eq!(judge(&done(), &pods), Rollout::Done);
        let change: [(Change, &str); 5] = [
            (|it| it.observed = 3, "its controller has not looked"),
            (|it| it.updated = 1, "1 of 2 replicas are updated"),
            (|it| it.available = 0, "0 of 2 replicas are available"),
            (|it| it.total = 3, "1 old replicas have not ended"),
            (|it| it.wanted = 3, "2 of 3 replicas are updated"),
        ];
        for (change, expected) in change {
            let mut progress = done();
            change(&mut progress);
            let Rollout::Waits(told) = judge(&progress, &pods) else {
                panic!("{progress:?}");
            };
            assert!(told.starts_with(expected), "{told}");
        }
        for change in [
            (|it: &mut Replica| it.is_ending = true) as fn(&mut Replica),
            |it| it.is_as_wanted = false,
            |it| it.started = None,
        ] {
            let mut pods = pods.clone();
            change(&mut pods[1]);
            assert!(
                matches!(judge(&done(), &pods), Rollout::Waits(_)),
                "{pods:?}"
            );
        }
        assert!(matches!(judge(&done(), &pods[..1]), Rollout::Waits(_)));
        for failed in [
            Progress {
                failed: Some("no image".to_owned()),
                ..done()
            },
            Progress {
                wanted: 0,
                ..Progress::default()
            },
        ] {
            assert!(matches!(judge(&failed, &pods), Rollout::Failed(_)));
        }
    }

    #[test]
    fn a_replica_counts_from_its_start_and_clocks_may_differ() {
        let own = |started: Option<i64>, restarted: Option<i64>| Replica {
            started: started.map(Second::new),
            restarted: restarted.map(Second::new),
            ..replica("a")
        };
        assert_eq!(own(Some(1000), None).began_after(), Some(Second::new(940)));
        // What we had restarted ourselves began after we said so.
        assert_eq!(
            own(Some(1000), Some(990)).began_after(),
            Some(Second::new(990))
        );
        // A container that was restarted later began later.
        assert_eq!(
            own(Some(9000), Some(990)).began_after(),
            Some(Second::new(8940))
        );
        assert_eq!(own(None, Some(990)).began_after(), None);
        let all = [own(Some(1000), None), own(Some(2000), None)];
        assert_eq!(all_began_after(&all), Some(Second::new(940)));
        assert_eq!(all_began_after(&[]), None);
        assert_eq!(
            all_began_after(&[own(Some(1000), None), own(None, None)]),
            None
        );
    }
}
