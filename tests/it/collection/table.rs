//! The table of what other collectors lose, collected for real: all that must stay can be pulled from the
//! running registry afterwards, byte for byte, and what is garbage is gone from the disk in the end.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures::{FutureExt as _, StreamExt as _, stream};

use self::rows::{Expected, REFUSED, ROWS, Row};
use super::desk::Desk;
use crate::plan::checker::Needed;
use crate::plan::scenes::Scene;
use crate::plan::tree::files;
use crate::support::daemon::BOUND;
use crate::support::parts::require;
use crate::support::pull::Puller;
use crate::support::registry::Version;
use crate::support::wait::wait_until;

mod rows;

/// What waits is turned down as far as it goes.
const AT_ONCE: &str = r#""longestRequest": "0s", "watchEvery": "0s", "quarantineFor": "0s""#;

#[tokio::test]
async fn on_2_8_all_that_must_stay_is_pulled_and_all_garbage_is_freed() {
    require!("docker-registry");
    collected(Version::V2).await;
}

#[tokio::test]
async fn on_3_1_all_that_must_stay_is_pulled_and_all_garbage_is_freed() {
    require!("registry-3.1");
    collected(Version::V3).await;
}

async fn collected(version: Version) {
    let all = ROWS.into_iter().chain(REFUSED);
    // One that fails does not hide the others.
    let told = stream::iter(all).map(|row| AssertUnwindSafe(check(version, row)).catch_unwind());
    let told: Vec<_> = told.buffered(4).collect().await;
    let (told, failed): (Vec<_>, Vec<_>) = told.into_iter().partition(Result::is_ok);
    let told: Vec<String> = told.into_iter().flatten().collect();
    eprintln!("{version:?}\n{}", told.join("\n"));
    assert_eq!(failed.len(), 0);
}

/// A row, from the first run to the last; what became of it, in words.
async fn check(version: Version, (name, scene, expected): Row) -> String {
    let at = format!("{version:?}, {name}");
    let scene = scene();
    let Scene { running, .. } = &scene;
    let running = running.iter();
    let running: Vec<String> = running
        .map(|(repository, object)| format!("{repository}@{}", object.digest))
        .collect();
    scene.tree.age();
    let needed = scene.needed();
    let desk = Desk::over(version, scene.tree).await;
    desk.configure("quarantine", AT_ONCE);
    desk.keep(&running.iter().map(String::as_str).collect::<Vec<_>>());
    let before = desk.content();
    let pulled = pullable(&desk, &needed).await;
    assert!(
        !pulled.is_empty(),
        "{at}: nothing can be pulled of it at all"
    );
    let garbage = garbage_links(desk.root(), &needed);

    let mut ran = desk.gc(&["run"]).await;
    let mut settings = AT_ONCE.to_owned();
    if let Some(code) = expected.refusal(version) {
        let outcome = (ran.code, ran.result(), ran.codes());
        assert_eq!(outcome, (Some(3), "refused", vec![code]), "{at}: {ran:?}");
        assert!(desk.content() == before && desk.held().is_empty(), "{at}");
        assert_eq!(pullable(&desk, &needed).await, pulled, "{at}");
        if code != "image_broken" {
            return format!("  {name}: refused ({code}), nothing touched");
        }
        settings = acknowledged(&desk, &running);
        desk.configure("quarantine", &settings);
        ran = desk.gc(&["run"]).await;
    }
    let (first, second) = match expected {
        Expected::Nothing => ("planned", "planned"),
        _ => ("quarantined", "purged"),
    };
    assert_eq!((ran.code, ran.result()), (Some(0), first), "{at}: {ran:?}");
    let spared = expected.spared();
    stays(&desk, &needed, &pulled, spared, &at).await;
    let content = desk.content();
    assert_eq!(desk.held().len(), before.len() - content.len(), "{at}");

    desk.configure("purge", &settings);
    // Due is what settled before the second in which the run lists.
    let ran = wait_until("what is due is purged", BOUND, async || {
        let ran = desk.gc(&["run"]).await;
        (second == "planned" || ran.result() != "planned").then_some(ran)
    })
    .await;
    assert_eq!((ran.code, ran.result()), (Some(0), second), "{at}: {ran:?}");
    assert!(desk.held().is_empty(), "{at}");
    assert!(desk.content() == content, "{at}");
    stays(&desk, &needed, &pulled, spared, &at).await;
    let again = desk.gc(&["run"]).await;
    let outcome = (again.code, again.result());
    assert_eq!(outcome, (Some(0), "planned"), "{at}: {again:?}");
    format!(
        "  {name}: {} blobs and {} links stay, {} of them pulled; {} blobs and {} links freed",
        needed.blobs.len() + spared,
        needed.links.len(),
        pulled.len(),
        needed.others.len() - spared,
        garbage.len() - garbage_links(desk.root(), &needed).len(),
    )
}

/// With what runs and is known to be lost.
fn acknowledged(desk: &Desk, running: &[String]) -> String {
    let all = running.iter().map(|it| {
        let reference = desk.at(it);
        format!(
            r#"{{"reference": "{reference}", "until": "2100-01-01T00:00:00Z", "reason": "known"}}"#
        )
    });
    let all = all.collect::<Vec<_>>().join(", ");
    format!(r#"{AT_ONCE}, "acknowledged": [{all}]"#)
}

/// All that must stay does, and nothing else but what is spared.
async fn stays(desk: &Desk, needed: &Needed, pulled: &BTreeSet<String>, spared: usize, at: &str) {
    let lost = needed.lost(desk.root());
    let is_whole = lost.blobs.is_empty() && lost.links.is_empty();
    assert!(is_whole, "{at}: {lost:?}");
    assert_eq!(lost.freed, needed.others.len() - spared, "{at}");
    if spared == 0 {
        assert_eq!(garbage_links(desk.root(), needed), [""; 0], "{at}");
    }
    assert_eq!(&pullable(desk, needed).await, pulled, "{at}");
}

/// What the registry serves of all that must stay, each by its path, manifests and blobs hashed.
async fn pullable(desk: &Desk, needed: &Needed) -> BTreeSet<String> {
    let (puller, url) = (Puller::new(), desk.registry.url());
    let mut served = BTreeSet::new();
    for link in &needed.links {
        let Some((repository, is_manifest, digest)) = named(link) else {
            continue;
        };
        let is_served = if is_manifest {
            puller.manifest(&url, &repository, &digest).await.is_ok()
        } else {
            puller.blob(&url, &repository, &digest).await.is_ok()
        };
        if is_served {
            served.insert(link.display().to_string());
        }
    }
    served
}

/// Links to what is stored, or was when `needed` was told, that nobody needs.
fn garbage_links(root: &Path, needed: &Needed) -> Vec<String> {
    let all = files(&root.join("docker")).into_iter();
    let links = all.filter_map(|file| {
        let link = file.strip_prefix(root).unwrap();
        let (_, _, digest) = named(link)?;
        let was_stored = needed.others.contains(&digest) || needed.blobs.contains_key(&digest);
        let is_garbage = was_stored && !needed.links.contains(link);
        is_garbage.then(|| link.display().to_string())
    });
    links.collect()
}

/// The repository of a link, whether it is to a manifest, and the digest that its path tells.
fn named(link: &Path) -> Option<(String, bool, String)> {
    let path = link
        .to_str()?
        .strip_prefix("docker/registry/v2/repositories/")?;
    let path = path.strip_suffix("/link")?;
    let (path, hex) = path.rsplit_once("/sha256/")?;
    let layers = path.strip_suffix("/_layers").map(|it| (it, false));
    let revisions = path.strip_suffix("/_manifests/revisions");
    let (repository, is_manifest) = layers.or(revisions.map(|it| (it, true)))?;
    Some((repository.to_owned(), is_manifest, format!("sha256:{hex}")))
}
