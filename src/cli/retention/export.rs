//! `pullproof retention export`: what is needed, for registries that delete by their own rules.

use std::sync::Arc;

use clap::ValueEnum;

use crate::cli::gc::keep;
use crate::cli::given::GivenSources;
use crate::cli::terminal;
use crate::cli::{Exit, Global};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Registry};
use crate::retention::export::{self, Form};

#[derive(Debug, clap::Args)]
pub struct ExportArguments {
    /// Whose images, by the registry's host [default: the only entry of `registries`]
    #[arg(long, value_name = "HOST", env = "PULLPROOF_REGISTRY")]
    registry: Option<String>,
    #[command(flatten)]
    given: GivenSources,
    /// For whom it is written
    #[arg(
        long = "for",
        value_name = "FORM",
        default_value = "text",
        env = "PULLPROOF_FOR"
    )]
    form: Wanted,
    /// For `harbor-labels`: the ID of the label
    #[arg(long, value_name = "ID", default_value = "1", env = "PULLPROOF_LABEL")]
    label: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    // A reference a line.
    Text,
    Json,
    // `werf cleanup --keep-list`
    Werf,
    // Rules of immutable tags.
    Harbor,
    HarborLabels,
    // Tags for a lifecycle rule.
    Ecr,
    // Locks.
    Azure,
}

impl From<Wanted> for Form {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Text => Self::Text,
            Wanted::Json => Self::Json,
            Wanted::Werf => Self::Werf,
            Wanted::Harbor => Self::Harbor,
            Wanted::HarborLabels => Self::HarborLabels,
            Wanted::Ecr => Self::Ecr,
            Wanted::Azure => Self::Azure,
        }
    }
}

pub async fn run(arguments: ExportArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, registry) =
        match global.about(|config| chosen(config, arguments.registry.as_deref())) {
            Ok(about) => about,
            Err(exit) => return Ok(exit),
        };
    let registry = &registry;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let kept = keep::read(&arguments.given, &config, registry, &clock, Vec::new()).await?;
    let (kept, refusals) = match kept {
        Ok(kept) if kept.refusals.is_empty() => (Some(kept), Vec::new()),
        Ok(kept) => (None, kept.refusals),
        Err(refusals) => (None, refusals),
    };
    let Some(kept) = kept else {
        for refusal in refusals {
            terminal::complain(&format!("refused: {refusal}"));
        }
        // A part of it would look like all of it to whoever deletes the rest.
        terminal::complain("nothing is written: what is needed is not known in full");
        return Ok(Exit::Unknown);
    };
    let is_own = |host: &str| config.leads_to(host, registry);
    let form = arguments.form.into();
    terminal::print(&export::export(
        &kept.set,
        &registry.host,
        &is_own,
        form,
        &arguments.label,
    ))?;
    Ok(Exit::Done)
}

fn chosen<'a>(config: &'a Config, host: Option<&str>) -> Result<&'a Registry, String> {
    if let Some(host) = host {
        let none = || format!("no entry of `registries` has the host {host}");
        return config.registry(host).ok_or_else(none);
    }
    match config.registries.as_slice() {
        [registry] => Ok(registry),
        [] => Err(
            "no registry is configured; write in the configuration\n  registries:\n    - host: registry.example:5000"
                .to_owned(),
        ),
        all => {
            let hosts: Vec<&str> = all.iter().map(|it| it.host.as_str()).collect();
            Err(format!(
                "there are several registries: say which with --registry, one of {}",
                hosts.join(", ")
            ))
        }
    }
}
