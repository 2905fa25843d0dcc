//! `pullproof explain`: one image whole, or where one digest is.

pub mod asked;
pub mod drawing;
pub mod page;
pub mod sources;
pub mod storage;
pub mod text;
pub mod whom;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use self::page::Scene;
use self::sources::Sources;
use self::text::Measure;
use self::whom::{let_in, own_label};
use super::given::Given;
use super::output::{Output, structured};
use super::terminal::{self, Paint};
use super::verify::{self, DepthArgument};
use super::{Exit, Global};
use crate::app::explain::{self, Kept};
use crate::app::registries::Registries;
use crate::clock::{Clock, SystemClock};
use crate::config::LogLevel;
use crate::explain::known::{Known, Told};
use crate::explain::referrer::Referrers;
use crate::explain::view::{ExchangeView, Explain, ObjectView};
use crate::images::Images;
use crate::oci::digest::{Digest, InvalidDigest};
use crate::oci::platform::Platform;
use crate::oci::reference::{InvalidReference, Reference};
use crate::registry::exchange::Exchanges;
use crate::remembered::Remembered;
use crate::state::State;
use crate::verify::finding::Verdict;

/// Where there is no terminal: what a chat shows without breaking lines.
const WIDTH_DEFAULT: usize = 100;
const WIDTH_LEAST: usize = 60;

#[derive(Debug, clap::Args)]
pub struct ExplainArguments {
    /// An image reference; or a digest (sha256:…), looked for in all images of the inventory
    #[arg(value_name = "REF|DIGEST")]
    subject: Subject,
    #[command(flatten)]
    given: Given,
    /// How far objects are read: head asks for each and compares sizes, read takes a byte of each, and
    /// content hashes everything
    #[arg(long, default_value = "head", env = "PULLPROOF_DEPTH")]
    depth: DepthArgument,
    /// Only these platforms count; all are checked [default: those that are needed, else all]
    #[arg(long, value_name = "PLATFORM", env = "PULLPROOF_PLATFORM")]
    platform: Vec<Platform>,
    /// wide is the table with whole digests
    #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
    output: Output,
}

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Reference(Reference),
    Digest(Digest),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    #[error("{0}; a shortened one names nothing: `-o wide` and `-o json` show digests whole")]
    Digest(#[from] InvalidDigest),
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `sha256:v1` is an image of Docker Hub's; what looks like a part of a digest was meant as one.
        let looks_like_digest = text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() >= 8 && hex.chars().all(|c| c.is_ascii_hexdigit() || c == '…')
        });
        if looks_like_digest {
            return Ok(Self::Digest(text.parse()?));
        }
        Ok(Self::Reference(text.parse()?))
    }
}

pub async fn run(arguments: ExplainArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, _) = match global.load() {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    global.start_log(&config, Some(LogLevel::Warn));
    let ExplainArguments {
        mut subject,
        given,
        depth,
        platform,
        output,
    } = arguments;
    if let Subject::Reference(reference) = &mut subject
        && let Some(canonical) = config.aliases().canonical(reference)
    {
        *reference = canonical;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let storages = match &subject {
        Subject::Digest(digest) => storage::look(digest, &given.sources, &config, &clock).await?,
        Subject::Reference(_) => Vec::new(),
    };
    let sources = Sources::read(&subject, &given.sources, &config, &clock).await?;
    let manifests = Kept::new(verify::manifest_cache(&config));
    let exchanges = Arc::new(Exchanges::default());
    let mut registries = Registries {
        depth: Some(depth.into()),
        manifests: Arc::clone(&manifests) as _,
        exchanges: Some(Arc::clone(&exchanges)),
        ..given.registries(config, &sources.wanted, &sources.proven, &clock)?
    };
    if let Subject::Reference(reference) = &subject {
        // Whoever typed it means it, wherever it is.
        registries.named.insert(reference.host().to_owned());
    }
    let mut images = registries.images_on(&platform, &sources.proven);
    if let Subject::Reference(reference) = &subject {
        images = explain::only(&images, reference);
    }
    let started = Instant::now();
    let round = explain(&subject, images, &registries, &manifests, &sources).await;
    let (known, referrers) = round;
    let label = |exchange: &_| {
        let own = own_label(&registries.config, &subject, exchange);
        explain::label(exchange, &known.images.images, own)
    };
    let exchanges = exchanges.list();
    let exchanges = exchanges.iter().map(|one| ExchangeView::of(one, &label));
    let blank = Explain {
        depth: depth.into(),
        duration_seconds: started.elapsed().as_secs_f64(),
        referrers,
        exchanges: exchanges.collect(),
        inventory: known.inventory_state(),
        storages,
        ..Explain::default()
    };
    let (mut told, host) = match &subject {
        Subject::Reference(reference) => (
            known.reference(reference, blank),
            Some(registries.endpoint(reference.host()).authority()),
        ),
        Subject::Digest(digest) => (known.digest(digest, blank), None),
    };
    told.view.credential = let_in(&told.view.exchanges, host.as_deref());
    told.view.tree = told.tree.map(ObjectView::from);
    let view = &told.view;
    let text = structured(output, view)?.unwrap_or_else(|| {
        let host = host.unwrap_or_default();
        shown(&subject, &told, &host, output, clock.now())
    });
    terminal::print(&text)?;
    Ok(exit(view))
}

/// Proves the images and looks for what refers to them.
async fn explain<'a>(
    subject: &Subject,
    images: Images,
    registries: &Registries,
    manifests: &Kept,
    sources: &'a Sources,
) -> (Known<'a>, Referrers) {
    let images = Arc::new(images);
    let bar = verify::progress_bar();
    let wants_referrers = matches!(subject, Subject::Reference(_));
    let on_progress = verify::shown_by(&bar);
    let explained = explain::prove(
        &images,
        registries,
        manifests,
        wants_referrers,
        &on_progress,
    );
    let explained = explained.await;
    bar.finish_and_clear();
    let mut state = State::new(Remembered::default(), None);
    state.set_inventory(&sources.proven, Arc::clone(&images));
    let mut trees = HashMap::new();
    let mut referrers = Referrers::default();
    for one in explained {
        state.record(one.round);
        trees.extend(one.trees);
        referrers = one.referrers.unwrap_or(referrers);
    }
    let known = Known {
        states: state.snapshot(registries.clock.now()).images,
        images,
        trees,
        inventory: sources.asked.then_some(&sources.inventory),
    };
    (known, referrers)
}

fn shown(subject: &Subject, told: &Told<'_>, host: &str, output: Output, now: Timestamp) -> String {
    let tag = match subject {
        Subject::Reference(reference) => reference.tag().filter(|_| reference.digest().is_none()),
        Subject::Digest(_) => None,
    };
    page::page(&Scene {
        view: &told.view,
        tree: told.tree,
        trees: &told.trees,
        tag,
        host,
        at: &now.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        measure: Measure {
            width: width(),
            whole_digests: output == Output::Wide,
        },
        paint: Paint::for_stdout(),
    })
}

/// As `verify` does: broken, or something that is not known, an incomplete source among it.
fn exit(view: &Explain) -> Exit {
    let is_complete = view.inventory.as_ref().is_none_or(|one| one.complete);
    match view.verdict {
        Verdict::Broken => Exit::Broken,
        Verdict::Pullable if is_complete => Exit::Done,
        Verdict::Pullable | Verdict::Unknown => Exit::Unknown,
    }
}

fn width() -> usize {
    let told = terminal::environment("COLUMNS").and_then(|columns| columns.parse().ok());
    let terminal = || {
        terminal_size::terminal_size_of(std::io::stdout())
            .map(|(terminal_size::Width(width), _)| usize::from(width))
    };
    told.or_else(terminal)
        .unwrap_or(WIDTH_DEFAULT)
        .max(WIDTH_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_told_from_a_reference_and_a_short_one_from_both() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(matches!(
            format!("sha256:{hex}").parse(),
            Ok(Subject::Digest(_))
        ));
        for text in [
            "sha256:v1".to_owned(),
            format!("registry.example/a@sha256:{hex}"),
            "registry.example/a:1".to_owned(),
        ] {
            assert!(matches!(text.parse(), Ok(Subject::Reference(_))), "{text}");
        }
        for text in ["sha256:e3b0c44298fc", "sha256:e3b0c44298fc…"] {
            let error = text.parse::<Subject>().unwrap_err().to_string();
            assert!(error.contains("-o json"), "{error}");
        }
    }
}
