//! What the daemon's own collection does to the demo's registry, as the daemon tells it.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tokio::sync::watch;

use super::{moment, say};
use crate::cli::explain::text::{counted, size};
use crate::cli::terminal::Paint;
use crate::gc::refusal::Code;
use crate::state::collections::{Amount, CollectionStatus, Collections};

/// Everything that waits turned down, in a window that opened this minute.
pub(super) fn configuration(now: Timestamp) -> String {
    let opened = now
        .checked_sub(1.minute())
        .unwrap_or(now)
        .to_zoned(TimeZone::UTC);
    format!(
        "gc:\n  mode: quarantine\n  untagged: delete\n  tagHistory: delete\n  rehearsal: 0s\n  minimumAge: 0s\n  \
         longestRequest: 1s\n  watchEvery: 1s\n  settle: {{cache: none}}\n  \
         windows: [{{name: demo, schedule: \"{} {} * * *\", duration: 2h}}]\n",
        opened.minute(),
        opened.hour(),
    )
}

/// The daemon, as far as it collects.
pub(super) struct Collection {
    pub(super) told: watch::Receiver<Arc<Collections>>,
    pub(super) host: String,
    pub(super) paint: Paint,
}

impl Collection {
    /// What it takes by itself.
    pub(super) async fn taken(&mut self) -> anyhow::Result<()> {
        let is_taken = |status: &CollectionStatus| {
            let last = status.last();
            !status.is_running && last.is_some_and(|last| last.result == "quarantined")
        };
        let held = self.wait("the collection", is_taken).await?.held;
        say(&format!(
            "{}   The window is open, every image is proven, and a canary went into quarantine and back: the\n  daemon takes {} out of the registry's tree, asks the registry for each of them, and\n  proves every image again. For six days all of it can be put back.",
            self.paint.bold("collect"),
            amount(held),
        ))
    }

    /// What it does when an image got worse while something is held.
    pub(super) async fn returned(&mut self) -> anyhow::Result<()> {
        let is_back = |status: &CollectionStatus| {
            !status.is_running
                && status.held == Amount::default()
                && status.restored != Amount::default()
                && status.gate.is_met(Code::ImageBroken) == Some(false)
        };
        let status = self.wait("everything to be put back", is_back).await?;
        say(&format!(
            "{}   An image got worse while something is held: whoever's doing it was, the daemon puts everything\n  back at once, {}, and takes nothing more until the image is proven again:\n  pullproof_gc_gate_condition_met{{condition=\"image_broken\"}} 0",
            self.paint.bold("restore"),
            amount(status.restored),
        ))
    }

    async fn wait(
        &mut self,
        what: &str,
        is_so: impl Fn(&CollectionStatus) -> bool,
    ) -> anyhow::Result<CollectionStatus> {
        let host = &self.host;
        let is_told = |all: &Arc<Collections>| all.get(host).is_some_and(&is_so);
        let all = moment(what, self.told.wait_for(is_told)).await?;
        Ok(all.get(host).cloned().unwrap_or_default())
    }
}

fn amount(amount: Amount) -> String {
    let blobs = usize::try_from(amount.blobs).unwrap_or(usize::MAX);
    let blobs = counted(blobs, "blob", "blobs");
    format!("{blobs}, {}", size(amount.bytes))
}
