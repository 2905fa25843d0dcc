//! The ledger as a source: what nothing names now, read from the store and written to it.
//!
//! A ledger that cannot be read or written is an incomplete source, never an empty one.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::images::Images;
use crate::inventory::ledger::{Changes, Ledger, SOURCE};
use crate::inventory::{Class, ImageUse, SourceState, distinct};
use crate::oci::platform::Platform;
use crate::oci::reference::{Aliases, Reference};
use crate::second::Second;
use crate::store::{Store, seen};

use self::ran::Ran;
use self::steps::Steps;

mod ran;
mod steps;

/// How many rows are written at once.
const PART_ROWS: usize = 5000;

/// The ledger, and where it is written.
#[derive(Debug, Default)]
pub struct Recollection {
    /// `None`: it is forgotten with the process.
    store: Option<Arc<Store>>,
    /// `None`: it could not be read yet.
    ledger: Option<Ledger>,
    problem: Option<String>,
    /// What of it cannot be read, although the rest can.
    unreadable: Option<String>,
    steps: Steps,
    /// All images as they were when the ledger was told of them last.
    before: Arc<Images>,
    told: Vec<Arc<[ImageUse]>>,
    /// The other names of registries that held then.
    aliases: Aliases,
    unwritten: Changes,
    ran: Ran,
    /// Something could not be written: all is written anew.
    is_behind: bool,
}

impl Recollection {
    pub fn of(store: Option<Arc<Store>>) -> Self {
        let mut recollection = Self {
            store,
            ..Self::default()
        };
        recollection.load();
        recollection
    }

    /// Tells the ledger what the sources name now.
    pub fn see(
        &mut self,
        sources: &[Arc<SourceState>],
        aliases: &Aliases,
        keep: SignedDuration,
        now: Timestamp,
    ) {
        if self.ledger.is_none() {
            self.load();
        }
        let Some(ledger) = &mut self.ledger else {
            return;
        };
        let all_known = sources.iter().all(|source| source.complete_at.is_some());
        let is_told = self.aliases == *aliases
            && self.told.len() == sources.len()
            && (self.told.iter().zip(sources))
                .all(|(told, source)| Arc::ptr_eq(told, &source.uses));
        if !is_told || (all_known && ledger.is_waiting()) {
            let uses = sources.iter().flat_map(|source| source.uses.iter());
            let mut written = distinct(uses);
            // As images are named, since those are what it is compared with.
            let renamed: Vec<Reference> = written
                .iter()
                .filter_map(|reference| aliases.canonical(reference))
                .collect();
            written.retain(|reference| aliases.host_of(reference.host()).is_none());
            written.extend(&renamed);
            let changes = ledger.see(named(&self.before), written, all_known, now);
            self.unwritten.add(changes);
            self.aliases = aliases.clone();
            let uses = sources.iter().map(|source| Arc::clone(&source.uses));
            self.told = uses.collect();
        }
        let lag = self.steps.lag(now, Instant::now(), ledger.alive());
        self.unwritten
            .add(ledger.pass(now, keep.saturating_add(lag)));
        self.ran.see(sources, aliases, ledger.at(now));
    }

    /// Takes the images that came of what it was told last.
    pub fn published(&mut self, images: &Arc<Images>) {
        if self.ledger.is_some() {
            self.before = Arc::clone(images);
        }
    }

    /// What it says as a source; nothing while it remembers nothing and nothing ails it.
    pub fn source(&mut self, others: &[Arc<SourceState>], now: Timestamp) -> Option<SourceState> {
        let uses = match &mut self.ledger {
            Some(ledger) if ledger.is_empty() => None,
            Some(ledger) => Some(ledger.uses()),
            None => None,
        };
        let problem = self.problem.as_ref().or(self.unreadable.as_ref());
        if uses.is_none() && problem.is_none() {
            return None;
        }
        Some(SourceState {
            incomplete: problem.cloned(),
            is_awaited: false,
            complete_at: problem.is_none().then_some(now),
            uses: uses.unwrap_or_default(),
            platforms: platforms(others),
            ..SourceState::unread(SOURCE)
        })
    }

    /// Writes what changed.
    pub async fn write(&mut self) {
        let (Some(store), Some(ledger)) = (&self.store, &mut self.ledger) else {
            self.unwritten = Changes::default();
            self.ran.take();
            return;
        };
        let ran = self.ran.take();
        let mut changes = std::mem::take(&mut self.unwritten);
        if self.is_behind {
            let named: BTreeSet<&Reference> = named(&self.before).collect();
            changes.at = changes.at.or_else(|| ledger.alive());
            changes.named = named.into_iter().cloned().collect();
            changes.gone = ledger.gone();
        }
        if changes.is_empty() && ran.rows.is_empty() {
            return;
        }
        let store = Arc::clone(store);
        let written = tokio::task::spawn_blocking(move || {
            let result = write(&store, &changes).and_then(|()| ran.write(&store));
            (result, changes)
        });
        match written.await {
            Ok((Ok(()), changes)) => {
                ledger.written(&changes);
                if self.problem.take().is_some() {
                    info!("the ledger can be written again");
                }
                self.is_behind = false;
            }
            Ok((Err(error), _)) => self.fail(&format!("the ledger cannot be written: {error}")),
            Err(panic) => self.fail(&format!("writing the ledger failed: {panic}")),
        }
    }

    fn fail(&mut self, problem: &str) {
        if self.problem.as_deref() != Some(problem) {
            warn!("{problem}");
        }
        self.problem = Some(problem.to_owned());
        self.is_behind = true;
        self.ran = Ran::default();
    }

    fn load(&mut self) {
        let seen = match &self.store {
            Some(store) => store.seen(),
            None => Ok(seen::Seen::default()),
        };
        match seen {
            Ok(seen) => {
                self.problem = None;
                let (ledger, unreadable) = ledger(seen);
                self.ledger = Some(ledger);
                self.unreadable = unreadable;
            }
            Err(error) => {
                let problem = format!("the ledger cannot be read: {error}");
                if self.problem.as_deref() != Some(&problem) {
                    warn!("{problem}");
                }
                self.problem = Some(problem);
            }
        }
    }
}

/// The ledger, and what of it cannot be read.
fn ledger(seen: seen::Seen) -> (Ledger, Option<String>) {
    let mut unreadable = 0_usize;
    let mut first = None;
    let rows = seen.rows.into_iter().filter_map(|row| {
        // It was canonical when it was written.
        let reference = row.reference.parse::<Reference>();
        match reference {
            Ok(reference) => Some((reference, row.last)),
            Err(error) => {
                warn!(%error, "a row of the ledger cannot be read");
                unreadable += 1;
                first.get_or_insert(error);
                None
            }
        }
    });
    let ledger = Ledger::of(rows, seen.alive);
    let problem = first.map(|first| {
        format!(
            "{unreadable} of its rows cannot be read, as the one of {first}; its file (state.redb in the state \
             directory) is damaged, or another version's: put back a copy, or remove it to begin anew"
        )
    });
    (ledger, problem)
}

/// What the sources named, in order.
fn named(images: &Images) -> impl Iterator<Item = &Reference> {
    let is_named = |users: &[Arc<crate::inventory::User>]| {
        users.iter().any(|user| user.class != Class::Remembered)
    };
    let images = images.images.iter();
    images
        .filter(move |image| is_named(&image.users))
        .map(|image| &image.key.reference)
}

/// What a cluster's nodes need, since one of them needed what is remembered; every platform where no
/// nodes are known.
fn platforms(sources: &[Arc<SourceState>]) -> Option<Arc<[Platform]>> {
    let known = sources
        .iter()
        .filter_map(|source| source.platforms.as_deref());
    let all: BTreeSet<&Platform> = known.flatten().collect();
    (!all.is_empty()).then(|| all.into_iter().cloned().collect())
}

fn write(store: &Store, changes: &Changes) -> Result<(), redb::Error> {
    let text = |reference: &Reference| -> Box<str> { reference.to_string().into() };
    let named = changes.named.iter().map(|reference| (reference, None));
    let gone = changes.gone.iter();
    let gone = gone.map(|(reference, last)| (reference, Some(*last)));
    let all: Vec<(&Reference, Option<Second>)> = named.chain(gone).collect();
    let rows = |part: &[(&Reference, Option<Second>)]| {
        let row = |(reference, last): &(&Reference, Option<Second>)| seen::Row {
            reference: text(reference),
            last: *last,
        };
        part.iter().map(row).collect()
    };
    for part in all.chunks(PART_ROWS) {
        store.write_seen(&seen::Changes {
            at: changes.at,
            rows: rows(part),
            ..seen::Changes::default()
        })?;
    }
    for part in changes.expired.chunks(PART_ROWS) {
        store.write_seen(&seen::Changes {
            expired: part.iter().map(text).collect(),
            ..seen::Changes::default()
        })?;
    }
    store.write_seen(&seen::Changes {
        at: changes.at,
        digests_before: changes.digests_before,
        ..seen::Changes::default()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::images::{self, PlatformChoice};
    use crate::inventory::running::{ImageId, Place, Running, RunningUse};
    use crate::inventory::{Inventory, references};
    use crate::oci::digest::Digest;
    use crate::store::tests::on_disk;

    const KEEP: SignedDuration = SignedDuration::from_hours(90 * 24);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A ledger, and the inventory that it is told of.
    struct Scene {
        recollection: Recollection,
        is_full: Arc<AtomicBool>,
    }

    impl Scene {
        fn of(directory: &Path) -> Self {
            let is_full = Arc::new(AtomicBool::new(false));
            let store = on_disk(&directory.join("state.redb"), &is_full);
            Self {
                recollection: Recollection::of(Some(Arc::new(store))),
                is_full,
            }
        }

        /// What it says when these are named.
        async fn after(&mut self, names: &[&str], second: i64) -> Option<SourceState> {
            let text = names.join("\n");
            let source = Arc::new(references::read_text("keep", &text, at(second)));
            let sources = vec![source];
            let aliases = Aliases::of([("registry.internal", "registry.example")].into_iter());
            self.recollection.see(&sources, &aliases, KEEP, at(second));
            let said = self.recollection.source(&sources, at(second));
            let mut all = sources;
            all.extend(said.clone().map(Arc::new));
            let all = Inventory { sources: all };
            let images = images::collect_by(&all, &|_| PlatformChoice::All, &aliases);
            self.recollection.published(&Arc::new(images));
            self.recollection.write().await;
            said
        }
    }

    fn names(said: Option<SourceState>) -> Vec<String> {
        let said = said.unwrap();
        assert_eq!(said.incomplete, None);
        let name = |one: &ImageUse| one.reference.as_ref().unwrap().repository().to_owned();
        said.uses.iter().map(name).collect()
    }

    const A: &str = "registry.example/a:1";
    const B: &str = "registry.example/b:1";
    const C: &str = "registry.example/c:1";

    #[tokio::test]
    async fn a_registry_by_another_name_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let mut scene = Scene::of(directory.path());
        let alias = "registry.internal/a:1";
        assert!(scene.after(&[alias, B], 10).await.is_none());
        assert!(scene.after(&[A, B], 20).await.is_none());
        assert!(scene.after(&[alias, A, B], 30).await.is_none());
        assert!(scene.after(&[alias, B], 40).await.is_none());
        let said = scene.after(&[B], 50).await;
        let text = |one: &ImageUse| one.reference.as_ref().unwrap().to_string();
        assert_eq!(said.unwrap().uses.iter().map(text).collect::<Vec<_>>(), [A]);
    }

    #[tokio::test]
    async fn what_ran_is_what_its_reference_led_to() {
        let directory = tempfile::tempdir().unwrap();
        let mut scene = Scene::of(directory.path());
        let mut source = references::read_text("prod", "registry.internal/a:1\nb:1", at(10));
        source.running = [Arc::new(RunningUse {
            user: Arc::clone(&source.uses[0].user),
            running: [Running {
                id: ImageId {
                    digest: Digest::of(b"what runs"),
                    place: Place::Named,
                },
                by: "ReplicaSet/web-1".into(),
            }]
            .into(),
            refusal: None,
            pulled: None,
        })]
        .into();
        let sources = [Arc::new(source)];
        let aliases = Aliases::of([("registry.internal", "registry.example")].into_iter());
        let store = scene.recollection.store.clone().unwrap();
        let mut after = async |second: i64| {
            let recollection = &mut scene.recollection;
            recollection.see(&sources, &aliases, KEEP, at(second));
            recollection.write().await;
            let rows = store.led_to().unwrap().into_iter();
            rows.map(|row| (row.reference, row.digest, row.last.get()))
                .collect::<Vec<_>>()
        };
        let row = |last| vec![(A.into(), Digest::of(b"what runs"), last)];
        // While it cannot be written it is not forgotten.
        scene.is_full.store(true, Ordering::SeqCst);
        assert_eq!(after(3600).await, []);
        scene.is_full.store(false, Ordering::SeqCst);
        assert_eq!(after(3601).await, row(3600));
        assert_eq!(after(7300).await, row(7200));
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_not_taken_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut scene = Scene::of(directory.path());
        let store = scene.recollection.store.clone().unwrap();
        let row = seen::Row {
            reference: "not a reference".into(),
            last: Some(Second::new(5)),
        };
        let changes = seen::Changes {
            rows: vec![row],
            ..seen::Changes::default()
        };
        store.write_seen(&changes).unwrap();
        scene.recollection = Recollection::of(Some(store));
        let said = scene.after(&[A], 10).await.unwrap();
        let problem = said.incomplete.unwrap();
        assert!(problem.contains("1 of its rows"), "{problem}");
        assert!(problem.contains("`not a reference`"), "{problem}");
        assert_eq!(said.complete_at, None);
        // That it can be written does not mend it.
        let said = scene.after(&[A, B], 20).await.unwrap();
        assert!(said.incomplete.is_some());
    }

    #[tokio::test]
    async fn a_clock_that_steps_forward_forgets_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut scene = Scene::of(directory.path());
        scene.after(&[A, B], 10).await;
        assert_eq!(names(scene.after(&[B], 20).await), ["a"]);
        let late: i64 = 91 * 86_400;
        assert_eq!(names(scene.after(&[B], late).await), ["a"]);
        assert_eq!(names(scene.after(&[B], 30).await), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut scene = Scene::of(directory.path());
        assert!(scene.after(&[A, B, C], 10).await.is_none());
        // What is remembered is in the images too, and is not taken for named by that.
        assert_eq!(names(scene.after(&[B, C], 20).await), ["a"]);
        assert_eq!(names(scene.after(&[B, C], 30).await), ["a"]);
        drop(scene);
        let mut scene = Scene::of(directory.path());
        assert_eq!(names(scene.after(&[C], 40).await), ["a", "b"]);
        assert_eq!(names(scene.after(&[A, C], 50).await), ["b"]);
        drop(scene);
        let mut scene = Scene::of(directory.path());
        assert_eq!(names(scene.after(&[A, C], 60).await), ["b"]);
        let late: i64 = 91 * 86_400;
        tokio::time::advance(std::time::Duration::from_secs(late.unsigned_abs())).await;
        assert!(scene.after(&[A, C], late).await.is_none());
        drop(scene);
        assert!(
            Scene::of(directory.path())
                .after(&[A, C], late)
                .await
                .is_none()
        );
    }

    #[tokio::test]
    async fn while_it_cannot_be_written_it_is_incomplete_and_afterwards_nothing_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let mut scene = Scene::of(directory.path());
        scene.after(&[A, B], 10).await;
        scene.is_full.store(true, Ordering::SeqCst);
        scene.after(&[B, C], 20).await;
        let said = scene.after(&[B, C], 21).await.unwrap();
        let problem = said.incomplete.unwrap();
        assert!(
            problem.contains("the ledger cannot be written"),
            "{problem}"
        );
        assert_eq!((said.complete_at, said.uses.len()), (None, 1));
        scene.is_full.store(false, Ordering::SeqCst);
        scene.after(&[B, C], 22).await;
        assert_eq!(names(scene.after(&[B, C], 23).await), ["a"]);
        drop(scene);
        let mut scene = Scene::of(directory.path());
        assert_eq!(names(scene.after(&[B], 30).await), ["a", "c"]);
    }
}
