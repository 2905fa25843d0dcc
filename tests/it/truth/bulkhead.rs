//! R12: a host that hangs holds nobody else up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pullproof::app::once::{Proven, prove_each};
use pullproof::app::registries::Registries;
use pullproof::clock::{Clock, SystemClock};
use pullproof::config::Config;
use pullproof::credential_source::Sources;
use pullproof::images::Images;
use pullproof::registry::manifest_cache::InMemory;
use pullproof::registry::stats::Stats;
use pullproof::verify::finding::Verdict;
use pullproof::verify::target::Needs;

use super::client::Setup;
use super::world::{REPOSITORY, shop};
use crate::support::http::install_crypto_provider;
use crate::support::scripted::Scripted;
use crate::support::scripted::answer::Wire;
use crate::support::scripted::fault::{Fault, Route, on};
use crate::support::wait::wait_until;

/// The blobs of the shop's image: two configs, and three layers.
const BLOBS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_hangs_holds_no_other_host_up() {
    install_crypto_provider();
    let mut hanging = shop().script;
    hanging
        .rules
        .push(on(Route::Any).give(Fault::On(Wire::Hang)));
    let (hanging, good) = (
        Scripted::start(hanging).await,
        Scripted::start(shop().script).await,
    );
    let hosts: Vec<String> = [&hanging, &good].map(|it| it.address().to_string()).into();
    let registries = Registries {
        config: Arc::new(Config::default()),
        named: BTreeSet::new(),
        plain_http: hosts.iter().cloned().collect(),
        personal: Arc::default(),
        sources: Sources::default(),
        depth: None,
        memory: None,
        exchanges: None,
        stats: Stats::default(),
        manifests: Arc::new(InMemory::default()),
        clock: Arc::new(SystemClock),
    };
    let setup = Setup::default();
    let image = |host: &String| setup.image(&format!("{host}/{REPOSITORY}:v1"), Needs::All);
    let mut all: Vec<_> = hosts.iter().map(image).collect();
    all.sort_by_key(|image| Arc::clone(&image.key));
    let images = Images {
        endpoints: Vec::new(),
        others: std::collections::HashMap::new(),
        images: all,
        malformed: Vec::new(),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let then = async |proven: Proven| proven.round;
    let proving = prove_each(&images, &registries, &clock, &|_progress| {}, then);
    tokio::pin!(proving);

    let good_is_done = wait_until(
        "the hanging host was asked, and the good one answered its last question",
        Duration::from_secs(60),
        async || {
            let blobs = good.count_seen(|seen| seen.is("HEAD", "/blobs/"));
            let was_asked = hanging.count_seen(|_| true) > 0;
            (blobs == BLOBS && was_asked).then_some(())
        },
    );
    // In this order: were the good host held up, the round would end with the hanging one's deadline.
    tokio::select! {
        biased;
        () = good_is_done => {}
        _ = &mut proving => panic!("the hanging host was done first"),
    }
    drop(hanging);
    let results = proving.await;
    let verdict = |host: &String| {
        let result = results.iter().find(|result| *result.host == **host);
        result.expect("each host has a result").reports[0].2.verdict
    };
    assert_eq!(verdict(&hosts[1]), Verdict::Pullable);
    assert_eq!(verdict(&hosts[0]), Verdict::Unknown);
}
