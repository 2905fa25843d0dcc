//! Rounds over one registry, as the daemon makes them, by a clock that the test sets.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use pullproof::app::registries::Registries;
use pullproof::clock::Clock;
use pullproof::config::{self, Config};
use pullproof::images::{self, Image, PlatformChoice};
use pullproof::inventory::{Inventory, references};
use pullproof::prover::Prover;
use pullproof::registry::manifest_cache::InMemory;
use pullproof::registry::stats::Stats;
use pullproof::state::RoundResult;
use pullproof::verify::depth::Rotation;
use pullproof::verify::finding::{Code, Verdict};

use crate::support::http;

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub(crate) struct Hands(Mutex<Timestamp>);

impl Default for Hands {
    fn default() -> Self {
        Self(Mutex::new(Timestamp::from_second(1_800_000_000).unwrap()))
    }
}

impl Hands {
    pub(crate) fn turn(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        *now += SignedDuration::from_secs(seconds);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// What a daemon has of registries: it lasts over rounds, and over provers.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) hands: Arc<Hands>,
    pub(crate) registries: Registries,
}

/// What one round found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) pullable: usize,
    /// The first finding of each image that is not pullable.
    pub(crate) others: Vec<(Code, String)>,
}

impl Found {
    /// All that is not pullable is so for this reason.
    pub(crate) fn is_only(&self, code: Code) -> bool {
        !self.others.is_empty() && self.others.iter().all(|(other, _)| *other == code)
    }
}

impl Desk {
    /// Hosts that somebody named, and that have no entry.
    pub(crate) fn without_entries(hands: &Arc<Hands>, hosts: &[String]) -> Self {
        Self::new(hands, Config::default(), hosts)
    }

    /// Hosts with an entry.
    pub(crate) fn with_entries(hands: &Arc<Hands>, hosts: &[String]) -> Self {
        let entries: Vec<String> = hosts
            .iter()
            .map(|host| format!("{{host: \"{host}\", plainHttp: true}}"))
            .collect();
        let text = format!("registries: [{}]", entries.join(", "));
        let config = config::parse(&text, "test.yaml", Path::new("/")).unwrap();
        Self::new(hands, config, &[])
    }

    fn new(hands: &Arc<Hands>, config: Config, plain: &[String]) -> Self {
        http::install_crypto_provider();
        let plain_http: BTreeSet<String> = plain.iter().cloned().collect();
        Self {
            hands: Arc::clone(hands),
            registries: Registries {
                config: Arc::new(config),
                named: plain_http.clone(),
                plain_http,
                personal: Arc::default(),
                sources: pullproof::credential_source::Sources::default(),
                depth: None,
                memory: None,
                exchanges: None,
                stats: Stats::default(),
                manifests: Arc::new(InMemory::default()),
                clock: Arc::clone(hands) as Arc<dyn Clock>,
            },
        }
    }

    pub(crate) fn prover(&self, host: &str) -> Prover {
        self.registries
            .prover(&host.into(), Rotation::default(), Arc::default())
            .unwrap()
    }

    pub(crate) fn limit(&self, host: &str) -> usize {
        let hosts = &self.registries.stats.hosts;
        hosts.concurrency_limit(host).unwrap()
    }

    /// One round over these images.
    pub(crate) async fn round(&self, prover: &mut Prover, images: &[Arc<Image>]) -> Found {
        let clock = Arc::clone(&self.hands) as Arc<dyn Clock>;
        let result: RoundResult = prover.round(images, true, &clock, &|_| {}).await;
        let mut found = Found {
            pullable: 0,
            others: Vec::new(),
        };
        for (_, _, report) in result.reports {
            if report.verdict == Verdict::Pullable {
                found.pullable += 1;
            } else {
                let first = &report.findings[0];
                found.others.push((first.code, first.message.clone()));
            }
        }
        found
    }
}

/// The images of these references.
pub(crate) fn images(references: &[String]) -> Vec<Arc<Image>> {
    let now = Timestamp::UNIX_EPOCH;
    let source = references::read_text("list", &references.join("\n"), now);
    let inventory = Inventory {
        sources: vec![Arc::new(source)],
    };
    let images = images::collect(&inventory, &|_| PlatformChoice::default());
    assert!(images.malformed.is_empty());
    images.images
}
