//! Without versions: an item is copied below the run's quarantine, the copy proven, and then the item removed.
//!
//! Both there is what a crash in between leaves, on the way out and on the way back. The copy is then never
//! thrown away by whoever finds it, since the one who made it may still be about to remove the other: it is
//! held, and goes back or is purged as all that is held.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt as _, stream};

use super::Vault;
use super::versions::is_planned;
use crate::collection::item::{Item, RunId};
use crate::collection::run::Outcome;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::storage::s3::{CopyBounds, Fence, Removed};
use crate::vault::quarantine;

impl Vault {
    pub(super) async fn move_away(
        &self,
        run: RunId,
        items: &[Item],
        is_allowed: impl Fn() -> bool + Sync,
    ) -> Vec<io::Result<Outcome>> {
        // After the first that fails nothing more is removed.
        let has_failed = AtomicBool::new(false);
        let is_allowed = || !has_failed.load(Ordering::Relaxed) && is_allowed();
        let act = async |item: &Item| {
            if has_failed.load(Ordering::Relaxed) {
                return Ok(Outcome::Unknown);
            }
            let moved = self.move_one(run, item, Fence(&is_allowed)).await;
            has_failed.fetch_or(moved.is_err(), Ordering::Relaxed);
            moved
        };
        let all = stream::iter(items).map(&act);
        all.buffered(self.s3.max_concurrency()).collect().await
    }

    async fn move_one(&self, run: RunId, item: &Item, fence: Fence<'_>) -> io::Result<Outcome> {
        let (path, held) = (item.path(), held(run, item));
        match self.s3.current(&path).await? {
            None => return Ok(Outcome::Gone),
            Some(now) if !is_planned(item, &now) => return Ok(Outcome::Live),
            Some(_) => {}
        }
        let copied = match self.s3.copy(&path, &held, CopyBounds::default()).await {
            Ok(copied) => copied,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Gone),
            Err(error) => return Err(error),
        };
        let (Some(etag), Some(own)) = (&copied.from.etag, &copied.to.etag) else {
            let problem = format!("{path} has no ETag to remove it by");
            return Err(io::Error::other(problem));
        };
        if is_planned(item, &copied.from) {
            match self.s3.remove(&path, etag, fence).await? {
                Removed::Now | Removed::Absent => return Ok(Outcome::Held),
                Removed::Changed => {}
            }
        }
        // Somebody pushed it again since. The copy is nobody's but ours.
        self.s3.remove(&held, own, fence).await?;
        Ok(Outcome::Live)
    }

    pub(super) async fn move_back(&self, run: RunId, item: &Item) -> io::Result<Outcome> {
        let (path, held) = (item.path(), held(run, item));
        let copied = match self.s3.copy(&held, &path, CopyBounds::default()).await {
            Ok(copied) => copied,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.look_at_copy(run, item).await;
            }
            // Both stay: the one that the registry serves, and the one for whoever looks into it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Outcome::Live),
            Err(error) => return Err(error),
        };
        if let Some(etag) = &copied.from.etag {
            self.s3.remove(&held, etag, Fence::NONE).await?;
        }
        Ok(Outcome::Live)
    }

    pub(super) async fn purge_copy(
        &self,
        run: RunId,
        item: &Item,
        fence: Fence<'_>,
    ) -> io::Result<Outcome> {
        if !self.rules.purges_without_versions {
            let problem =
                "what was copied is not purged without `gc.unsafe: [purgeWithoutVersions]`";
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        }
        let held = held(run, item);
        let Some(now) = self.s3.current(&held).await? else {
            return Ok(Outcome::Gone);
        };
        let Some(etag) = &now.etag else {
            return Err(io::Error::other(format!(
                "{held} has no ETag to remove it by"
            )));
        };
        match self.s3.remove(&held, etag, fence).await? {
            Removed::Now | Removed::Absent => Ok(Outcome::Gone),
            Removed::Changed => Err(io::Error::other(format!(
                "{held} is another object than a moment ago: somebody writes there"
            ))),
        }
    }

    pub(super) async fn look_at_copy(&self, run: RunId, item: &Item) -> io::Result<Outcome> {
        let held = self.s3.current(&held(run, item)).await?;
        let live = self.s3.current(&item.path()).await?;
        Ok(match (live, held) {
            (None, None) => Outcome::Gone,
            (Some(_), None) => Outcome::Live,
            (_, Some(_)) => Outcome::Held,
        })
    }

    pub(super) async fn read_copy(&self, run: RunId, item: &Item) -> io::Result<Vec<u8>> {
        let held = held(run, item);
        let found = self.s3.get(&held, MANIFEST_BYTES_MAX as u64).await?;
        let gone = || io::Error::new(io::ErrorKind::NotFound, format!("{held} is gone"));
        found.map(|object| object.bytes).ok_or_else(gone)
    }
}

/// Where an item of a run is held.
pub(super) fn held(run: RunId, item: &Item) -> String {
    format!("{}/{}", quarantine(run), item.path())
}
