//! What a collection would take of the demo's registry, which was told nothing of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;

use crate::app::plan::Kept;
use crate::cli::explain::text::{counted, size};
use crate::cli::gc::keep;
use crate::cli::gc::plan::planned;
use crate::cli::given::GivenSources;
use crate::cli::terminal::Paint;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;

/// As it is told in the story.
pub(super) async fn text(config: &Config, paint: Paint) -> anyhow::Result<String> {
    let registry = config
        .registries
        .first()
        .context("the demo has a registry")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let kept = keep::read(
        &GivenSources::default(),
        config,
        registry,
        &clock,
        Vec::new(),
    )
    .await?;
    let Kept { needed, .. } = kept.map_err(|refusals| anyhow::anyhow!("no plan: {refusals:?}"))?;
    let planned = planned(config, registry, needed, clock.now()).await?;
    let plan = planned
        .plan
        .map_err(|refusal| anyhow::anyhow!("no plan: {refusal}"))?;
    let counts = plan.counts();
    let mut text = format!(
        "{}      A collection that knows what is needed would take {} of {}, {} of {}:",
        paint.bold("plan"),
        counts.garbage_blobs,
        counted(counts.blobs, "blob", "blobs"),
        size(counts.garbage_bytes),
        size(counts.bytes),
    );
    for of in plan.repositories().into_iter().filter(|of| of.garbage > 0) {
        let freed = size(of.garbage_own_bytes + of.garbage_shared_bytes);
        let of_it = plan.garbage().filter(|it| it.repository == Some(of.name));
        let before: BTreeSet<&str> = of_it.filter_map(|it| it.tag.map(|tag| &**tag)).collect();
        let before: Vec<&str> = before.into_iter().collect();
        let why = if before.is_empty() {
            "no tag and no workload leads to it".to_owned()
        } else {
            format!(
                "what {} named before, and no workload needs",
                before.join(" and ")
            )
        };
        text.push_str(&format!("\n  {}: {freed}, {why}", of.name));
    }
    text.push_str(
        "\n  Every platform's image below a tag stays, and so does what a workload pins by digest. A plan touches nothing.",
    );
    Ok(text)
}
