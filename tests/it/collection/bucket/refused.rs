//! What a bucket, a server or a right does not allow is told before anything is listed, with the way out.

use super::desk::Store;
use crate::collection::desk::until_purged;
use crate::storage::between::Fault;
use crate::support::parts::require;
use crate::support::registry::Version;

async fn refused(store: &Store, code: &str, words: &str) {
    let before = store.content().await;
    let ran = store.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(3), "refused"),
        "{words}: {ran:?}"
    );
    assert_eq!(ran.codes(), [code], "{words}: {ran:?}");
    let message = ran.view["refusals"][0]["message"].as_str().unwrap();
    assert!(message.contains(words), "{words}: {message}");
    assert_eq!(store.content().await, before, "{words}");
    // A look at whose it is, and no listing of what is in it.
    let seen = store.between.take_seen();
    let listed = seen.iter().filter(|seen| {
        seen.is_list() && seen.path.contains("prefix=docker%2Fregistry%2Fv2%2Fblobs")
    });
    let mut listed = listed.filter(|seen| !seen.path.contains("%2Fdata"));
    assert!(listed.next().is_none(), "{words}: {seen:?}");
    store.between.heal();
}

fn lifecycle(rule: &str) -> Fault {
    let text = format!(
        "<LifecycleConfiguration><Rule><ID>old</ID><Filter><Prefix></Prefix></Filter>\
         <Status>Enabled</Status>{rule}</Rule></LifecycleConfiguration>"
    );
    Fault::Answer(200, &[("content-type", "application/xml")], text)
}

#[tokio::test]
async fn what_a_bucket_does_not_allow_is_told_before_anything_is_listed() {
    require!("registry-3.1", "versitygw");
    let store = Store::start(Version::V3, true).await;
    store.configure("purge", r#""quarantineFor": "6d""#);
    let denied = || Fault::error(403, "AccessDenied");
    let between = &store.between;

    between.when(0..99, denied(), |_, path| path.contains("?versioning"));
    refused(
        &store,
        "storage_unsupported",
        "allow s3:GetBucketVersioning",
    )
    .await;
    between.when(0..99, denied(), |_, path| path.contains("?lifecycle"));
    refused(
        &store,
        "storage_unsupported",
        "allow s3:GetLifecycleConfiguration",
    )
    .await;

    let short = "<NoncurrentVersionExpiration><NoncurrentDays>5</NoncurrentDays></NoncurrentVersionExpiration>";
    between.when(0..99, lifecycle(short), |_, path| {
        path.contains("?lifecycle")
    });
    refused(
        &store,
        "storage_unsupported",
        "it has to be there for 6d (`gc.quarantineFor`)",
    )
    .await;
    let expires = "<Expiration><Days>90</Days></Expiration>";
    between.when(0..99, lifecycle(expires), |_, path| {
        path.contains("?lifecycle")
    });
    refused(&store, "storage_unsupported", "take its `Expiration` away").await;

    between.when(0..99, denied(), |method, _| method == "DELETE");
    refused(&store, "drill_stale", "allow s3:DeleteObjectVersion").await;
    // What that left is removed when it can be.
    between.when(0..99, denied(), |method, path| {
        method == "POST" && path.contains("delete=")
    });
    refused(&store, "drill_stale", "allow s3:DeleteObject on").await;
    between.when(0..99, denied(), |_, path| path.contains("versions="));
    refused(&store, "drill_stale", "allow s3:ListBucketVersions").await;

    // A server that does as if.
    let ignores = Fault::Answer(200, &[("etag", "\"1\"")], String::new());
    between.when(0..99, ignores.clone(), |method, path| {
        method == "PUT" && path.contains("pullproof/canary")
    });
    refused(&store, "storage_unsupported", "(If-None-Match)").await;
    between.when(1..2, ignores, |method, path| {
        method == "PUT" && path.contains("pullproof/canary")
    });
    refused(&store, "storage_unsupported", "(If-Match)").await;

    store.configure("purge", "");
    let ran = store.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn without_versions_nothing_is_purged_unless_somebody_says_so() {
    require!("registry-3.1", "versitygw");
    let store = Store::start(Version::V3, false).await;
    store.configure("purge", "");
    refused(
        &store,
        "storage_unsupported",
        "`gc.unsafe: [purgeWithoutVersions]`",
    )
    .await;
    store.configure("purge", r#""purge": {"by": "lifecycle"}"#);
    let ran = store.gc(&["run"]).await;
    assert_eq!(ran.codes(), ["storage_unsupported"; 2], "{ran:?}");
    store.configure("purge", r#""unsafe": ["purgeWithoutVersions"]"#);
    let ran = store.gc(&["run"]).await;
    assert_eq!(ran.result(), "quarantined", "{ran:?}");
    let held = store.s3.files("pullproof/quarantine/").await.unwrap();
    assert!(held.len() > 6, "{held:?}");
    until_purged(async || store.gc(&["run"]).await).await;
    assert_eq!(store.s3.files("pullproof/quarantine/").await.unwrap(), []);
}

#[tokio::test]
async fn two_do_not_collect_at_once_and_whoever_died_is_outlived() {
    require!("registry-3.1", "versitygw");
    let store = Store::start(Version::V3, true).await;
    store
        .between
        .when(0..1, Fault::Unsent(store.killer()), |method, path| {
            method == "PUT" && path.contains("/pullproof/journal/")
        });
    assert_eq!(store.gc(&["run"]).await.code, None);
    store.between.heal();
    let refused = store.gc(&["run"]).await;
    assert_eq!(
        (refused.code, refused.codes()),
        (Some(3), vec!["not_leader"]),
        "{refused:?}"
    );
    store.outlive_the_lock();
    assert_eq!(store.gc(&["run"]).await.result(), "quarantined");
    // Given back, it is free at once.
    assert_eq!(store.gc(&["run"]).await.result(), "planned");
}
