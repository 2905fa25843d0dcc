//! How fast things go, and how much of them fits into what is left of the window.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::Session;
use crate::app::collector::BATCH;
use crate::collection::pace::Pace;
use crate::config::{Mode, PurgeBy};

/// Beside the journal: how fast the last run went.
const PACE: &str = "pace.json";

/// What was measured of the batches of this session.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// When the first batch began.
    begun: Option<Instant>,
    items: usize,
    /// From the first batch to the end of the last one.
    took: Duration,
    /// All of them were taken: what is asked for later is asked once more.
    is_over: bool,
    /// It was stopped since the window ends.
    pub(super) is_short: bool,
}

impl Pacing {
    /// A batch is taken now.
    pub(super) fn begin(&mut self, items: usize) {
        self.begun.get_or_insert_with(Instant::now);
        self.items += items;
        self.is_over = false;
    }

    /// What belongs to a batch was done.
    pub(super) fn went_on(&mut self) {
        if let Some(begun) = self.begun.filter(|_| !self.is_over) {
            self.took = begun.elapsed();
        }
    }

    /// There are no more batches.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// `None` where nothing that is worth it was taken: what a few take is no measure of many.
    fn pace(&self, batch: usize) -> Option<Pace> {
        (self.items >= batch && self.took > Duration::ZERO).then(|| Pace {
            items: self.items as u64,
            millis: u64::try_from(self.took.as_millis())
                .unwrap_or(u64::MAX)
                .max(1),
            proof_millis: None,
        })
    }
}

impl Session<'_> {
    /// How many may be taken in this window, as fast as things went before.
    pub(super) fn fits(&mut self) -> usize {
        let pace = self.pace();
        let gc = &self.work.registry.gc;
        let proof = pace.proof_millis.map(Duration::from_millis);
        // Not measured yet: both look at everything that is kept.
        self.besides.proof = proof.unwrap_or(self.besides.mark);
        if self.restarts() {
            self.besides.settle = gc.settle_within;
        }
        if gc.mode == Mode::Purge && gc.purge_by == PurgeBy::Pullproof {
            self.besides.purge = pace.lasts(self.due());
        }
        self.besides.fits(self.time_left(), &pace)
    }

    /// What is held, and may be purged by now.
    fn due(&self) -> usize {
        let lasts = crate::app::collector::seconds(self.work.registry.gc.quarantine_for);
        let now = self.now().get();
        let runs = self.journals.iter();
        let due = runs.filter(|(_, it)| {
            let last = it.run.last_taken();
            last.is_some_and(|last| last.get().saturating_add(lasts) <= now)
        });
        due.map(|(_, it)| it.run.held().count()).sum()
    }

    /// Whether what is left of the window is long enough for a batch, and for what has to follow it.
    pub(super) fn check_time(&self) -> Result<(), String> {
        let left = self.time_left();
        let batch = self.pace().lasts(self.selection.items.len().min(BATCH));
        let fits_none = self.selection.items.is_empty() && self.selection.left.window > 0;
        if self.besides.is_long_enough(left, batch) && !fits_none {
            return Ok(());
        }
        let shown = |long: Duration| {
            crate::config::duration::shown(Duration::from_secs(long.as_secs().saturating_add(1)))
        };
        Err(format!(
            "the window ends in {}, and to list everything took {} and to prove it {}, which comes once more \
             after the last batch, and one batch besides: write a longer `duration` for it (`gc.windows`)",
            shown(left),
            shown(self.besides.mark),
            shown(self.besides.proof),
        ))
    }

    /// Whether one more batch, and what has to follow it, ends before the window does.
    pub(super) fn has_time(&self) -> bool {
        let pace = self.pacing.pace(1).unwrap_or_else(|| self.pace());
        let batch = pace.lasts(self.selection.items.len().min(BATCH));
        self.time_left() >= batch + self.besides.after()
    }

    /// What was to be taken, and was not since the window ends.
    pub(super) fn cut_off(&self) -> usize {
        if self.pacing.is_short {
            self.selection.items.len().saturating_sub(self.pacing.items)
        } else {
            0
        }
    }

    fn time_left(&self) -> Duration {
        let left = self.work.until.duration_since(self.work.clock.now());
        Duration::try_from(left).unwrap_or(Duration::ZERO)
    }

    /// Of the run before; what cannot be read is measured anew.
    fn pace(&self) -> Pace {
        let pace = self.remembered::<Pace>(PACE);
        let pace = pace.unwrap_or_else(|problem| {
            warn!(storage = self.work.registry.host, "{problem}");
            None
        });
        pace.unwrap_or_default()
    }

    /// Remembers how fast this run went, where it took enough to tell.
    pub(super) fn remember_pace(&self) {
        let Some(pace) = self.pacing.pace(BATCH) else {
            return;
        };
        let proof = u64::try_from(self.besides.proof.as_millis()).ok();
        let pace = Pace {
            proof_millis: proof,
            ..pace
        };
        if let Err(problem) = self.remember(PACE, &pace) {
            warn!(storage = self.work.registry.host, "{problem}");
        }
    }
}
