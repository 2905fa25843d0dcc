//! The real client and prover in front of a scripted registry, as `app::once` puts them together.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use pullproof::clock::Clock;
use pullproof::credential_source::Fixed;
use pullproof::credentials::Credential;
use pullproof::images::{Image, ImageKey, Puller, PullerKey};
use pullproof::oci::platform::Platform;
use pullproof::oci::reference::Reference;
use pullproof::prover::Prover;
use pullproof::registry::address::AddressPolicy;
use pullproof::registry::client::Client;
use pullproof::registry::manifest_cache::{InMemory, ManifestCache};
use pullproof::registry::retry::Patience;
use pullproof::registry::stats::Stats;
use pullproof::registry::transport::{ClientOptions, Deadlines};
use pullproof::verify::target::{Cadence, Needs};

use crate::support::scripted::tokens::{PASSWORD, USER};
use crate::support::scripted::{REGISTRY, Scripted};

/// A clock whose hands only a test moves.
#[derive(Debug)]
pub(super) struct HandClock(Mutex<Timestamp>);

impl HandClock {
    pub(super) fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().expect("nobody panics while holding it");
        *now = now.saturating_add(by).expect("far from the end of time");
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("nobody panics while holding it")
    }
}

/// The hands stand here at first.
pub(super) const NOON: &str = "2026-11-21T12:00:00Z";

pub(super) fn clock() -> Arc<HandClock> {
    Arc::new(HandClock(Mutex::new(NOON.parse().expect("a time"))))
}

pub(super) const CADENCE: Cadence = Cadence {
    interval: SignedDuration::from_mins(10),
    blob_interval: SignedDuration::from_mins(60),
};

/// How the registry is reached.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// By its name, with the scripted registry as the proxy that plays every host.
    Named,
    /// By the address that it listens on, or by another name of the same.
    Dialled {
        scheme: &'static str,
        name: &'static str,
    },
    /// This URL, whatever is there.
    Url(String),
}

/// Everything about the client that a case may change.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) way: Way,
    /// A host that nobody listed.
    pub(super) is_guarded: bool,
    pub(super) has_credential: bool,
    pub(super) token_realms: Vec<String>,
    pub(super) authorities: Vec<Bytes>,
    pub(super) deadlines: Deadlines,
    pub(super) patience: Patience,
    pub(super) concurrency: usize,
    pub(super) manifests: Arc<dyn ManifestCache>,
}

impl Default for Setup {
    /// Deadlines that nothing honest misses, also on a machine that does much else.
    fn default() -> Self {
        let long = Duration::from_secs(60);
        Self {
            way: Way::Named,
            is_guarded: false,
            has_credential: false,
            token_realms: Vec::new(),
            authorities: Vec::new(),
            deadlines: Deadlines {
                connect: long,
                idle: long,
                total: long,
            },
            patience: QUICK,
            concurrency: 8,
            manifests: Arc::new(InMemory::default()),
        }
    }
}

/// Three attempts, as in production, a thousand times quicker.
pub(super) const QUICK: Patience = Patience {
    first_delay: Duration::from_millis(1),
    longest_delay: Duration::from_millis(5),
    attempts: 3,
    retry_after_max: Duration::from_millis(20),
    pause: Duration::from_micros(100),
};

/// For faults that only a deadline ends: an honest answer may miss these too, which is `unknown`.
pub(super) const SHORT: Deadlines = Deadlines {
    connect: Duration::from_millis(150),
    idle: Duration::from_millis(100),
    total: Duration::from_millis(150),
};

impl Setup {
    pub(super) fn client(
        &self,
        server: &Scripted,
        stats: &Stats,
        clock: &Arc<HandClock>,
    ) -> Client {
        crate::support::http::install_crypto_provider();
        let address = server.address();
        let base = match &self.way {
            Way::Named => format!("http://{REGISTRY}"),
            Way::Dialled { scheme, name: "" } => format!("{scheme}://{address}"),
            Way::Dialled { scheme, name } => format!("{scheme}://{name}:{}", address.port()),
            Way::Url(url) => url.clone(),
        };
        let policy = AddressPolicy {
            cluster: ["10.96.0.0/12".parse().expect("a network")].into(),
            ..AddressPolicy::default()
        };
        let is_named = matches!(self.way, Way::Named);
        let options = ClientOptions {
            host: REGISTRY.into(),
            base: base.parse().expect("a URL"),
            guard: self.is_guarded.then(|| policy.clone()),
            elsewhere: policy,
            authorities: self.authorities.clone(),
            client_certificate: None,
            proxy: is_named.then(|| format!("http://{address}").parse().expect("a URL")),
            token_realms: self.token_realms.clone(),
            concurrency: self.concurrency,
            requests_per_second: None,
            quota_share: None,
            exchanges: None,
            deadlines: self.deadlines,
            patience: self.patience,
        };
        let manifests = Arc::clone(&self.manifests);
        let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
        Client::new(options, stats.clone(), manifests, clock).expect("a client can be made")
    }

    pub(super) fn prover(
        &self,
        server: &Scripted,
        stats: &Stats,
        clock: &Arc<HandClock>,
    ) -> Prover {
        let client = Arc::new(self.client(server, stats, clock));
        let own = Arc::new(Fixed::default());
        Prover::new(REGISTRY.into(), client, CADENCE, own)
    }

    /// An image as the inventory would name it.
    pub(super) fn image(&self, reference: &str, needs: Needs) -> Arc<Image> {
        let credentials = vec![Arc::new(Credential::new(
            USER.to_owned(),
            PASSWORD.to_owned().into(),
            None,
            None,
        ))];
        let (puller, key) = if self.has_credential {
            let key = PullerKey::Secrets(vec![credentials[0].id().to_owned()]);
            let puller = Puller::Secrets {
                label: "team/pull".into(),
                credentials,
                lack: None,
            };
            (puller, key)
        } else {
            (Puller::Own, PullerKey::Own)
        };
        let reference: Reference = reference.parse().expect("a reference");
        Arc::new(Image {
            name: reference.to_string().into(),
            registry: reference.host().into(),
            key: Arc::new(ImageKey {
                reference,
                puller: key.into(),
            }),
            puller: puller.into(),
            needs,
            users: [].into(),
            running: None,
        })
    }
}

pub(super) fn needs(platforms: &[&str]) -> Needs {
    let parse = |platform: &&str| -> Platform { platform.parse().expect("a platform") };
    Needs::These(platforms.iter().map(parse).collect())
}
