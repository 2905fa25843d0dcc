//! What the bucket's own rule purged is not what another collector took, also once nobody reads its journal.

use pullproof::storage::s3::Fence;

use super::desk::Store;
use crate::storage::between::Fault;
use crate::support::parts::require;
use crate::support::registry::Version;

fn purges_after(days: u32) -> Fault {
    let rule = format!(
        "<LifecycleConfiguration><Rule><ID>old</ID><Filter><Prefix>docker/</Prefix></Filter>\
         <Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays>\
         </NoncurrentVersionExpiration></Rule></LifecycleConfiguration>"
    );
    Fault::Answer(200, &[("content-type", "application/xml")], rule)
}

/// Deletes a version as somebody, or a rule, does.
async fn delete(store: &Store, is_it: impl Fn(&str, bool) -> bool) -> usize {
    let mut count = 0;
    for history in store.s3.history("docker/").await.unwrap() {
        let is_taken = history.latest().unwrap().is_marker();
        if !is_it(&history.path, is_taken) {
            continue;
        }
        for version in history.versions.iter().filter(|it| !it.is_marker()) {
            let deleted = store
                .s3
                .delete_version(&history.path, &version.id, Fence::NONE);
            deleted.await.unwrap();
            count += 1;
        }
    }
    count
}

#[tokio::test]
async fn what_the_buckets_rule_purged_between_two_runs_is_no_other_collectors() {
    require!("registry-3.1", "versitygw");
    let store = Store::start(Version::V3, true).await;
    let rule = purges_after(30);
    store
        .between
        .when(0..999, rule, |_, path| path.contains("?lifecycle"));
    store.configure("purge", r#""purge": {"by": "lifecycle"}"#);
    let ran = store.gc(&["run"]).await;
    assert_eq!(ran.result(), "quarantined", "{ran:?}");
    assert!(delete(&store, |_, is_taken| is_taken).await > 6);
    // It is found gone, and its journal is put aside, by a session that lists nothing.
    let back = store.gc(&["restore", "--all"]).await;
    assert_eq!(back.code, Some(0), "{back:?}");
    let ended = store.gc(&["status"]).await;
    assert!(
        ended.view["runs"].as_array().unwrap().is_empty(),
        "{ended:?}"
    );
    let ran = store.gc(&["run"]).await;
    assert_eq!((ran.code, ran.result()), (Some(0), "planned"), "{ran:?}");
    // What nobody took is missed.
    let layer = store.tree.find("other.layer-1").digest;
    let hex = layer.trim_start_matches("sha256:").to_owned();
    assert_eq!(
        delete(&store, |path, _| path.contains(&hex)
            && path.ends_with("data"))
        .await,
        1
    );
    let ran = store.gc(&["run"]).await;
    assert!(ran.codes().contains(&"storage_unsupported"), "{ran:?}");
}
