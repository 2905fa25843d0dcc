//! What is kept of the sources beside their own words: how each stands to what it was, its last complete
//! state on the disk, and what was named recently.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::acceptance;
use super::archive::{Archive, Entry, Levels};
use super::keeper::Memory;
use super::recollection::Recollection;
use super::sources::{self, Wanted};
use crate::config::Config;
use crate::http::keepset::Published;
use crate::images::Images;
use crate::inventory::loss::{Level, LossRules};
use crate::inventory::stored::ReadFrom;
use crate::inventory::{ImageUse, Inventory, SourceState, distinct, nodes};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;

/// Between two writes of states lies at least this many times what the last one took: in a large cluster
/// there is always something new. What is there meanwhile is the complete state of some minutes before.
const REST_AFTER_WRITING: u32 = 600;
/// But never more than this.
const REST_MAX: Duration = Duration::from_secs(5 * 60);
/// The same after one that failed.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(60);
/// That a state is still true is written this often.
const TIMES_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// A ledger in which nothing changes says this often that it is still complete, as a cluster does.
const LEDGER_SAYS_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Lives as long as the daemon, from one configuration to the next.
#[derive(Debug, Default)]
pub struct Custody {
    directory: Option<PathBuf>,
    archive: Option<Archive>,
    levels: Levels,
    /// As they are on the disk, and when they were written.
    written: (Levels, Option<Timestamp>),
    held: BTreeMap<Arc<str>, Held>,
    published: watch::Sender<Arc<Published>>,
    recollection: Recollection,
    /// What was said of an acceptance that could not be read.
    complaint: Option<String>,
    rests_until: Option<Instant>,
    /// What could not be written is not tried again before.
    failed_until: Option<Instant>,
}

/// Of one source.
#[derive(Debug, Default)]
struct Held {
    /// The complete uses that were counted last.
    counted: Option<Arc<[ImageUse]>>,
    /// What it said itself, and what it is taken for.
    judged: Option<(Arc<SourceState>, Arc<SourceState>)>,
    /// The last of these that was complete.
    complete: Option<Arc<SourceState>>,
    /// What is on the disk of it.
    saved: Option<Arc<SourceState>>,
}

impl Custody {
    /// Reads what is remembered of before.
    pub fn of(memory: &Memory) -> Self {
        let archive = memory.directory.as_deref().map(Archive::of);
        let levels = archive.as_ref().map(Archive::levels).transpose();
        let levels = levels.unwrap_or_else(|error| {
            warn!(%error, "what sources named before is not known: a loss since then is not seen");
            None
        });
        let levels = levels.unwrap_or_default();
        Self {
            directory: memory.directory.clone(),
            archive,
            written: (levels.clone(), None),
            levels,
            recollection: Recollection::of(memory.store.clone()),
            ..Self::default()
        }
    }

    /// What a source said before a restart.
    pub fn stored(&self, wanted: &Wanted) -> Option<SourceState> {
        let is_kept = is_kept(wanted) && !self.held.contains_key(wanted.name());
        let archive = self.archive.as_ref().filter(|_| is_kept)?;
        archive.read(wanted, &self.levels)
    }

    /// Forgets what is of other sources than these. Before any was read.
    pub fn keep_only(&mut self, wanted: &[Wanted]) {
        if !self.held.is_empty() {
            return;
        }
        let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.name() == name);
        self.levels.sources.retain(|name, _| is_wanted(name));
        if let Some(archive) = &self.archive {
            archive.keep_only(wanted.iter().map(Wanted::name));
        }
    }

    /// What the sources are taken for, and what is remembered besides. What did not change is the same
    /// allocation as before.
    pub fn take(
        &mut self,
        wanted: &[Wanted],
        states: Vec<Arc<SourceState>>,
        config: &Config,
        now: Timestamp,
    ) -> Vec<Arc<SourceState>> {
        let rules = LossRules {
            maximum: config.inventory.maximum_loss,
            stands: signed(config.inventory.keep_seen),
        };
        let pairs = wanted.iter().zip(states);
        let judged = pairs.map(|(wanted, state)| {
            let judged = self.judge(state, config, rules, now);
            if !is_kept(wanted)
                && let Some(held) = self.held.get_mut(wanted.name())
            {
                held.saved = Some(Arc::clone(&judged));
            }
            judged
        });
        let mut sources: Vec<_> = judged.collect();
        let aliases = config.aliases();
        self.recollection.see(&sources, &aliases, rules.stands, now);
        let before = self.held.get(crate::inventory::ledger::SOURCE);
        let before = before.and_then(|held| held.saved.clone());
        let ledger = self
            .recollection
            .source(&sources, now)
            .map(|new| match before {
                Some(before) if says_the_same(&before, &new) && is_recent(&before, now) => before,
                Some(_) | None => Arc::new(new),
            });
        let held = self.held.entry(crate::inventory::ledger::SOURCE.into());
        held.or_default().saved.clone_from(&ledger);
        sources.extend(ledger);
        sources
    }

    fn judge(
        &mut self,
        state: Arc<SourceState>,
        config: &Config,
        loss: LossRules,
        now: Timestamp,
    ) -> Arc<SourceState> {
        let name = &*state.name;
        let held = self.held.entry(Arc::clone(&state.name)).or_default();
        let entry = self.levels.sources.entry(name.to_owned()).or_default();
        if state.incomplete.is_none() {
            let is_counted = held.counted.as_ref();
            if !is_counted.is_some_and(|counted| Arc::ptr_eq(counted, &state.uses)) {
                entry.references = distinct(state.uses.iter()).len();
                held.counted = Some(Arc::clone(&state.uses));
            }
            entry.complete_at = state.complete_at;
            if let Some(directory) = &self.directory
                && let Some(level) = &entry.level
            {
                match acceptance::accepted(directory, name, level) {
                    Ok(None) => {}
                    Ok(Some((level, acceptance))) => {
                        info!(
                            source = name,
                            by = acceptance.by,
                            "that it shrank is accepted"
                        );
                        entry.level = Some(level);
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if self.complaint.as_ref() != Some(&error) {
                            warn!("{error}");
                        }
                        self.complaint = Some(error);
                    }
                }
            }
            let before = entry.level.take();
            let level = Level::after(before.as_ref(), entry.references, now, loss);
            if before.is_some_and(|before| before.shrunk_since.is_none())
                && let Some(shrunk) = level.shrunk(entry.references)
            {
                warn!(
                    source = name,
                    "{shrunk}; `pullproof inventory accept {name}` if that is meant"
                );
            }
            entry.level = Some(level);
        }
        let shrunk = entry
            .level
            .as_ref()
            .and_then(|level| level.shrunk(entry.references));
        let rules = sources::rules(config, name);
        let platforms = platforms(entry, &state, config, loss.stands, now);
        if let Some((said, judged)) = &held.judged
            && Arc::ptr_eq(said, &state)
            && (&judged.rules, &judged.shrunk) == (&rules, &shrunk)
            && judged.platforms == platforms
        {
            return Arc::clone(judged);
        }
        let judged = Arc::new(SourceState {
            platforms,
            rules,
            shrunk,
            ..(*state).clone()
        });
        if state.incomplete.is_none() {
            held.complete = Some(Arc::clone(&judged));
        }
        held.judged = Some((state, Arc::clone(&judged)));
        judged
    }

    /// Takes what came of what was taken last, and by which configuration.
    pub fn published(
        &mut self,
        config: &Arc<Config>,
        inventory: &Arc<Inventory>,
        images: &Arc<Images>,
    ) {
        self.recollection.published(images);
        self.published.send_replace(Arc::new(Published {
            config: Arc::clone(config),
            inventory: Arc::clone(inventory),
        }));
    }

    /// The inventory as it is now; before the first one without a source, by this configuration.
    pub fn inventory(&self, first: &Arc<Config>) -> watch::Receiver<Arc<Published>> {
        self.published.send_replace(Arc::new(Published {
            config: Arc::clone(first),
            ..Published::default()
        }));
        self.published.subscribe()
    }

    /// Writes what is to survive a restart; all of it at the end.
    pub async fn save(&mut self, wanted: &[Wanted], now: Timestamp, is_end: bool) {
        self.recollection.write().await;
        let is_ahead = |until: Option<Instant>| until.is_some_and(|until| until > Instant::now());
        let (rests, has_failed) = (is_ahead(self.rests_until), is_ahead(self.failed_until));
        let Some(archive) = self.archive.clone().filter(|_| is_end || !has_failed) else {
            return;
        };
        let mut new: Vec<(Arc<SourceState>, ReadFrom)> = wanted
            .iter()
            .filter_map(|wanted| {
                let held = self.held.get(wanted.name())?;
                let state = held.complete.as_ref()?;
                let is_new = !held
                    .saved
                    .as_ref()
                    .is_some_and(|saved| says_the_same(saved, state));
                is_new.then(|| (Arc::clone(state), wanted.read_from()))
            })
            .collect();
        let (written, written_at) = &self.written;
        let mut levels = self.levels.clone();
        if rests && !is_end {
            // What is on the disk is of before, and is not true for any longer than it says.
            for (state, _) in new.drain(..) {
                if let Some(entry) = levels.sources.get_mut(&*state.name) {
                    let before = written.sources.get(&*state.name);
                    entry.content = before.and_then(|before| before.content);
                    entry.complete_at = before.and_then(|before| before.complete_at);
                }
            }
        }
        let is_due = written_at.is_none_or(|at| now.duration_since(at).abs() >= TIMES_EVERY);
        let has_times = levels != *written;
        if new.is_empty() && !(has_times && (is_due || is_end || differs(&levels, written))) {
            return;
        }
        let has_states = !new.is_empty();
        let began = Instant::now();
        let saved = tokio::task::spawn_blocking(move || save(&archive, &new, levels)).await;
        let took = began.elapsed();
        let rest = match saved {
            Ok((states, levels, problem)) => {
                for (state, content) in states {
                    if let Some(entry) = self.levels.sources.get_mut(&*state.name) {
                        entry.content = Some(content);
                    }
                    if let Some(held) = self.held.get_mut(&state.name) {
                        held.saved = Some(state);
                    }
                }
                self.written = (levels, Some(now));
                match problem {
                    Some(problem) => {
                        warn!("{problem}; after a restart the last complete state is an older one");
                        REST_AFTER_FAILURE
                    }
                    None => Duration::ZERO,
                }
            }
            Err(panic) => {
                warn!(%panic, "writing the sources' states failed");
                REST_AFTER_FAILURE
            }
        };
        self.failed_until = Some(Instant::now() + rest);
        if has_states {
            let rest = rest.max((took * REST_AFTER_WRITING).min(REST_MAX));
            self.rests_until = Some(Instant::now() + rest);
        }
    }
}

type Saved = (Vec<(Arc<SourceState>, Digest)>, Levels, Option<String>);

/// States first: what the levels say of a content is said of one that is there.
fn save(archive: &Archive, new: &[(Arc<SourceState>, ReadFrom)], mut levels: Levels) -> Saved {
    let mut saved = Vec::new();
    let mut problem = None;
    for (state, from) in new {
        match archive.save(state, from) {
            Ok(content) => {
                if let Some(entry) = levels.sources.get_mut(&*state.name) {
                    entry.content = Some(content);
                }
                saved.push((Arc::clone(state), content));
            }
            Err(error) => problem = Some(error.to_string()),
        }
    }
    if let Err(error) = archive.save_levels(&levels) {
        problem = Some(error.to_string());
        levels = Levels::default();
    }
    (saved, levels, problem)
}

/// Whether they differ in more than times.
fn differs(one: &Levels, other: &Levels) -> bool {
    let untimed = |entry: &Entry| {
        let level = entry.level.as_ref();
        let level = level.map(|level| (level.references, level.shrunk_since));
        let nodes: Vec<Platform> = entry.nodes.iter().map(|it| it.platform.clone()).collect();
        (level, entry.references, entry.content, nodes)
    };
    let all = |levels: &Levels| -> Vec<_> {
        let sources = levels.sources.iter();
        sources
            .map(|(name, entry)| (name.clone(), untimed(entry)))
            .collect()
    };
    all(one) != all(other)
}

/// Those that a cluster's nodes have, and had until lately; and what the configuration says.
fn platforms(
    entry: &mut Entry,
    state: &SourceState,
    config: &Config,
    keep: SignedDuration,
    now: Timestamp,
) -> Option<Arc<[Platform]>> {
    let clusters = &config.inventory.clusters;
    let (Some(there), Some(cluster)) = (
        &state.platforms,
        clusters.iter().find(|it| it.name == *state.name),
    ) else {
        return state.platforms.clone();
    };
    if state.incomplete.is_none() {
        // What is configured is no node's.
        let of_nodes = there.iter().filter(|it| !cluster.platforms.contains(it));
        let of_nodes: Vec<Platform> = of_nodes.cloned().collect();
        entry.nodes = nodes::after(&entry.nodes, &of_nodes, keep, now);
    }
    let all = nodes::with(there, &entry.nodes);
    Some(if **there == *all {
        Arc::clone(there)
    } else {
        all.into()
    })
}

/// Whether both name the same, whenever they were read.
fn says_the_same(one: &SourceState, other: &SourceState) -> bool {
    Arc::ptr_eq(&one.uses, &other.uses)
        && one.platforms == other.platforms
        && one.incomplete == other.incomplete
        && (Arc::ptr_eq(&one.running, &other.running) || runs_the_same(one, other))
        && content(one) == content(other)
        && one.marks == other.marks
}

/// Whether of both the same runs, whatever else nodes say.
fn runs_the_same(one: &SourceState, other: &SourceState) -> bool {
    let one = one.running.iter().filter(|it| !it.running.is_empty());
    let other = other.running.iter().filter(|it| !it.running.is_empty());
    one.map(|it| (&it.user, &it.running))
        .eq(other.map(|it| (&it.user, &it.running)))
}

/// What another pullproof said, without when.
fn content(state: &SourceState) -> Option<Digest> {
    let mark = state.peer.as_ref()?.mark.as_ref()?;
    Some(mark.content)
}

/// Whether it said so just now; whether it is complete is not a question of time where it never was.
fn is_recent(state: &SourceState, now: Timestamp) -> bool {
    let age = state.complete_at.map(|at| now.duration_since(at).abs());
    age.is_none_or(|age| age < LEDGER_SAYS_EVERY)
}

/// Whether a source's state is kept on the disk: what was typed is gone with the command.
fn is_kept(wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Cluster { .. }
        | Wanted::Peer(_)
        | Wanted::References { .. }
        | Wanted::Manifests { .. } => true,
        Wanted::ReferencesText { .. } | Wanted::ManifestsText { .. } | Wanted::Arguments(_) => {
            false
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::images::{self, PlatformChoice};
    use crate::inventory::{completeness, references};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn wanted(directory: &Path) -> Vec<Wanted> {
        vec![Wanted::References {
            name: "a list/of names".to_owned(),
            file: directory.join("keep.txt"),
        }]
    }

    fn memory(directory: &Path) -> Memory {
        Memory {
            store: None,
            directory: Some(directory.to_owned()),
            survives: true,
        }
    }

    fn state(text: &str, second: i64) -> Arc<SourceState> {
        Arc::new(references::read_text("a list/of names", text, at(second)))
    }

    async fn take(custody: &mut Custody, directory: &Path, text: &str, second: i64) -> SourceState {
        let wanted = wanted(directory);
        let states = vec![state(text, second)];
        let sources = custody.take(&wanted, states, &Config::default(), at(second));
        custody.save(&wanted, at(second), true).await;
        (*sources[0]).clone()
    }

    #[tokio::test]
    async fn the_last_complete_state_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut custody = Custody::of(&memory(path));
        assert!(custody.stored(&wanted(path)[0]).is_none());
        take(&mut custody, path, "a\nb", 100).await;
        // The same again is not written, but that it is still true.
        take(&mut custody, path, "a\nb", 200).await;
        let mut custody = Custody::of(&memory(path));
        let stored = custody.stored(&wanted(path)[0]).unwrap();
        assert_eq!((stored.uses.len(), stored.complete_at), (2, Some(at(200))));
        assert!(stored.incomplete.is_some());
        // Of another file under the same name nothing is known.
        let other = wanted(Path::new("/elsewhere"));
        assert!(custody.stored(&other[0]).is_none());
        // What is damaged is not believed.
        let files = std::fs::read_dir(path.join("sources")).unwrap();
        let state = files.map(|file| file.unwrap().path());
        let state = state.filter(|file| file.extension().is_some_and(|it| it == "jsonl"));
        let [state] = state.collect::<Vec<_>>().try_into().unwrap();
        let text = std::fs::read_to_string(&state).unwrap();
        std::fs::write(&state, &text[..text.len() / 2]).unwrap();
        assert!(custody.stored(&wanted(path)[0]).is_none());
        // What no source has any more goes.
        custody.keep_only(&[]);
        assert!(!state.exists());
    }

    #[tokio::test]
    async fn what_was_complete_is_written_though_it_is_not_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let wanted = wanted(path);
        let mut custody = Custody::of(&memory(path));
        let mut see = async |text: &str, second: i64, incomplete: Option<&str>, is_end: bool| {
            let mut said = (*state(text, second)).clone();
            said.incomplete = incomplete.map(ToOwned::to_owned);
            let states = vec![Arc::new(said)];
            drop(custody.take(&wanted, states, &Config::default(), at(second)));
            // As after a write that took long.
            custody.rests_until = Some(Instant::now() + Duration::from_secs(60));
            custody.save(&wanted, at(second), is_end).await;
        };
        see("a", 100, None, true).await;
        see("a\nb", 200, None, false).await;
        // What is on the disk is not said to be true for longer than it was.
        let stored = Custody::of(&memory(path)).stored(&wanted[0]).unwrap();
        assert_eq!((stored.uses.len(), stored.complete_at), (1, Some(at(100))));
        see("a\nb", 300, Some("it is away"), true).await;
        let stored = Custody::of(&memory(path)).stored(&wanted[0]).unwrap();
        assert_eq!((stored.uses.len(), stored.complete_at), (2, Some(at(200))));
    }

    #[tokio::test]
    async fn a_pool_that_is_scaled_to_zero_is_needed_for_as_long_as_is_kept_what_was_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let cluster = "inventory: {keepSeen: 48h, clusters: [{name: prod, context: prod, \
                       platforms: [linux/s390x]}]}";
        let config = crate::config::parse(cluster, "pullproof.yaml", path).unwrap();
        let hour = |hour: i64| at(hour * 3600);
        let seen = |custody: &mut Custody, nodes: &[&str], now: Timestamp| {
            let own = nodes.iter().chain(&["linux/s390x"]);
            let platforms = own.map(|it| it.parse().unwrap()).collect();
            let state = SourceState {
                incomplete: None,
                complete_at: Some(now),
                platforms: Some(platforms),
                ..SourceState::unread("prod")
            };
            let wanted = wanted(path);
            let sources = custody.take(&wanted, vec![Arc::new(state)], &config, now);
            let told = sources[0].platforms.as_deref().unwrap().iter();
            told.map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut custody = Custody::of(&memory(path));
        let all = ["linux/amd64", "linux/arm64", "linux/s390x"];
        assert_eq!(
            seen(&mut custody, &["linux/amd64", "linux/arm64"], hour(0)),
            all
        );
        assert_eq!(seen(&mut custody, &["linux/amd64"], hour(1)), all);
        custody.save(&wanted(path), hour(1), true).await;
        let mut custody = Custody::of(&memory(path));
        let without = ["linux/amd64", "linux/s390x"];
        // What is kept is kept by its name, and a source that is not wanted is forgotten.
        assert_eq!(seen(&mut custody, &["linux/amd64"], hour(47)), all);
        assert_eq!(seen(&mut custody, &["linux/amd64"], hour(49)), without);
    }

    #[tokio::test]
    async fn a_ledger_in_which_nothing_changes_leaves_the_gates_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let wanted = wanted(path);
        let mut custody = Custody::of(&memory(path));
        let names = |count: usize| {
            let names: Vec<String> = (0..count).map(|it| format!("a{it}")).collect();
            names.join("\n")
        };
        let mut sources = Vec::new();
        for (count, second) in [(20, 0), (19, 60), (19, 720), (19, 725), (19, 100_000)] {
            let states = vec![state(&names(count), second)];
            let before = std::mem::replace(
                &mut sources,
                custody.take(&wanted, states, &Config::default(), at(second)),
            );
            let inventory = Arc::new(Inventory {
                sources: sources.clone(),
            });
            let images = Arc::new(images::collect(&inventory, &|_| PlatformChoice::All));
            custody.published(&Arc::default(), &inventory, &images);
            completeness::complete(&inventory, at(second)).unwrap();
            // It is not said anew each time: whoever sees it has work to do.
            let is_same = before.len() == 2 && Arc::ptr_eq(&before[1], &sources[1]);
            assert_eq!(is_same, second == 725);
        }
        assert_eq!(sources[1].uses.len(), 1);
    }

    #[tokio::test]
    async fn a_loss_is_seen_over_a_restart_and_ends_when_it_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut custody = Custody::of(&memory(path));
        assert_eq!(take(&mut custody, path, "a\nb\nc", 100).await.shrunk, None);
        let mut custody = Custody::of(&memory(path));
        let shrunk = take(&mut custody, path, "a", 200).await.shrunk.unwrap();
        assert_eq!((shrunk.from, shrunk.to, shrunk.since), (3, 1, at(200)));
        let mut custody = Custody::of(&memory(path));
        assert_eq!(
            take(&mut custody, path, "a", 300).await.shrunk,
            Some(shrunk)
        );

        let accept = |source: &str| acceptance::accept(path, source, "jane", at(400));
        let unknown = accept("other").unwrap_err().to_string();
        assert!(unknown.contains("known are: a list/of names"), "{unknown}");
        let accepted = accept("a list/of names").unwrap().unwrap();
        assert_eq!((accepted.by.as_str(), accepted.at), ("jane", at(400)));
        assert_eq!(take(&mut custody, path, "a", 500).await.shrunk, None);
        assert_eq!(accept("a list/of names").unwrap(), None);
        // It was this loss that was accepted, and no later one.
        take(&mut custody, path, "a\nb\nc", 600).await;
        assert!(take(&mut custody, path, "a", 700).await.shrunk.is_some());
    }
}
