//! What the registry of a storage is: as it is configured, or else as it answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::registries::Registries;
use crate::clock::Clock;
use crate::config::{Config, Registry, RegistryKind};
use crate::credential_source::Sources;
use crate::credentials::DockerConfig;
use crate::gc::refusal::{Code, Refusal};
use crate::registry::kind::Kind;
use crate::registry::manifest_cache::InMemory;
use crate::registry::stats::Stats;
use crate::storage::owner::Owner;

/// What it is, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub kind: Kind,
    /// Why it is not known.
    pub problem: Option<String>,
    is_configured: bool,
}

/// Asks where the configuration does not say.
pub async fn of(
    config: &Config,
    registry: &Registry,
    stats: &Stats,
    clock: &Arc<dyn Clock>,
) -> Known {
    let configured = match registry.kind {
        RegistryKind::Auto => None,
        RegistryKind::Distribution => Some(Kind::Distribution),
        RegistryKind::Zot => Some(Kind::Zot),
        RegistryKind::Harbor => Some(Kind::Harbor),
    };
    if let Some(kind) = configured {
        return Known {
            kind,
            problem: None,
            is_configured: true,
        };
    }
    let (kind, problem) = match ask(config, registry, stats, clock).await {
        Ok(kind) => (kind, None),
        Err(problem) => (Kind::Unknown, Some(problem)),
    };
    Known {
        kind,
        problem,
        is_configured: false,
    }
}

async fn ask(
    config: &Config,
    registry: &Registry,
    stats: &Stats,
    clock: &Arc<dyn Clock>,
) -> Result<Kind, String> {
    let registries = Registries {
        config: Arc::new(config.clone()),
        named: BTreeSet::new(),
        plain_http: BTreeSet::new(),
        personal: Arc::new(DockerConfig::default()),
        sources: Sources::default(),
        stats: stats.clone(),
        manifests: Arc::new(InMemory::default()),
        depth: None,
        memory: None,
        exchanges: None,
        clock: Arc::clone(clock),
    };
    let client = registries.client(&registry.host.as_str().into(), Some(registry));
    let client = client.map_err(|error| format!("{error:#}"))?;
    client.kind().await
}

impl Known {
    /// Why nothing is planned for its storage, if it decides itself what is garbage.
    pub fn refusal(&self, registry: &Registry) -> Option<Refusal> {
        let owner = match self.kind {
            Kind::Zot => Owner::Zot,
            Kind::Harbor => Owner::Harbor,
            Kind::Distribution | Kind::Unknown => return None,
        };
        let how = if self.is_configured {
            "its `kind` is configured"
        } else {
            "by its answers; `kind: distribution` says that it is not"
        };
        let message = format!("{}: {} ({how})", registry.host, owner.words());
        Some(Refusal::new(Code::StorageUnsupported, message))
    }

    /// What to be warned of beside a plan.
    pub fn warning(&self, registry: &Registry) -> Option<String> {
        let problem = self.problem.as_ref()?;
        Some(format!(
            "{} was asked what it is, and that failed: {problem}; the plan goes by its storage alone, where \
             Harbor looks like any registry: set `kind` in its entry",
            registry.host
        ))
    }
}
