//! The keep-set, as a command that ends knows it.

use std::sync::Arc;

use crate::app::kept;
use crate::app::plan::Kept;
use crate::cli::given::GivenSources;
use crate::clock::Clock;
use crate::config::{Config, Registry};
use crate::gc::refusal::Refusal;
use crate::inventory::keepset::LedTo;

/// Reads all sources; the refusals where they are not the whole truth. `copied` is what references led to by
/// the copy beside a journal.
pub(in crate::cli) async fn read(
    given: &GivenSources,
    config: &Config,
    registry: &Registry,
    clock: &Arc<dyn Clock>,
    copied: Vec<LedTo>,
) -> anyhow::Result<Result<Kept, Vec<Refusal>>> {
    let wanted = given.wanted(&[], config)?;
    let led_to = kept::led_to(config).await;
    let led_to = led_to.map(|known| known.into_iter().chain(copied).collect());
    Ok(kept::read(&wanted, config, registry, clock, led_to).await)
}
