//! The one task that owns the [`State`]: takes events, publishes snapshots, remembers on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::baseline::{self, Baseline, Terms};
use crate::clock::Clock;
use crate::drift::tags::HostTags;
use crate::images::Images;
use crate::inventory::Inventory;
use crate::remembered::Remembered;
use crate::state::{RoundPart, RoundResult, Snapshot, State};
use crate::store::Store;
use crate::verify::finding::Verdict;

mod writer;

pub use writer::SNAPSHOT_FILE;
use writer::Writer;

/// Without any event a snapshot is published this often, so that proofs grow old in it too.
const TICK: Duration = Duration::from_secs(5);

/// What changes the state.
#[derive(Debug)]
pub enum Event {
    Inventory(Arc<Inventory>, Arc<Images>),
    /// Of a round that is not over: recorded at once, and published with what comes next.
    Part(RoundPart),
    Round(Box<RoundResult>),
    /// All that is known of the tags of a registry.
    Tags(Arc<str>, Arc<HostTags>),
}

/// Where things are remembered.
#[derive(Debug)]
pub struct Memory {
    pub store: Option<Arc<Store>>,
    /// `None` where nothing survives a restart.
    pub directory: Option<PathBuf>,
    /// Whether what is written there is there after a restart of the machine.
    pub survives: bool,
}

/// Runs until it is told to stop; what it knew is then on disk.
pub async fn run(
    memory: Memory,
    mut events: mpsc::Receiver<Event>,
    publish: watch::Sender<Arc<Snapshot>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut writer = Writer::of(&memory);
    let mut keeper = Keeper::new(memory);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut is_part = false;
        // Cancel-safe: a receive or a wait that is dropped loses nothing, and a tick only comes later.
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => {
                    is_part = matches!(event, Event::Part(_));
                    keeper.take(event);
                }
                None => break,
            },
            written = writer.written() => {
                let snapshot = || Arc::clone(&publish.borrow());
                keeper.has_news |= writer.go_on(written, &mut keeper.state, snapshot);
                continue;
            }
            _ = tick.tick() => {}
            () = stop.cancelled() => break,
        }
        while let Ok(event) = events.try_recv() {
            is_part &= matches!(event, Event::Part(_));
            keeper.take(event);
        }
        if is_part {
            continue;
        }
        publish.send_replace(Arc::new(keeper.snapshot(clock.now())));
        if (keeper.has_news || writer.is_late()) && writer.is_free() {
            keeper.has_news = false;
            writer.begin(&mut keeper.state);
        }
    }
    let snapshot = Arc::new(keeper.state.snapshot(clock.now()));
    writer.end(&mut keeper.state, snapshot).await;
}

#[derive(Debug)]
struct Keeper {
    memory: Memory,
    state: State,
    /// As it is on disk; `None` if there never was one.
    baseline: Option<Baseline>,
    /// It was damaged when it was read, and said so.
    is_baseline_damaged: bool,
    has_news: bool,
}

impl Keeper {
    fn new(memory: Memory) -> Self {
        let remembered = match memory.store.as_ref().map(|store| store.remembered()) {
            Some(Ok(remembered)) => remembered,
            Some(Err(error)) => {
                warn!(%error, "what was known before cannot be read");
                Remembered::default()
            }
            None => Remembered::default(),
        };
        let mut keeper = Self {
            memory,
            state: State::new(remembered, None),
            baseline: None,
            is_baseline_damaged: false,
            has_news: false,
        };
        keeper.reload_baseline();
        keeper
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Inventory(inventory, images) => self.state.set_inventory(&inventory, images),
            Event::Part(part) => self.state.record_part(part),
            Event::Tags(host, tags) => self.state.set_tags(host, tags),
            Event::Round(round) => {
                log_round(&round);
                self.state.record(*round);
                self.has_news = true;
            }
        }
    }

    /// What is to be published. A baseline that is made of it counts in it already, so that what is
    /// known is not told as new until the next one.
    fn snapshot(&mut self, now: jiff::Timestamp) -> Snapshot {
        self.reload_baseline();
        let snapshot = self.state.snapshot(now);
        if !self.make_baseline(&snapshot, now) {
            return snapshot;
        }
        drop(snapshot);
        self.state.snapshot(now)
    }

    /// The file is what counts: `pullproof baseline` changes it beside us.
    fn reload_baseline(&mut self) {
        let Some(directory) = &self.memory.directory else {
            return;
        };
        match baseline::load(directory) {
            Ok(loaded) => {
                self.is_baseline_damaged = false;
                if loaded != self.baseline {
                    self.state.set_baseline(loaded.clone());
                    self.baseline = loaded;
                }
            }
            Err(problem) => {
                if !std::mem::replace(&mut self.is_baseline_damaged, true) {
                    warn!("{problem}");
                }
            }
        }
    }

    /// Once in a life: only where it survives, and when everything was looked at for the first time.
    /// Whether it was made now.
    fn make_baseline(&mut self, snapshot: &Snapshot, now: jiff::Timestamp) -> bool {
        let may = self.baseline.is_none() && !self.is_baseline_damaged && self.memory.survives;
        let all_answered = snapshot
            .registries
            .iter()
            .all(|registry| registry.is_up == Some(true));
        let (true, true, true, Some(directory)) =
            (may, snapshot.is_ready, all_answered, &self.memory.directory)
        else {
            return false;
        };
        let broken = self.state.never_whole();
        let malformed = snapshot
            .images
            .iter()
            .filter(|image| image.registry().is_empty());
        let malformed = malformed.map(|image| image.reference());
        let mut made = Baseline::default();
        let broken = broken.iter().map(String::as_str).chain(malformed);
        made.accept(broken, &Terms::default(), now);
        match baseline::save(directory, &made) {
            Ok(()) => {
                info!(
                    images = made.images.len(),
                    "the baseline is made: what is broken now is known"
                );
                self.state.set_baseline(Some(made.clone()));
                self.baseline = Some(made);
                true
            }
            Err(problem) => {
                error!("{problem}");
                self.memory.survives = false;
                false
            }
        }
    }
}

fn log_round(round: &RoundResult) {
    let count = |verdict: Verdict| {
        let told = round.told.get(verdict as usize).copied();
        let reports = round.reports.iter();
        let last = reports.filter(|(_, _, report)| report.verdict == verdict);
        told.unwrap_or_default() + last.count()
    };
    info!(
        registry = %round.host,
        images = round.reports.len() + round.told.iter().sum::<usize>(),
        pullable = count(Verdict::Pullable),
        broken = count(Verdict::Broken),
        unknown = count(Verdict::Unknown),
        seconds = round.duration.as_secs_f64(),
        full = round.is_full,
        "round finished"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::{self, PlatformChoice};
    use crate::inventory::references;
    use crate::second::Second;
    use crate::state::ImageState;
    use crate::verify::finding::Report;

    #[test]
    fn the_first_snapshot_that_is_ready_knows_its_baseline() {
        let directory = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(Memory {
            store: None,
            directory: Some(directory.path().to_owned()),
            survives: true,
        });
        let now = jiff::Timestamp::UNIX_EPOCH;
        assert!(!keeper.snapshot(now).is_ready);
        let source = references::read_text("keep", "not a reference", now);
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(source)],
        });
        let images = images::collect(&inventory, &|_| PlatformChoice::Needed);
        keeper.take(Event::Inventory(inventory, Arc::new(images)));
        let snapshot = keeper.snapshot(now);
        assert!(snapshot.is_ready && snapshot.images[0].is_known);
    }

    #[tokio::test]
    async fn all_that_was_found_is_there_after_a_restart_however_many_parts_it_took() {
        const COUNT: usize = 2500;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.redb");
        let memory = || Memory {
            store: Some(Arc::new(Store::open(&path).unwrap())),
            directory: Some(directory.path().to_owned()),
            survives: false,
        };
        let names = (0..COUNT).map(|number| format!("r.example/app-{number}:v1"));
        let text = names.collect::<Vec<_>>().join("\n");
        let now = jiff::Timestamp::from_second(1000).unwrap();
        let source = references::read_text("keep", &text, now);
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(source)],
        });
        let images = Arc::new(images::collect(&inventory, &|_| PlatformChoice::Needed));
        let report = Report {
            verdict: Verdict::Pullable,
            findings: [].into(),
            proven_at: Some(now.into()),
            fresh_until: Some(Second::new(9000)),
            ..Report::never_checked()
        };
        let reports = images.images.iter();
        let reports = reports.map(|it| (it.key.clone(), it.needs.clone(), report.clone()));
        let reports = reports.collect();
        let part = RoundPart {
            started_at: now,
            ended_at: now,
            reports,
            compared: Vec::new(),
        };
        let mut keeper = Keeper::new(memory());
        keeper.take(Event::Inventory(
            Arc::clone(&inventory),
            Arc::clone(&images),
        ));
        keeper.take(Event::Part(part));
        let snapshot = Arc::new(keeper.state.snapshot(now));
        // In the middle of a pass it is told to stop.
        let mut writer = Writer::of(&keeper.memory);
        writer.begin(&mut keeper.state);
        let written = writer.written().await;
        assert!(!writer.go_on(written, &mut keeper.state, || Arc::clone(&snapshot)));
        assert!(!writer.is_free(), "there is more than one part");
        writer.end(&mut keeper.state, snapshot).await;
        drop(keeper);

        let written = std::fs::read(directory.path().join(SNAPSHOT_FILE)).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(written["images"].as_array().unwrap().len(), COUNT);
        let mut keeper = Keeper::new(memory());
        keeper.take(Event::Inventory(inventory, images));
        let snapshot = keeper.state.snapshot(now);
        assert_eq!(snapshot.count(Verdict::Pullable), COUNT);
        let is_as_old = |image: &Arc<ImageState>| image.proven_at == Some(now.into());
        assert!(snapshot.images.iter().all(is_as_old));
    }
}
