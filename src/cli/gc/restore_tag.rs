//! `pullproof gc restore --tag`: a tag that retention deleted, with all that it needs.
//!
//! First what it needs goes back from quarantine, then its manifests are put, then they are read.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::run::{Common, carried_out, work};
use crate::app::collector::{Restore, Task};
use crate::app::retention::{asker, memory, record, removing};
use crate::cli::given::GivenSources;
use crate::cli::retention::plan::registries;
use crate::cli::terminal;
use crate::cli::{Exit, Global};
use crate::clock::{Clock, SystemClock};
use crate::collection::machine::Ending;
use crate::config::{Config, LogLevel, Mode, Registry};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::retention::removal::{Batch, Outcome, Removed};

pub(super) async fn run(tag: &str, common: &Common, global: &Global) -> anyhow::Result<Exit> {
    let (config, _) = match global.load() {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    global.start_log(&config, Some(LogLevel::Warn));
    let found = match chosen(&config, common.storage.as_deref(), tag) {
        Ok((registry, repository, tag)) => find(&config, registry, &repository, &tag).await?,
        Err(problem) => Err(problem),
    };
    let (registry, (place, number), mut batch, removed) = match found {
        Ok(found) => found,
        Err(problem) => {
            terminal::complain(&format!("error: {problem}"));
            return Ok(Exit::Usage);
        }
    };
    let name = format!("{}:{}", removed.repository, removed.tag);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if registry.storage.is_some() && registry.gc.mode != Mode::Plan {
        let restore = Restore::Digests(needs(&batch, removed.digest));
        let given = GivenSources::default();
        let work = work(
            config.clone(),
            registry.clone(),
            given,
            Arc::clone(&clock),
            Timestamp::MAX,
        );
        let report = carried_out(work, Task::Restore(restore)).await?;
        if report.ending != Some(Ending::Done) {
            let refusals = report.refusals.iter().map(ToString::to_string);
            let problems: Vec<String> = refusals.chain(report.failed).collect();
            terminal::complain(&format!(
                "error: what {name} needs could not be put back from quarantine: {}",
                problems.join("; ")
            ));
            return Ok(Exit::CouldNotRun);
        }
    }
    let registries = registries(&config, &clock);
    let asker = asker(&registries, &registry.host).await?;
    if let Err(problem) = removing::put_back(&asker, &batch, &removed).await {
        terminal::complain(&format!("error: {name} could not be put back: {problem}"));
        return Ok(Exit::CouldNotRun);
    }
    for it in &mut batch.removed {
        if (&it.repository, &it.tag) == (&removed.repository, &removed.tag) {
            it.outcome = Some(Outcome::Restored);
        }
    }
    let noted = {
        let registry = registry.clone();
        let write = move || {
            let places = memory::places(&config, &registry).map_err(|refusal| refusal.message)?;
            let vault = places.get(place).ok_or("it is not there any more")?;
            record::write_batch(vault, number, &batch)
        };
        tokio::task::spawn_blocking(write).await?
    };
    if let Err(problem) = noted {
        terminal::complain(&format!(
            "{name} is back, and that is not written down: {problem}"
        ));
    }
    let digest = removed.digest;
    terminal::print(&format!(
        "put back {name} ({digest}); `pullproof verify {}/{name} --depth read` proves all of it\n",
        registry.host
    ))?;
    Ok(Exit::Done)
}

/// Of whom it is; the error is the way out.
fn chosen<'a>(
    config: &'a Config,
    host: Option<&str>,
    tag: &str,
) -> Result<(&'a Registry, String, String), String> {
    let named = config.registries.iter().find_map(|registry| {
        let mut names = registry.names();
        let rest = names.find_map(|name| tag.strip_prefix(&format!("{name}/")));
        rest.map(|rest| (registry, rest))
    });
    let (registry, rest) = match (named, host) {
        (Some(found), _) => found,
        (None, Some(host)) => {
            let registry = config.registry(host);
            let none = || format!("no entry of `registries` has the host {host}");
            (registry.ok_or_else(none)?, tag)
        }
        (None, None) => {
            let mut all = config.retained();
            match (all.next(), all.next()) {
                (Some(registry), None) => (registry, tag),
                _ => {
                    return Err(format!(
                        "of which registry is {tag}? write it with its host, or say --storage HOST"
                    ));
                }
            }
        }
    };
    match rest.rsplit_once(':') {
        Some((repository, name)) if !repository.is_empty() && !name.is_empty() => {
            Ok((registry, repository.to_owned(), name.to_owned()))
        }
        _ => Err(format!(
            "`{tag}` is no tag: write REPOSITORY:TAG, as team/app:v1"
        )),
    }
}

/// With its place among those where deletions are remembered, and its number there.
type Found = (Registry, (usize, u32), Batch, Removed);

/// What is remembered of it; the inner error is that nothing is.
async fn find(
    config: &Config,
    registry: &Registry,
    repository: &str,
    tag: &str,
) -> anyhow::Result<Result<Found, String>> {
    let (config, registry) = (config.clone(), registry.clone());
    let (repository, tag) = (repository.to_owned(), tag.to_owned());
    let look = move || {
        let none = || {
            format!(
                "no deletion of {repository}:{tag} is remembered for {}",
                registry.host
            )
        };
        let places = memory::places(&config, &registry).map_err(|refusal| refusal.message)?;
        for (place, vault) in places.iter().enumerate() {
            if let Some((number, batch)) = record::find(vault, &repository, &tag)? {
                let removed = batch.find(&repository, &tag).cloned().ok_or_else(none)?;
                return Ok((registry, (place, number), batch, removed));
            }
        }
        Err(none())
    };
    Ok(tokio::task::spawn_blocking(look).await?)
}

/// Everything that a manifest leads to.
fn needs(batch: &Batch, root: Digest) -> BTreeSet<Digest> {
    let mut needs = BTreeSet::new();
    for digest in batch.in_order(root) {
        needs.insert(digest);
        let body = batch.manifests.get(&digest).map(String::as_bytes);
        if let Some(Ok(Manifest::Image { config, layers, .. })) =
            body.map(|body| Manifest::parse(body, None))
        {
            needs.insert(config.digest);
            needs.extend(layers.iter().map(|layer| layer.digest));
        }
    }
    needs
}
