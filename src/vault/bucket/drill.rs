//! A canary of our own goes the way of all that is taken, and comes back: what a bucket, a server or a right does
//! not allow shows there.

use std::io;

use super::Vault;
use super::copies::held;
use crate::collection::item::{Item, RunId};
use crate::collection::run::Outcome;
use crate::second::Second;
use crate::storage::s3::{Fence, PutNew};
use crate::vault::drill::{self, Canary, expect, failed};

const BYTES_MAX: u64 = 4096;

impl Vault {
    pub fn drill(&self, now: Second) -> Result<(), String> {
        let canary = Canary::new(now);
        self.clear_drill()
            .map_err(failed("what a drill before left cannot be removed"))?;
        let noted = serde_json::json!({"run": canary.run, "item": canary.item}).to_string();
        self.write(drill::NOTE, noted.as_bytes())
            .map_err(failed("it could not be noted"))?;
        let told = self.block(self.drilled(&canary));
        // Whatever came of it, nothing of it stays.
        let cleared = self.clear_drill();
        told?;
        cleared.map_err(failed("it could not be removed"))
    }

    async fn drilled(&self, canary: &Canary) -> Result<(), String> {
        let Canary {
            run, ref content, ..
        } = *canary;
        let mut item = canary.item.clone();
        let path = item.path();
        match self.s3.put_new(&path, content.as_bytes()).await {
            Ok(PutNew::Written { .. }) => {}
            Ok(PutNew::AlreadyThere) => return Err(format!("{path} is there already")),
            Err(error) => return Err(failed("writing it")(error)),
        }
        let has_versions = self.has_versions().await.map_err(|it| it.to_string())?;
        let is_allowed = || true;
        let taken = if has_versions {
            let version = self.version_of(&item).await;
            item.version = version.map_err(failed("finding its version"))?;
            self.mark(std::slice::from_ref(&item), is_allowed).await
        } else {
            self.move_away(run, std::slice::from_ref(&item), is_allowed)
                .await
        };
        let taken = taken.into_iter().next();
        let taken = taken.unwrap_or(Ok(Outcome::Unknown));
        expect("taking it", taken, Outcome::Held)?;
        let listed = self.s3.files(&path).await;
        if !listed.map_err(failed("listing it"))?.is_empty() {
            return Err("listing it: it was taken, and is listed".to_owned());
        }
        match self.version(&item) {
            Some(version) => {
                let found = self.look_at_version(&item, &version).await;
                expect("looking for it", found, Outcome::Held)?;
                let read = self.read_version(&item, &version).await;
                read.map_err(failed("reading what was taken"))?;
                let back = self.unmark(&item, &version).await;
                expect("putting it back", back, Outcome::Live)?;
            }
            None => {
                let found = self.look_at_copy(run, &item).await;
                expect("looking for it", found, Outcome::Held)?;
                let back = self.move_back(run, &item).await;
                expect("putting it back", back, Outcome::Live)?;
            }
        }
        let read = self.s3.get(&path, BYTES_MAX).await;
        let read = read.map_err(failed("reading it"))?;
        canary.came_back(read.as_ref().map(|object| &*object.bytes))
    }

    pub fn clear_drill(&self) -> io::Result<()> {
        let Some(noted) = self.read(drill::NOTE)? else {
            return Ok(());
        };
        let noted: serde_json::Value = serde_json::from_slice(&noted).unwrap_or_default();
        let part = |name: &str| noted.get(name).cloned().unwrap_or_default();
        let run: Option<RunId> = serde_json::from_value(part("run")).ok();
        let item: Option<Item> = serde_json::from_value(part("item")).ok();
        // A run of epoch 0 is nobody's but a drill's.
        if let (Some(run), Some(item)) = (run, item)
            && run.epoch == 0
        {
            self.block(async {
                self.clear(&held(run, &item)).await?;
                self.clear(&item.path()).await
            })?;
        }
        self.remove(drill::NOTE)
    }

    /// Removes an object of a drill's, with its versions where that is allowed.
    async fn clear(&self, path: &str) -> io::Result<()> {
        if self.has_versions().await? && !self.rules.is_purged_by_lifecycle {
            let history = self.s3.history_of(path).await?;
            for version in history.into_iter().flat_map(|all| all.versions) {
                self.s3
                    .delete_version(path, &version.id, Fence::NONE)
                    .await?;
            }
            return Ok(());
        }
        if let Some(now) = self.s3.current(path).await?
            && let Some(etag) = &now.etag
        {
            self.s3.remove(path, etag, Fence::NONE).await?;
        }
        Ok(())
    }
}
