//! What comes into use while a collection is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::Timestamp;
use pullproof::app::collector::{self, Reading, Task, Work};
use pullproof::app::plan::{self as planning, Kept};
use pullproof::app::registries::Registries;
use pullproof::clock::{Clock, SystemClock};
use pullproof::config::{self, Config};
use pullproof::credential_source::Sources;
use pullproof::inventory::keepset::LedTo;
use pullproof::inventory::{Inventory, completeness, references};
use pullproof::registry::manifest_cache::InMemory;
use pullproof::registry::stats::Stats;
use tokio::runtime::Handle;

use super::desk::Desk;
use crate::plan::served::can_pull;
use crate::support::http::install_crypto_provider;
use crate::support::parts::require;
use crate::support::registry::Version;

/// It is in quarantine, and due, and was not wanted when all was listed: somebody rolls back to it then.
#[tokio::test]
async fn what_comes_into_use_after_the_listing_is_not_purged() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    let reference = format!("app@{}", desk.tree.find("untagged").digest);
    assert_eq!(desk.gc(&["run"]).await.result(), "quarantined");
    let held = desk.held();
    desk.configure("purge", "");
    let work = work(&desk, [vec!["app:v1"], vec!["app:v1", &reference]]);
    let report = tokio::task::spawn_blocking(move || collector::run(&work, &Task::Run));
    let report = report.await.unwrap();
    let codes: Vec<&str> = report.refusals.iter().map(|it| it.code.as_str()).collect();
    assert_eq!((codes, report.purged.items), (vec!["proof_stale"], 0));
    assert_eq!(desk.held(), held);
    // The next one knows of it from the beginning.
    desk.keep(&["app:v1", &reference]);
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(can_pull(Version::V3, desk.root(), &reference).await, Ok(()));
}

/// A session of the desk's, which reads the first of these at first, and then the second.
fn work(desk: &Desk, kept: [Vec<&str>; 2]) -> Work {
    install_crypto_provider();
    let file = desk.file();
    let text = std::fs::read_to_string(&file).unwrap();
    let config: Config = config::parse(&text, "pullproof.yaml", file.parent().unwrap()).unwrap();
    let config = Arc::new(config);
    let registry = config.registries[0].clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let kept = kept.map(|all| {
        let lines = all.into_iter().map(|it| desk.at(it) + "\n");
        lines.collect::<String>()
    });
    let reads = AtomicUsize::new(0);
    let read_kept = {
        let (config, registry) = (Arc::clone(&config), registry.clone());
        move |_: Reading, led_to: Vec<LedTo>| {
            let text = &kept[reads.fetch_add(1, Ordering::Relaxed).min(1)];
            let now = SystemClock.now();
            let source = references::read_text("keep", text, now);
            let inventory = Arc::new(Inventory {
                sources: vec![Arc::new(source)],
            });
            let complete = completeness::complete(&inventory, now).unwrap();
            let (needed, set) = planning::needed(&config, &registry, &complete, led_to.clone());
            Ok(Ok(Kept {
                needed,
                set,
                led_to,
                refusals: Vec::new(),
            }))
        }
    };
    Work {
        leads: Arc::new(|_| {}),
        registries: Registries {
            config: Arc::clone(&config),
            named: std::collections::BTreeSet::new(),
            plain_http: std::collections::BTreeSet::new(),
            personal: Arc::default(),
            sources: Sources::default(),
            stats: Stats::default(),
            manifests: Arc::new(InMemory::default()),
            depth: None,
            memory: None,
            exchanges: None,
            clock: Arc::clone(&clock),
        },
        registry,
        read_kept: Box::new(read_kept),
        clock,
        runtime: Handle::current(),
        until: Timestamp::MAX,
        stop: Arc::new(AtomicBool::new(false)),
        worse: Arc::default(),
        opening: None,
        accepted: None,
        only: None,
    }
}
