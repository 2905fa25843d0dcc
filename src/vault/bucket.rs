//! In a bucket: with versions a delete marker above exactly the version that was planned, without them a proven
//! copy and then a deletion.
//!
//! What an item is tells how it was taken: one with a version was marked, one without was copied. So it is found
//! again whatever the bucket's versioning has become since.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};

use futures::{StreamExt as _, stream};
use tokio::runtime::Handle;

use super::Moved;
use crate::collection::item::{Item, RunId};
use crate::collection::run::Outcome;
use crate::storage::s3::{Fence, S3, Versioning};

pub(super) use self::lock::Lock;

mod copies;
mod drill;
mod files;
mod journals;
mod lock;
mod refusals;
mod versions;

/// What an operator said of how a bucket is purged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// The bucket's own rule purges: no version is ever deleted from here, and none needs to be allowed.
    pub is_purged_by_lifecycle: bool,
    /// What was copied may be purged, although then nothing brings it back.
    pub purges_without_versions: bool,
}

/// A registry's `rootdirectory` in a bucket.
#[derive(Debug)]
pub struct Vault {
    s3: Arc<S3>,
    runtime: Handle,
    rules: Rules,
    versioning: OnceLock<Versioning>,
}

impl Vault {
    pub fn new(s3: S3, runtime: Handle, rules: Rules) -> Self {
        Self {
            s3: Arc::new(s3),
            runtime,
            rules,
            versioning: OnceLock::new(),
        }
    }

    fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    async fn versioning(&self) -> io::Result<Versioning> {
        if let Some(known) = self.versioning.get() {
            return Ok(*known);
        }
        let asked = self.s3.versioning().await?;
        Ok(*self.versioning.get_or_init(|| asked))
    }

    async fn has_versions(&self) -> io::Result<bool> {
        Ok(self.versioning().await? == Versioning::Enabled)
    }

    pub fn name_versions(&self, items: &mut [Item]) -> io::Result<()> {
        self.block(async {
            if !self.has_versions().await? {
                return Ok(());
            }
            let all = stream::iter(items.iter()).map(|item| self.version_of(item));
            let all: Vec<_> = all.buffered(self.s3.max_concurrency()).collect().await;
            for (item, version) in items.iter_mut().zip(all) {
                item.version = version?;
            }
            Ok(())
        })
    }

    pub fn take(&self, lock: &Lock, run: RunId, items: &[Item]) -> Moved {
        self.block(async {
            let has_versions = match self.has_versions().await {
                Ok(has_versions) => has_versions,
                Err(error) => return Moving::default().finish(items.len(), Some(error)),
            };
            self.until_one_fails(items, async |group: &[Item]| {
                if has_versions {
                    self.mark(group, lock.fence()).await
                } else {
                    self.move_away(run, group, lock.fence()).await
                }
            })
            .await
        })
    }

    pub fn put_back(&self, run: RunId, items: &[Item]) -> Moved {
        self.block(async {
            let mut moving = Moving::default();
            for group in groups(items) {
                let put_back = async |item: &Item| match self.version(item) {
                    Some(version) => self.unmark(item, &version).await,
                    None => self.move_back(run, item).await,
                };
                moving.add(self.each(group, put_back).await);
            }
            moving.finish(items.len(), None)
        })
    }

    pub fn purge(&self, lock: &Lock, run: RunId, items: &[Item]) -> Moved {
        self.block(async {
            self.until_one_fails(items, async |group: &[Item]| {
                let fence = lock.fence();
                let purge = async |item: &Item| match self.version(item) {
                    Some(version) => self.purge_version(item, &version, Fence(&fence)).await,
                    None => self.purge_copy(run, item, Fence(&fence)).await,
                };
                self.each(group, purge).await
            })
            .await
        })
    }

    pub fn look(&self, run: RunId, items: &[Item]) -> Moved {
        self.block(async {
            let mut moving = Moving::default();
            let look = async |item: &Item| match self.version(item) {
                Some(version) => self.look_at_version(item, &version).await,
                None => self.look_at_copy(run, item).await,
            };
            moving.add(self.each(items, look).await);
            moving.finish(items.len(), None)
        })
    }

    pub fn read_held(&self, items: &[(RunId, &Item)]) -> Vec<io::Result<Vec<u8>>> {
        self.block(async {
            let read = async |(run, item): &(RunId, &Item)| match self.version(item) {
                Some(version) => self.read_version(item, &version).await,
                None => self.read_copy(*run, item).await,
            };
            let all = stream::iter(items).map(read);
            all.buffered(self.s3.max_concurrency()).collect().await
        })
    }

    /// Does it to each, several at a time; the results are in the order of the items.
    async fn each(
        &self,
        items: &[Item],
        act: impl AsyncFn(&Item) -> io::Result<Outcome>,
    ) -> Vec<io::Result<Outcome>> {
        let all = stream::iter(items).map(|item| act(item));
        all.buffered(self.s3.max_concurrency()).collect().await
    }

    /// Does it to what is of one class, and to the next class after that, until something fails.
    async fn until_one_fails(
        &self,
        items: &[Item],
        act: impl AsyncFn(&[Item]) -> Vec<io::Result<Outcome>>,
    ) -> Moved {
        let mut moving = Moving::default();
        for group in groups(items) {
            if moving.failed.is_some() {
                break;
            }
            moving.add(act(group).await);
        }
        moving.finish(items.len(), None)
    }
}

/// What refers to something is of another class than that: of one class all may go at once.
fn groups(items: &[Item]) -> impl Iterator<Item = &[Item]> {
    items.chunk_by(|one, other| one.class == other.class)
}

/// A batch that is being moved.
#[derive(Debug, Default)]
struct Moving {
    outcomes: Vec<Outcome>,
    failed: Option<io::Error>,
}

impl Moving {
    fn add(&mut self, results: Vec<io::Result<Outcome>>) {
        for result in results {
            let outcome = result.unwrap_or_else(|error| {
                self.failed.get_or_insert(error);
                Outcome::Unknown
            });
            self.outcomes.push(outcome);
        }
    }

    fn finish(mut self, count: usize, failed: Option<io::Error>) -> Moved {
        self.outcomes.resize(count, Outcome::Unknown);
        Moved {
            outcomes: self.outcomes,
            failed: self.failed.or(failed),
        }
    }
}
