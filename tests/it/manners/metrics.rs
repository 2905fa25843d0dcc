//! What an operator sees of it.

use axum::http::HeaderMap;

use super::scripted::{Play, Scripted};
use crate::support::daemon::Daemon;

#[tokio::test]
async fn a_scrape_shows_what_is_left_and_how_much_is_asked_at_once() {
    let registry = Scripted::start(3, |_| async {
        let mut more = HeaderMap::new();
        more.insert("ratelimit-limit", "5000;w=3600".parse().unwrap());
        more.insert("ratelimit-remaining", "4321;w=3600".parse().unwrap());
        Play::With(more)
    });
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("keep.txt");
    std::fs::write(&list, registry.references(3).join("\n")).unwrap();
    let host = registry.host();
    let daemon = Daemon::start(&format!(
        "inventory: {{references: [{{name: keep, file: \"{}\"}}]}}\n\
         registries: [{{host: \"{host}\", plainHttp: true, maxConcurrency: 5}}]",
        list.display()
    ));
    daemon.wait_until_ready().await;
    let of_host = format!("registry=\"{host}\"");
    let limit = daemon
        .wait_for_series("registry_concurrency_limit", &[&of_host])
        .await;
    assert!(
        limit.ends_with("} 5") || limit.ends_with("} 5.0"),
        "{limit}"
    );
    let remaining = daemon
        .wait_for_series("registry_ratelimit_remaining", &[&of_host])
        .await;
    assert!(remaining.contains("} 4321"), "{remaining}");
}
