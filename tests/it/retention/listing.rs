//! A registry that does not list all its tags: distribution 3.1.1 on S3 leaves out those that begin like another.

use serde_json::json;

use super::shop::{Shop, going};
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};
use crate::support::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};

#[tokio::test]
async fn a_repository_whose_list_lacks_tags_is_left_alone() {
    require!("registry-3.1.1", "versitygw");
    let s3 = S3::start().await;
    let registry = Registry::start(Options::over_s3(Version::V311, &s3).with_deletes()).await;
    let shop = Shop::over(registry, None);
    for tag in ["v", "v1", "v1-a", "v1.1", "v10", "v1_b", "v2"] {
        shop.push("team/app", Some(tag), tag).await;
    }
    shop.push("team/web", Some("a"), "a").await;
    let listed = shop.tags("team/app").await;
    assert!(listed.len() < 7, "it lists all: {listed:?}");
    let key = shop.home().join("key");
    let text = format!(
        "[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    );
    std::fs::write(&key, text).unwrap();
    let policies = json!([{"repositories": ["team/**"], "keep": [{"tags": ["none"]}]}]);
    let over_s3 = json!({"s3": {
        "endpoint": format!("http://{}", s3.host()), "region": "us-east-1", "bucket": BUCKET,
        "credentials": {"accessKey": {"file": key}},
    }});
    shop.configure(&policies, |text| text["registries"][0]["storage"] = over_s3);
    let (code, plan) = shop.json(&["retention", "plan"]).await;
    assert_eq!(code, 0, "{plan:#}");
    assert_eq!(going(&plan), ["team/web:a"], "{plan:#}");
    let left = &plan["left_alone"][0];
    assert_eq!(left["repository"], "team/app");
    let reason = left["reason"].as_str().unwrap();
    assert!(
        reason.contains("the registry's list of tags lacks"),
        "{reason}"
    );
    assert!(reason.contains("3.1.2 lists them"), "{reason}");

    // Without the storage, it shows by what is needed and is there all the same.
    let hidden = ["v", "v1", "v1-a", "v1.1", "v10", "v1_b", "v2"];
    let hidden = hidden
        .iter()
        .find(|tag| !listed.contains(&(**tag).to_owned()));
    shop.keep(&[&format!("team/app:{}", hidden.unwrap())]);
    shop.configure(&policies, |text| {
        let registry = text["registries"][0].as_object_mut().unwrap();
        registry.remove("storage");
    });
    let (code, plan) = shop.json(&["retention", "plan"]).await;
    assert_eq!(code, 0, "{plan:#}");
    assert_eq!(going(&plan), ["team/web:a"], "{plan:#}");
    assert_eq!(plan["left_alone"][0]["repository"], "team/app");
}
