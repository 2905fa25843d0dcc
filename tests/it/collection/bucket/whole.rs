//! From the plan to the purge, and back.

use std::sync::Arc;

use jiff::Timestamp;
use pullproof::clock::{Clock as _, SystemClock};

use super::desk::Store;
use crate::collection::desk::until_purged;
use pullproof::storage::s3::Fence;

use crate::plan::checker::Needed;
use crate::storage::between::Fault;
use crate::support::clients::Clients;
use crate::support::daemon::BOUND;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::Version;
use crate::support::wait::wait_until;

#[tokio::test]
async fn what_nobody_needs_is_held_and_comes_back_byte_for_byte() {
    require!(
        "docker-registry",
        "registry-3.1",
        "versitygw",
        "crane",
        "regctl"
    );
    for (version, has_versions) in [
        (Version::V3, true),
        (Version::V3, false),
        (Version::V2, true),
        (Version::V2, false),
    ] {
        let store = Store::start(version, has_versions).await;
        let before = store.content().await;
        let needed = Needed::of(store.checkout().await.path(), &[]);

        let ran = store.gc(&["run"]).await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
        let lost = needed.lost(store.checkout().await.path());
        assert!(lost.blobs.is_empty() && lost.links.is_empty(), "{lost:?}");
        assert_eq!(lost.freed, needed.others.len());
        let left = store.content().await.len();
        assert_eq!(store.held().await, (before.len() - left) as u64);
        assert!(before.len() - left > 6, "{left}");
        assert_eq!(store.can_pull("app:v1").await, Ok(()));

        let status = store.gc(&["status"]).await;
        let runs = status.view["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 1, "{status:?}");
        assert_eq!(runs[0]["run"], ran.run());
        assert_eq!(runs[0]["proof"], "clean");
        assert_eq!(runs[0]["settled"], true);

        // Once more finds nothing, and purges nothing: the mode does not.
        let again = store.gc(&["run"]).await;
        assert_eq!(
            (again.code, again.result()),
            (Some(0), "planned"),
            "{again:?}"
        );

        let back = store.gc(&["restore", "--run", &ran.run()]).await;
        assert_eq!(
            (back.code, back.result()),
            (Some(0), "restored"),
            "{back:?}"
        );
        assert_eq!(store.content().await, before);
        assert_eq!(store.held().await, 0);
    }
}

#[tokio::test]
async fn what_was_held_for_long_enough_is_purged_in_a_later_run() {
    require!("registry-3.1", "versitygw", "crane", "regctl");
    let store = Store::start(Version::V3, true).await;
    let before = store.content().await;
    let needed = Needed::of(store.checkout().await.path(), &[]);
    store.configure("purge", r#""quarantineFor": "1h""#);
    assert_eq!(store.gc(&["run"]).await.result(), "quarantined");
    let held = store.held().await;
    assert!(held > 6);
    let early = store.gc(&["run"]).await;
    assert_eq!(early.result(), "planned", "{early:?}");
    assert_eq!(store.held().await, held);
    store.configure("purge", "");
    until_purged(async || store.gc(&["run"]).await).await;
    assert_eq!(store.held().await, 0);
    let lost = needed.lost(store.checkout().await.path());
    assert!(lost.blobs.is_empty() && lost.links.is_empty(), "{lost:?}");
    assert_eq!(store.can_pull("app:v1").await, Ok(()));
    // No version and no marker is left of what went.
    let left = store.s3.history("docker/").await.unwrap();
    let left: Vec<&str> = left.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(left.len(), before.len() - usize::try_from(held).unwrap());
}

#[tokio::test]
async fn what_is_wanted_again_comes_back_before_anything_is_purged() {
    require!("registry-3.1", "versitygw", "crane", "regctl");
    for (has_versions, more) in [(true, ""), (false, r#""unsafe": ["purgeWithoutVersions"]"#)] {
        let store = Store::start(Version::V3, has_versions).await;
        let untagged = store.tree.find("untagged");
        assert_eq!(store.gc(&["run"]).await.result(), "quarantined");
        // Somebody deploys it by its digest.
        let reference = format!("app@{}", untagged.digest);
        store.keep(&["app:v1", &reference]);
        store.configure("purge", more);
        until_purged(async || store.gc(&["run"]).await).await;
        assert_eq!(store.can_pull(&reference).await, Ok(()));
        assert_eq!(store.can_pull("app:v1").await, Ok(()));
    }
}

#[tokio::test]
async fn a_push_of_what_was_taken_writes_it_again() {
    require!("registry-3.1", "versitygw", "crane", "regctl");
    for (has_versions, more) in [(true, ""), (false, r#""unsafe": ["purgeWithoutVersions"]"#)] {
        let store = Store::start(Version::V3, has_versions).await;
        let clients = Clients::of(&store.registry).await;
        let gone = push_image(&clients, &store.at("app:gone"), "gone").await;
        store.untag("app", "gone").await;
        store.age();
        assert_eq!(store.gc(&["run"]).await.result(), "quarantined");
        let again = push_image(&clients, &store.at("app:again"), "gone").await;
        assert_eq!(again, gone);
        assert_eq!(store.can_pull("app:again").await, Ok(()));
        // What is live again is no reason to throw away what is held, nor the other way round.
        store.configure("purge", more);
        until_purged(async || store.gc(&["run"]).await).await;
        assert_eq!(store.can_pull("app:again").await, Ok(()));
        assert_eq!(store.held().await, 0);
    }
}

/// A registry that still finds a blob lets a push of it be, and then the blob is taken.
#[tokio::test]
async fn a_push_between_the_listing_and_the_first_batch_is_not_lost() {
    require!("registry-3.1", "versitygw", "crane", "regctl");
    for (has_versions, more) in [(true, ""), (false, r#""unsafe": ["purgeWithoutVersions"]"#)] {
        let store = Store::start(Version::V3, has_versions).await;
        let clients = Arc::new(Clients::of(&store.registry).await);
        let gone = push_image(&clients, &store.at("app:gone"), "gone").await;
        store.untag("app", "gone").await;
        store.age();
        let reference = store.at("app:again");
        let pushed = {
            let clients = Arc::clone(&clients);
            Fault::Meanwhile(Arc::new(move || {
                let (clients, reference) = (Arc::clone(&clients), reference.clone());
                Box::pin(async move {
                    push_image(&clients, &reference, "gone").await;
                })
            }))
        };
        // The journal says what goes next, and all of it was looked at.
        store.between.when(1..2, pushed, |method, path| {
            method == "PUT" && path.contains("/pullproof/journal/")
        });
        let ran = store.gc(&["run"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let at = format!("app@{gone}");
        assert_eq!(store.can_pull("app:again").await, Ok(()), "{ran:?}");
        assert_eq!(store.can_pull(&at).await, Ok(()));
        store.configure("purge", more);
        let ran = store.gc(&["run"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(store.can_pull("app:again").await, Ok(()), "{ran:?}");
    }
}

#[tokio::test]
async fn an_operators_marks_hold_in_a_bucket() {
    require!("registry-3.1", "versitygw");
    let store = Store::start(Version::V3, true).await;
    for _ in 0..2 {
        assert_eq!(store.gc(&["pause"]).await.code, Some(0));
        let paused = store.gc(&["run"]).await;
        assert_eq!(
            (paused.code, paused.codes()),
            (Some(3), vec!["paused"]),
            "{paused:?}"
        );
        assert_eq!(store.gc(&["resume"]).await.code, Some(0));
    }
    // Said while it collects: nothing is taken.
    let before = store.content().await;
    let s3 = Arc::new(store.reader());
    let stop = Fault::Meanwhile(Arc::new(move || {
        let s3 = Arc::clone(&s3);
        Box::pin(async move { s3.put("pullproof/stop", b"now").await.unwrap() })
    }));
    store.between.when(1..2, stop, |method, path| {
        method == "PUT" && path.contains("/pullproof/journal/")
    });
    let stopped = store.gc(&["run"]).await;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert_eq!(store.content().await, before);
    store.between.heal();
    let ran = store.gc(&["run"]).await;
    assert_eq!(ran.result(), "quarantined", "{ran:?}");
}

/// The bucket's own rule, which versitygw has none of: so many days after it was taken a version goes.
fn purges_after(days: u32) -> Fault {
    Fault::Answer(
        200,
        &[("content-type", "application/xml")],
        format!(
            "<LifecycleConfiguration><Rule><ID>old</ID><Filter><Prefix>docker/</Prefix></Filter>\
             <Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays>\
             </NoncurrentVersionExpiration></Rule></LifecycleConfiguration>"
        ),
    )
}

/// Two days before the rule purges it: here at once, since somebody has made the rule shorter.
#[tokio::test]
async fn what_a_rule_would_purge_goes_back_unless_it_was_marked_again() {
    require!("registry-3.1", "versitygw", "crane", "regctl");
    let is_rule = |_: &str, path: &str| path.contains("?lifecycle");
    for is_marked in [false, true] {
        let store = Store::start(Version::V3, true).await;
        let before = store.content().await;
        store.between.when(0..99, purges_after(30), is_rule);
        store.configure("purge", r#""purge": {"by": "lifecycle"}"#);
        let ran = store.gc(&["run"]).await;
        assert_eq!(ran.result(), "quarantined", "{ran:?}");
        let held = store.held().await;
        assert!(held > 6);
        let ended = SystemClock.now();
        if is_marked {
            wait_until("it is marked again", BOUND, async || {
                let ran = store.gc(&["run"]).await;
                assert_eq!(ran.result(), "planned", "{ran:?}");
                let marked = store.s3.get("pullproof/marked.json", 99).await.unwrap();
                let marked: Timestamp = serde_json::from_slice(&marked.unwrap().bytes).unwrap();
                (marked > ended).then_some(())
            })
            .await;
        }
        store.between.heal();
        store.between.when(0..99, purges_after(2), is_rule);
        let ran = store.gc(&["run"]).await;
        // The rule is too short for anything more to be taken.
        assert_eq!(ran.codes(), ["storage_unsupported"], "{ran:?}");
        if is_marked {
            assert_eq!(store.held().await, held);
        } else {
            assert_eq!(store.held().await, 0, "{ran:?}");
            assert_eq!(store.content().await, before);
        }
        assert_eq!(store.can_pull("app:v1").await, Ok(()));
    }
}

/// The bucket's own rule purges, with keys that may not delete versions.
#[tokio::test]
async fn what_a_lifecycle_rule_purges_is_found_gone() {
    require!("registry-3.1", "versitygw", "crane", "regctl");
    let store = Store::start(Version::V3, true).await;
    let before = store.content().await;
    let rule = purges_after(30);
    let denied = Fault::error(403, "AccessDenied");
    let between = &store.between;
    between.when(0..99, rule, |_, path| path.contains("?lifecycle"));
    between.when(0..9999, denied, |method, path| {
        method == "DELETE" && path.contains("versionId=")
    });
    store.configure("purge", r#""purge": {"by": "lifecycle"}"#);
    let ran = store.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
    let held = store.held().await;
    assert!(held > 6, "{ran:?}");
    // It comes back without a version being deleted.
    let back = store.gc(&["restore", "--all"]).await;
    assert_eq!(
        (back.code, back.result()),
        (Some(0), "restored"),
        "{back:?}"
    );
    assert_eq!(store.content().await, before);
    assert_eq!(store.can_pull("app:v1").await, Ok(()));
    store.age();
    let ran = store.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
    assert_eq!(store.held().await, held);
    // Still there, and not purged from here.
    let again = store.gc(&["run"]).await;
    assert_eq!(
        (again.code, again.result()),
        (Some(0), "planned"),
        "{again:?}"
    );
    assert_eq!(store.held().await, held);
    // The bucket does what its rule says.
    for history in store.s3.history("docker/").await.unwrap() {
        let is_taken = history.latest().unwrap().is_marker();
        for version in history
            .versions
            .iter()
            .filter(|it| is_taken && !it.is_marker())
        {
            let deleted = store
                .s3
                .delete_version(&history.path, &version.id, Fence::NONE);
            deleted.await.unwrap();
        }
    }
    until_purged(async || store.gc(&["run"]).await).await;
    assert_eq!(store.held().await, 0);
    assert_eq!(store.can_pull("app:v1").await, Ok(()));
}
