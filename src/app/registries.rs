//! From the configuration to the clients of registries: how each host is dialled, by whom, how hard.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use jiff::SignedDuration;
use secrecy::SecretString;

use crate::clock::Clock;
use crate::config::endpoint::{Endpoint, Scheme};
use crate::config::{self, Config, NeededPlatforms};
use crate::credential_source::Sources;
use crate::credentials::DockerConfig;
use crate::images::{self, Images, PlatformChoice};
use crate::inventory::Inventory;
use crate::mirrors;
use crate::oci::platform::Platform;
use crate::prover::Prover;
use crate::registry::address::AddressPolicy;
use crate::registry::client::Client;
use crate::registry::exchange::Exchanges;
use crate::registry::manifest_cache::ManifestCache;
use crate::registry::quota;
use crate::registry::retry::Patience;
use crate::registry::stats::Stats;
use crate::registry::transport::{ClientOptions, Deadlines};
use crate::remembered::RegistryMemory;
use crate::store::Store;
use crate::verify::depth::{Depth, Policy, Rotation};
use crate::verify::suspects::Suspects;
use crate::verify::target::Cadence;

mod own;

/// Hosts without an entry are somebody else's: asked hourly, few at a time.
const GENTLE_INTERVAL: SignedDuration = SignedDuration::from_secs(3600);
const GENTLE_CONCURRENCY: usize = 4;
/// A host that the operator named on the command line.
const NAMED_CONCURRENCY: usize = 8;
const ENTRY_CONCURRENCY: usize = 32;

/// Makes the provers of registries.
#[derive(Debug, Clone)]
pub struct Registries {
    pub config: Arc<Config>,
    /// Hosts that an operator named outside the configuration: these may be at any address.
    pub named: BTreeSet<String>,
    /// Of them, those that speak plain HTTP.
    pub plain_http: BTreeSet<String>,
    /// Credentials of the person at the command line; a daemon has none.
    pub personal: Arc<DockerConfig>,
    pub sources: Sources,
    pub stats: Stats,
    pub manifests: Arc<dyn ManifestCache>,
    /// Everything at this depth, once, whatever the configuration says. A daemon has none.
    pub depth: Option<Depth>,
    /// What was remembered of each registry.
    pub memory: Option<Arc<Store>>,
    /// Where requests are noted. A daemon notes none.
    pub exchanges: Option<Arc<Exchanges>>,
    pub clock: Arc<dyn Clock>,
}

impl Registries {
    pub fn cadence(&self, host: &str) -> Cadence {
        let verify = match self.config.registry(host) {
            Some(registry) => &registry.verify,
            None if self.is_named(host) => &self.config.verify,
            None => {
                let interval = GENTLE_INTERVAL.max(duration(self.config.verify.interval));
                let blob_interval = interval.max(duration(self.config.verify.blob_interval));
                return Cadence {
                    interval,
                    blob_interval,
                };
            }
        };
        Cadence {
            interval: duration(verify.interval),
            blob_interval: duration(verify.blob_interval),
        }
    }

    /// How far objects of this host are read.
    pub fn policy(&self, host: &str) -> Policy {
        if let Some(depth) = self.depth {
            return Policy {
                depth,
                ..Policy::default()
            };
        }
        let (verify, has_entry) = match self.config.registry(host) {
            Some(registry) => (&registry.verify, true),
            None if self.is_named(host) => (&self.config.verify, false),
            // Somebody else's: nothing is read there that is not needed.
            None => return Policy::default(),
        };
        Policy {
            depth: verify.depth,
            share_rounds: Some(verify.read_share)
                .filter(|_| has_entry)
                .and_then(rounds_of_share),
            content_budget: Some(verify.content_budget),
        }
    }

    /// What a registry was remembered by.
    pub fn remembered(&self, host: &str) -> RegistryMemory {
        let memory = self.memory.as_ref().map(|store| store.registry(host));
        match memory {
            Some(Ok(memory)) => memory.unwrap_or_default(),
            Some(Err(error)) => {
                tracing::warn!(%error, host, "what was read of it before is not known; the rotation begins anew");
                RegistryMemory::default()
            }
            None => RegistryMemory::default(),
        }
    }

    /// Which platforms count for images of this host.
    pub fn platforms(&self, host: &str) -> PlatformChoice {
        let verify = self
            .config
            .registry(host)
            .map_or(&self.config.verify, |registry| &registry.verify);
        match &verify.platforms {
            NeededPlatforms::Needed => PlatformChoice::Needed,
            NeededPlatforms::All => PlatformChoice::All,
            NeededPlatforms::Only(platforms) => PlatformChoice::These(platforms.as_slice().into()),
        }
    }

    /// All images of an inventory, with every endpoint that has them.
    pub fn images(&self, inventory: &Inventory) -> Images {
        self.images_on(&[], inventory)
    }

    /// The same, where only these platforms count, whatever the configuration says; where none is
    /// named, it says.
    pub fn images_on(&self, platforms: &[Platform], inventory: &Inventory) -> Images {
        let choose = |host: &str| {
            if platforms.is_empty() {
                self.platforms(host)
            } else {
                PlatformChoice::These(platforms.into())
            }
        };
        let images = images::collect_by(inventory, &choose, &self.config.aliases());
        mirrors::with_endpoints(images, &self.config.mirrors())
    }

    /// The prover of a host. An error means that it cannot be asked at all, and says why.
    pub fn prover(
        &self,
        host: &Arc<str>,
        rotation: Rotation,
        suspects: Arc<Suspects>,
    ) -> anyhow::Result<Prover> {
        let entry = self.config.registry(host);
        let client = self.client(host, entry)?;
        let own = self.sources.of_host(host, || {
            own::source(host, entry, &self.personal, &self.clock)
        })?;
        let prover = Prover::new(Arc::clone(host), Arc::new(client), self.cadence(host), own);
        Ok(prover.reading(self.policy(host), rotation, suspects))
    }

    /// Whether this host's tags are listed: a daemon asks for them only what the operator runs.
    pub fn lists_tags(&self, host: &str) -> bool {
        self.config.registry(host).is_some()
    }

    /// Whether an operator named it, although it has no entry.
    fn is_named(&self, host: &str) -> bool {
        let mut rules = self
            .config
            .registries
            .iter()
            .flat_map(|entry| &entry.mirrors);
        self.named.contains(host) || rules.any(|rule| rule.mirror.host == host)
    }

    /// The hosts that the operator named, as they are dialled.
    fn listed(&self) -> BTreeSet<String> {
        let entries = self.config.registries.iter();
        let endpoints = entries.clone().map(|entry| entry.endpoint.authority());
        let rules = entries.clone().flat_map(|entry| &entry.mirrors);
        let mirrors = rules.map(|rule| rule.mirror.host.clone());
        let hosts = entries.flat_map(|entry| entry.names().cloned());
        hosts
            .chain(mirrors)
            .chain(endpoints)
            .chain(self.plain_http.iter().cloned())
            .collect()
    }

    /// Where a host is dialled.
    pub fn endpoint(&self, host: &str) -> Endpoint {
        if self.plain_http.contains(host) {
            return Endpoint::of_host(host, Scheme::Http);
        }
        let entry = self.config.registry(host);
        entry.map_or_else(
            || Endpoint::of_host(host, Scheme::Https),
            |entry| entry.endpoint.clone(),
        )
    }

    pub(super) fn client(
        &self,
        host: &Arc<str>,
        entry: Option<&config::Registry>,
    ) -> anyhow::Result<Client> {
        let is_plain = self.plain_http.contains(&**host);
        let endpoint = self.endpoint(host);
        let policy = AddressPolicy {
            cluster: self.config.network.cluster_cidrs.as_slice().into(),
            listed: Arc::new(self.listed()),
        };
        let is_named = self.is_named(host) || is_plain;
        let concurrency = match entry {
            Some(entry) => entry.max_concurrency as usize,
            None if is_plain => ENTRY_CONCURRENCY,
            None if is_named => NAMED_CONCURRENCY,
            None => GENTLE_CONCURRENCY,
        };
        let authorities = entry
            .and_then(|entry| entry.tls.ca.as_deref())
            .map(read)
            .transpose()?;
        let certificate = entry.and_then(|entry| entry.tls.client_certificate.as_ref());
        let client_certificate = certificate
            .map(|certificate| -> anyhow::Result<SecretString> {
                let pem = [read(&certificate.file)?, read(&certificate.key_file)?].concat();
                let pem = String::from_utf8(pem).context("a client certificate is not PEM")?;
                Ok(pem.into())
            })
            .transpose()?;
        let options = ClientOptions {
            host: Arc::clone(host),
            base: endpoint
                .to_string()
                .parse()
                .context("the endpoint is no URL")?,
            guard: (entry.is_none() && !is_named).then(|| policy.clone()),
            elsewhere: policy,
            authorities: authorities.into_iter().collect(),
            client_certificate,
            proxy: entry
                .and_then(|entry| entry.proxy.as_ref())
                .map(|proxy| proxy.to_string().parse())
                .transpose()
                .context("the proxy is no URL")?,
            token_realms: entry
                .map(|entry| entry.token_realms.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            concurrency,
            requests_per_second: entry.and_then(|entry| entry.requests_per_second),
            // What has no entry is somebody else's. Who names it in a command that runs once wants to know
            // now; the floor is kept then too.
            quota_share: (entry.is_none() && !(self.depth.is_some() && self.is_named(host)))
                .then_some(quota::SHARE),
            deadlines: Deadlines::default(),
            patience: Patience::default(),
            exchanges: self.exchanges.clone(),
        };
        let client = Client::new(
            options,
            self.stats.clone(),
            Arc::clone(&self.manifests),
            Arc::clone(&self.clock),
        );
        client.with_context(|| format!("making the client for {host}"))
    }
}

/// In how many rounds all is read, if this part of it is in each.
fn rounds_of_share(share: f64) -> Option<NonZeroU32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates"
    )]
    let rounds = share.recip().ceil() as u32;
    NonZeroU32::new(rounds).filter(|_| share > 0.0)
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(content.into())
}

/// Reads a docker config file. What it cannot use of it is said once.
pub fn read_docker_config(path: &Path) -> anyhow::Result<DockerConfig> {
    let config =
        DockerConfig::parse(&read(path)?).with_context(|| format!("reading {}", path.display()))?;
    for warning in config.keyring.warnings() {
        tracing::warn!(file = %path.display(), "{warning}");
    }
    Ok(config)
}

fn duration(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
