//! Pulls what has to be there, all the time, and notes since when and until when something was not.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::driver::Driver;
use super::site::Site;
use super::world::{Target, World};
use crate::support::pull::{Failed, Puller};

/// So many pulls until what is away is looked at again.
const PART: usize = 8;

/// Something that was needed and could not be pulled.
#[derive(Debug, Clone)]
pub(super) struct Outage {
    target: Target,
    said: String,
    /// The first pull that failed had ended then.
    pub(super) since: Instant,
    /// The last pull that failed began then.
    pub(super) until: Instant,
    pulls: usize,
    has_healed: bool,
}

impl Outage {
    pub(super) fn told(&self, driver: &Driver) -> String {
        let Self {
            target,
            said,
            since,
            until,
            pulls,
            has_healed,
        } = self;
        let lasted = until.saturating_duration_since(*since);
        let healed = if *has_healed {
            "healed"
        } else {
            "not needed any more, or not healed"
        };
        let when = driver.when(*since);
        format!(
            "away: {target} for {lasted:?} ({pulls} pulls failed, {healed}), since {when}: {said}"
        )
    }
}

/// Pulls until the world ends. What was away, in the order in which it was noticed.
pub(super) async fn probe(site: &Site, world: &World) -> Vec<Outage> {
    let puller = Puller::new();
    let mut away: BTreeMap<Target, Outage> = BTreeMap::new();
    let mut ended = Vec::new();
    let mut round = 0;
    while world.is_alive() {
        round += 1;
        let needed: Vec<Target> = world.needed().into_keys().collect();
        for part in needed.chunks(PART) {
            let again: Vec<Target> = away.keys().cloned().collect();
            for target in again.iter().chain(part) {
                let url = &site.urls()[round % site.urls().len()];
                look(&puller, world, url, target, &mut away, &mut ended).await;
            }
            tokio::task::yield_now().await;
        }
    }
    ended.extend(away.into_values());
    ended
}

async fn look(
    puller: &Puller,
    world: &World,
    url: &str,
    target: &Target,
    away: &mut BTreeMap<Target, Outage>,
    ended: &mut Vec<Outage>,
) {
    let began = Instant::now();
    let pulled = puller
        .whole(url, &target.repository, &target.reference)
        .await;
    let now = Instant::now();
    world.counts.pulls.fetch_add(1, Ordering::Relaxed);
    // Somebody deleted it meanwhile, or does not use it any more.
    if !world.needed().contains_key(target) {
        ended.extend(away.remove(target));
        return;
    }
    match pulled {
        Ok(_) => {
            if let Some(outage) = away.remove(target) {
                ended.push(Outage {
                    has_healed: true,
                    ..outage
                });
            }
        }
        // A registry that is started again says nothing of what it has.
        Err(Failed::Unanswered(_)) => {}
        Err(Failed::Missing(said)) => {
            let outage = away.entry(target.clone()).or_insert(Outage {
                target: target.clone(),
                said,
                since: now,
                until: began,
                pulls: 0,
                has_healed: false,
            });
            outage.until = began;
            outage.pulls += 1;
        }
    }
}

/// What was acknowledged and cannot be pulled from some replica, or is something else.
pub(super) async fn lost(site: &Site, world: &World) -> Vec<String> {
    let puller = Puller::new();
    let mut lost = Vec::new();
    for (target, digest) in world.needed() {
        for url in site.urls() {
            match puller
                .whole(url, &target.repository, &target.reference)
                .await
            {
                Ok(found) if digest.as_ref().is_none_or(|digest| *digest == found) => {}
                other => lost.push(format!("{target} ({digest:?}): {other:?}")),
            }
        }
    }
    lost
}
