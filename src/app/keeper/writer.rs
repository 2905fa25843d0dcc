//! Writes on a thread where it may take its time: what changed part by part, then the snapshot. One
//! part at a time, so that what is written is never there twice as a whole.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use super::Memory;
use crate::remembered::Unsaved;
use crate::state::{Snapshot, State};
use crate::store::Store;
use crate::view;

/// How many rows are taken and written at once: about half a megabyte.
const PART_ROWS: usize = 1000;
/// Between two writes lies at least this many times what the last one took: for a few images that is
/// nothing, and for very many the disk and a processor stay free for other things.
const REST_AFTER_WRITING: u32 = 20;
/// The same for the snapshot, which is written whole however little changed, but never more than
/// [`SNAPSHOT_REST_MAX`].
const REST_AFTER_SNAPSHOT: u32 = 600;
const SNAPSHOT_REST_MAX: Duration = Duration::from_secs(5 * 60);
/// After a write that failed.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(60);
/// The snapshot for one-shot commands beside the daemon.
pub const SNAPSHOT_FILE: &str = "snapshot.json";

/// What was written last, and how long it took.
#[derive(Debug)]
pub(super) struct Written {
    what: What,
    took: Duration,
}

#[derive(Debug)]
enum What {
    Part,
    /// It could not be written: to be given back.
    Failed(Box<Unsaved>),
    Snapshot,
}

/// A write of all that had changed when it began.
#[derive(Debug, Default)]
struct Pass {
    rows_left: usize,
    took: Duration,
    has_failed: bool,
}

/// Goes from pass to pass.
#[derive(Debug, Default)]
pub(super) struct Writer {
    store: Option<Arc<Store>>,
    directory: Option<PathBuf>,
    running: Option<JoinHandle<Written>>,
    pass: Option<Pass>,
    rests_until: Option<Instant>,
    snapshot_rests_until: Option<Instant>,
    /// Rows are written that the snapshot on the disk does not have.
    owes_snapshot: bool,
}

impl Writer {
    pub(super) fn of(memory: &Memory) -> Self {
        Self {
            store: memory.store.clone(),
            directory: memory.directory.clone(),
            ..Self::default()
        }
    }

    /// Whether a pass may begin now.
    pub(super) fn is_free(&self) -> bool {
        self.pass.is_none() && is_over(self.rests_until)
    }

    /// Whether a pass is to begin although nothing is new: its snapshot had to wait.
    pub(super) fn is_late(&self) -> bool {
        self.owes_snapshot && is_over(self.snapshot_rests_until)
    }

    /// Begins a pass. Its first part is written even if nothing changed: manifests go with it.
    pub(super) fn begin(&mut self, state: &mut State) {
        let mut pass = Pass {
            rows_left: state.sort_unsaved(),
            ..Pass::default()
        };
        self.write_part(pass.next(state));
        self.pass = Some(pass);
    }

    /// Waits for what is being written; for ever, if nothing is. A wait that is dropped loses nothing.
    pub(super) async fn written(&mut self) -> Written {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let written = running.await.expect("writing does not panic");
        self.running = None;
        written
    }

    /// Goes on after a part. True if something is left to be written again.
    pub(super) fn go_on(
        &mut self,
        written: Written,
        state: &mut State,
        snapshot: impl FnOnce() -> Arc<Snapshot>,
    ) -> bool {
        let Some(pass) = &mut self.pass else {
            return false;
        };
        if !matches!(written.what, What::Snapshot) {
            pass.took += written.took;
        }
        match written.what {
            What::Part if pass.rows_left > 0 => {
                let part = pass.next(state);
                self.write_part(part);
                false
            }
            What::Part => {
                self.end_rows(snapshot);
                false
            }
            What::Failed(part) => {
                state.put_back(*part);
                pass.has_failed = true;
                self.end_rows(snapshot);
                true
            }
            What::Snapshot => {
                let rest = written.took * REST_AFTER_SNAPSHOT;
                self.snapshot_rests_until = Some(Instant::now() + rest.min(SNAPSHOT_REST_MAX));
                self.owes_snapshot = false;
                self.end_pass();
                false
            }
        }
    }

    fn end_rows(&mut self, snapshot: impl FnOnce() -> Arc<Snapshot>) {
        if is_over(self.snapshot_rests_until) {
            self.write_snapshot(snapshot());
        } else {
            self.owes_snapshot = true;
            self.end_pass();
        }
    }

    fn end_pass(&mut self) {
        if let Some(pass) = self.pass.take() {
            let least = if pass.has_failed {
                REST_AFTER_FAILURE
            } else {
                Duration::ZERO
            };
            let rest = (pass.took * REST_AFTER_WRITING).max(least);
            self.rests_until = Some(Instant::now() + rest);
        }
    }

    /// Ends what is under way, and writes all that is left.
    pub(super) async fn end(mut self, state: &mut State, last: Arc<Snapshot>) {
        if self.running.is_some()
            && let What::Failed(part) = self.written().await.what
        {
            state.put_back(*part);
        }
        self.snapshot_rests_until = None;
        self.begin(state);
        while self.running.is_some() {
            let written = self.written().await;
            self.go_on(written, state, || Arc::clone(&last));
        }
    }

    fn write_part(&mut self, part: Unsaved) {
        let store = self.store.clone();
        self.write(move || match store.map(|store| store.remember(&part)) {
            Some(Err(error)) => {
                warn!(%error, "what was found cannot be written; after a restart it is not known");
                What::Failed(Box::new(part))
            }
            Some(Ok(())) | None => What::Part,
        });
    }

    fn write_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let directory = self.directory.clone();
        self.write(move || {
            if let Some(directory) = directory {
                let images = snapshot.images.iter().map(|image| &**image).collect();
                let images = view::ImagesView::of(&snapshot, images);
                let path = directory.join(SNAPSHOT_FILE);
                let written = crate::files::replace_with(&path, |file| {
                    serde_json::to_writer(file, &images).map_err(Into::into)
                });
                if let Err(error) = written {
                    warn!(%error, file = SNAPSHOT_FILE, "it cannot be written");
                }
            }
            What::Snapshot
        });
    }

    fn write(&mut self, write: impl FnOnce() -> What + Send + 'static) {
        self.running = Some(tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let what = write();
            Written {
                what,
                took: started.elapsed(),
            }
        }));
    }
}

fn is_over(rest: Option<Instant>) -> bool {
    rest.is_none_or(|until| until <= Instant::now())
}

impl Pass {
    fn next(&mut self, state: &mut State) -> Unsaved {
        let most = self.rows_left.min(PART_ROWS);
        let part = state.take_unsaved(most);
        // Fewer than there were: what is gone meanwhile is no row any more.
        self.rows_left = if part.len() < most {
            0
        } else {
            self.rows_left - most
        };
        part
    }
}
