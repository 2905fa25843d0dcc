//! `pullproof retention plan`: which tags would go. Nothing is deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::registries::Registries;
use crate::app::retention::{self, Of, Planned, memory, record};
use crate::cli::gc::keep;
use crate::cli::given::GivenSources;
use crate::cli::output::{self, Output};
use crate::cli::terminal::{self, Paint};
use crate::cli::{Exit, Global};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Registry, RetentionMode, duration};
use crate::credential_source::Sources;
use crate::gc::refusal::{Code, Refusal};
use crate::registry::manifest_cache::InMemory;
use crate::registry::stats::Stats;
use crate::view::retention::{RetentionView, Told};

use super::table;

#[derive(Debug, clap::Args)]
pub struct PlanArguments {
    /// Whose tags, by the registry's host [default: the only one with a policy]
    #[arg(long, value_name = "HOST", env = "PULLPROOF_REGISTRY")]
    registry: Option<String>,
    #[command(flatten)]
    given: GivenSources,
    /// Remember the plan, for `retention.rehearsal`: `serve` does so by itself
    #[arg(long, env = "PULLPROOF_RECORD")]
    record: bool,
    #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
    output: Output,
}

pub async fn run(arguments: PlanArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, registry) =
        match global.about(|config| super::chosen(config, arguments.registry.as_deref())) {
            Ok(about) => about,
            Err(exit) => return Ok(exit),
        };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let planned = planned(&arguments.given, &config, &registry, &clock).await?;
    let (planned, remembered) = match planned {
        Ok(planned) => planned,
        Err(refusals) => {
            print(&arguments, &registry, None, &refusals)?;
            terminal::complain(
                "nothing is planned: what is needed, or what there is, is not known in full",
            );
            return Ok(Exit::Unknown);
        }
    };
    let mut refusals: Vec<Refusal> = retention::too_much(&planned, &registry)
        .into_iter()
        .collect();
    if registry.retention.mode == RetentionMode::Plan {
        let message = "`retention.mode` is `plan`: nothing is deleted";
        refusals.push(Refusal::new(Code::PlanOnly, message));
    }
    let after = record::with(&remembered, &planned, &registry);
    let told = Told {
        id: &planned.id,
        plan: &planned.plan,
        rehearsed: if arguments.record {
            &after.rehearsed
        } else {
            &remembered.rehearsed
        },
        retention: &registry.retention,
        now: clock.now(),
    };
    print(&arguments, &registry, Some(told), &refusals)?;
    if arguments.record {
        let written = {
            let (config, registry) = (config.clone(), registry.clone());
            let work = move || {
                let vault = memory::open(&config, &registry)?;
                record::write(&vault, &after)
            };
            tokio::task::spawn_blocking(work).await?
        };
        if let Err(refusal) = written {
            terminal::complain(&format!("the plan is not recorded: {refusal}"));
            return Ok(Exit::Unknown);
        }
        terminal::complain(&format!(
            "recorded the plan {}; what is in every plan for {} may be deleted",
            planned.id,
            duration::shown(registry.retention.rehearsal),
        ));
    }
    Ok(Exit::Done)
}

type Made = (Planned, record::Remembered);

/// The plan, and what was remembered before it; the inner error is why there is none.
pub(super) async fn planned(
    given: &GivenSources,
    config: &Config,
    registry: &Registry,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Result<Made, Vec<Refusal>>> {
    let kept = match keep::read(given, config, registry, clock, Vec::new()).await? {
        Ok(kept) => kept,
        Err(refusals) => return Ok(Err(refusals)),
    };
    // By a part of what is needed nothing is planned.
    if !kept.refusals.is_empty() {
        return Ok(Err(kept.refusals));
    }
    let remembered = {
        let (config, registry) = (config.clone(), registry.clone());
        let work = move || {
            let vault = memory::find(&config, &registry)?;
            record::read(vault.as_ref())
        };
        tokio::task::spawn_blocking(work).await?
    };
    let remembered = match remembered {
        Ok(remembered) => remembered,
        Err(refusal) => return Ok(Err(vec![refusal])),
    };
    let registries = registries(config, clock);
    let of = Of {
        registries: &registries,
        registry,
        clock,
        doubts: &BTreeMap::new(),
    };
    let planned = retention::plan(of, &kept, remembered.first_seen.clone()).await;
    Ok(match planned {
        Ok(planned) => Ok((planned, remembered)),
        Err(refusal) => Err(vec![refusal]),
    })
}

/// Whoever asks for a command that ends.
pub(in crate::cli) fn registries(config: &Config, clock: &Arc<dyn Clock>) -> Registries {
    Registries {
        config: Arc::new(config.clone()),
        named: std::collections::BTreeSet::new(),
        plain_http: std::collections::BTreeSet::new(),
        personal: Arc::default(),
        sources: Sources::default(),
        stats: Stats::default(),
        manifests: Arc::new(InMemory::default()),
        depth: None,
        memory: None,
        exchanges: None,
        clock: Arc::clone(clock),
    }
}

fn print(
    arguments: &PlanArguments,
    registry: &Registry,
    told: Option<Told<'_>>,
    refusals: &[Refusal],
) -> anyhow::Result<()> {
    let view = RetentionView::of(&registry.host, told, refusals);
    let text = output::structured(arguments.output, &view)?;
    let is_wide = arguments.output == Output::Wide;
    terminal::print(&text.unwrap_or_else(|| {
        table::plan(
            &registry.host,
            told.as_ref(),
            refusals,
            is_wide,
            Paint::for_stdout(),
        )
    }))
}
