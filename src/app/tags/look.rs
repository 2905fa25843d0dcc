//! One repository whose tags are asked for: the list, and what each of them names.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tracing::{debug, warn};

use super::{Budget, Errand, Repository};
use crate::clock::Clock;
use crate::drift::tags::{Named, Pass, Wanted};
use crate::oci::digest::Digest;
use crate::registry::client::Client;
use crate::registry::client::tags::{Tagged, Untold};
use crate::verify::finding::Code;
use crate::verify::node::Shape;
use crate::verify::table::Table;
use crate::verify::target::{AuthId, Cadence, STALE_AFTER_INTERVALS};

/// How many are looked at at once: whoever pulls goes first.
const LOOKS_AT_ONCE: usize = 8;

/// One repository that is asked now.
pub(super) struct Look<'a> {
    pub(super) client: &'a Client,
    pub(super) table: &'a Table,
    pub(super) cadence: Cadence,
    pub(super) auth: AuthId,
    pub(super) name: &'a Arc<str>,
    pub(super) budget: Budget,
    pub(super) room: usize,
}

impl Look<'_> {
    /// Goes on with the pass that is under way, or begins one if it is time. False if the registry is not
    /// to be asked any more for now.
    pub(super) async fn proceed(
        &self,
        repository: &mut Repository,
        errand: Errand,
        clock: &dyn Clock,
    ) -> bool {
        let now = clock.now();
        let mut pass = match repository.pass.take() {
            Some(mut pass) => {
                pass.resume();
                pass
            }
            None if repository.due.is_some_and(|due| due > now) => return true,
            None => self.begin(errand.wanted, errand.resolved),
        };
        let after = |intervals: i32| {
            let later = now.checked_add(self.cadence.blob_interval * intervals);
            later.unwrap_or(Timestamp::MAX)
        };
        repository.due = Some(after(1));
        let mut looks = self.budget.looks;
        let mut is_list_due = !pass.is_listed() && !pass.is_over();
        while !pass.is_over() || is_list_due {
            if is_list_due {
                let listed = match self.list().await {
                    Ok(listed) => listed,
                    Err(untold) => {
                        debug!(repository = %self.name, code = %untold.code, "what its tags name is not known: {}", untold.message);
                        // Whoever cannot tell does not take back what was told.
                        return !ends_all(untold.code);
                    }
                };
                repository.last.retain(|tag, _| listed.contains(tag));
                let last = &repository.last;
                let named = last.iter();
                let named = named.filter(|(_, tagged)| pass.wanted().has(&tagged.digest));
                let likely: BTreeSet<Arc<str>> = named
                    .map(|(tag, _)| Arc::clone(tag))
                    .chain(errand.beside.iter().cloned())
                    .collect();
                pass.list(listed, |tag| match tag {
                    tag if likely.contains(tag) => 0,
                    tag if !last.contains_key(tag) => 1,
                    _ => 2,
                });
            }
            let is_answered = self
                .look_at_tags(&mut pass, &mut repository.last, &mut looks)
                .await;
            if !pass.is_over() {
                repository.pass = Some(pass);
                return is_answered;
            }
            is_list_due = pass.wants_list_again();
        }
        let answer = pass.answer(after(STALE_AFTER_INTERVALS).into());
        repository.answer = Some(Arc::new(answer));
        true
    }

    /// With what the round has found out.
    fn begin(&self, wanted: Wanted, resolved: HashMap<Arc<str>, Digest>) -> Pass {
        let mut pass = Pass::begin(wanted);
        for (tag, digest) in resolved {
            if let Some(below) = below(self.table, digest) {
                let below = &below;
                pass.record(tag, Named::Manifest { digest, below });
            }
        }
        pass
    }

    async fn list(&self) -> Result<BTreeSet<Arc<str>>, Untold> {
        let tags = self.client.tags(self.auth, self.name).await?;
        if tags.len() > self.room {
            let count = tags.len();
            warn!(repository = %self.name, tags = count, "it has too many tags to be asked what they name");
            let message = format!("{count} tags are too many").into();
            return Err(Untold {
                code: Code::Unsupported,
                message,
            });
        }
        Ok(tags)
    }

    /// Looks at tags until there is enough, or the budget is spent. False if the registry is not to be
    /// asked any more for now.
    async fn look_at_tags(
        &self,
        pass: &mut Pass,
        last: &mut HashMap<Arc<str>, Tagged>,
        looks: &mut usize,
    ) -> bool {
        let has_pinned = !pass.wanted().pinned.is_empty();
        let mut is_answered = true;
        let mut asked = FuturesUnordered::new();
        loop {
            while is_answered
                && *looks > 0
                && asked.len() < LOOKS_AT_ONCE
                && !self.budget.is_spent()
                && let Some(tag) = pass.next_tag()
            {
                *looks -= 1;
                let before = last.get(&tag).copied();
                asked.push(self.look_at(tag, before, has_pinned));
            }
            let Some((tag, told)) = asked.next().await else {
                return is_answered;
            };
            match told {
                Ok(Some((tagged, below))) => {
                    last.insert(Arc::clone(&tag), tagged);
                    let (digest, below) = (tagged.digest, below.as_slice());
                    pass.record(tag, Named::Manifest { digest, below });
                }
                Ok(None) => {
                    last.remove(&tag);
                    pass.record(tag, Named::Nothing);
                }
                // It stays among those that were asked for, and is asked for again.
                Err(untold) if ends_all(untold.code) => is_answered = false,
                Err(untold) => {
                    debug!(repository = %self.name, %tag, code = %untold.code, "what it names is not known: {}", untold.message);
                    pass.record(tag, Named::Unknown);
                }
            }
        }
    }

    async fn look_at(
        &self,
        tag: Arc<str>,
        before: Option<Tagged>,
        has_pinned: bool,
    ) -> (Arc<str>, Result<Option<(Tagged, Vec<Digest>)>, Untold>) {
        let (client, auth, name) = (self.client, self.auth, self.name);
        let told = async {
            let tagged = client.tagged_manifest(auth, name, &tag, before).await?;
            let Some(tagged) = tagged else {
                return Ok(None);
            };
            let below = match below(self.table, tagged.digest) {
                // What is pinned may be below it.
                None if has_pinned && tagged.may_be_index => {
                    client.below(auth, name, tagged.digest).await?
                }
                below => below.unwrap_or_default(),
            };
            Ok(Some((tagged, below)))
        };
        let told = told.await;
        (tag, told)
    }
}

/// Whether there is no use in asking this registry for anything else now.
fn ends_all(code: Code) -> bool {
    matches!(
        code,
        Code::Unreachable | Code::Timeout | Code::Tls | Code::RateLimited
    )
}

/// All that is below a manifest; `None` where a part of it was not read.
fn below(table: &Table, root: Digest) -> Option<Vec<Digest>> {
    let mut below = BTreeSet::new();
    let mut level = vec![root];
    while let Some(digest) = level.pop() {
        if let Shape::Index(children) = table.node(&digest)?.shape {
            let new = children.iter().filter(|child| below.insert(child.digest));
            let manifests = new.filter(|child| !child.is_blob);
            level.extend(manifests.map(|child| child.digest));
        }
    }
    Some(below.into_iter().collect())
}
