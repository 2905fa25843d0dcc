//! Whether all that is kept is there after somebody else's collector.

use tracing::error;

use super::super::Session;
use super::super::gate::PROVEN;
use super::{LOST, LOST_MAX, NOTE, Note};
use crate::app::collector::{Reading, Sum};
use crate::collection::foreign::{self, Loss};
use crate::collection::proven::{self, Memory};

impl Session<'_> {
    /// All that could be pulled before is proven again, and what was stored and is kept has to be there.
    pub(super) fn prove_after(&mut self, note: &Note) {
        let memory: Memory = match self.remembered(PROVEN) {
            Ok(memory) => memory.unwrap_or_default(),
            Err(problem) => {
                self.fail(problem);
                return;
            }
        };
        let before = self.kept.take();
        let Some(kept) = self.read_kept(Reading::Known) else {
            self.fail(
                "what was kept is not proven again yet: the sources cannot be read".to_owned(),
            );
            return;
        };
        let proofs = self.proofs(&kept);
        let (broken, mut unknown) = proven::worse(&memory.proven_last(&proofs), &proofs);
        let mut lost = Vec::new();
        if self.storage.is_some() {
            match self.planned(&kept, self.work.clock.now()) {
                Ok(after) => {
                    // What was lost of it is told below.
                    if let Err(problem) = self.store_anew(after.graph(), self.now()) {
                        unknown.push(problem);
                    }
                    if let (Some(plan), Some(before)) = (&self.plan, &before) {
                        let needed = &before.needed.digests;
                        lost = foreign::lost(plan.graph(), after.graph(), needed);
                        let (blobs, bytes) = foreign::freed(plan.graph(), after.graph());
                        self.report.purged = Sum {
                            items: blobs,
                            blobs,
                            bytes,
                        };
                    }
                }
                Err(refusal) => unknown.push(refusal.to_string()),
            }
        }
        self.tell_losses(note, broken, lost);
        if self.report.lost.is_empty()
            && let Some(first) = unknown.first()
        {
            self.fail(format!(
                "of {} that were kept it cannot be told whether they are still there, the first: {first}; the next \
                 session looks again",
                unknown.len()
            ));
            return;
        }
        if let Err(error) = self.vault.remove(NOTE) {
            self.fail(format!("pullproof/{NOTE} cannot be removed: {error}"));
        }
    }

    fn tell_losses(&mut self, note: &Note, broken: Vec<String>, mut lost: Vec<Loss>) {
        let count = broken.len() + lost.len();
        let mut all = broken;
        all.extend(lost.iter().map(Loss::to_string));
        all.truncate(LOST_MAX);
        for one in &all {
            error!(
                target: "pullproof::audit",
                storage = self.work.registry.host,
                run = note.run,
                what = "lost",
                executor = note.by.as_str(),
                undo = note.undo,
                "{one}"
            );
        }
        let Some(first) = all.first() else {
            return;
        };
        let way_back = match &*note.undo {
            "snapshot" => "take it from the snapshot of the storage",
            "versioning" => "take it from the versions of the bucket",
            _ => "push it again: nothing else brings it back",
        };
        let told = format!(
            "{count} that were there before `{}` are gone, the first: {first}; {way_back}",
            note.by.as_str()
        );
        self.report.lost = all;
        // Before what went wrong by it.
        self.report.failed = None;
        self.fail(told);
        lost.truncate(LOST_MAX);
        if !lost.is_empty()
            && let Err(problem) = self.remember(LOST, &lost)
        {
            self.fail(problem);
        }
    }
}
