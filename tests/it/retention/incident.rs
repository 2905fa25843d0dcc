//! The incident that retention is for: 847 images, of which a script deleted 612, those that were deployed among
//! them. Their tags were weeks old, and looked like nothing.

use serde_json::json;

use super::shop::{Shop, codes, going, staying};
use crate::support::cluster::Cluster;
use crate::support::parts::require;
use crate::support::registry::Version;

/// So many images there were.
const IMAGES: usize = 847;
/// So many of them were deployed.
const DEPLOYED: usize = 8;

fn tag(at: usize) -> String {
    // As builds call them: by a commit.
    let digest = super::shop::digest(at.to_string().as_bytes());
    digest[7..19].to_owned()
}

#[tokio::test]
async fn what_is_deployed_by_old_tags_stays_and_without_the_cluster_nothing_is_planned() {
    require!(
        "registry-3.1",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kubectl"
    );
    let shop = Shop::start(Version::V3).await;
    // The deployed ones are five weeks old, like two thirds of the others.
    let is_deployed =
        |at: usize| at.is_multiple_of(IMAGES / DEPLOYED) && at / (IMAGES / DEPLOYED) < DEPLOYED;
    let is_old = |at: usize| is_deployed(at) || !at.is_multiple_of(3);
    for at in 0..IMAGES {
        let repository = format!("shop/app-{}", at % 7);
        shop.push(&repository, Some(&tag(at)), &format!("build {at}"))
            .await;
        shop.age(&repository, &tag(at), if is_old(at) { 35 } else { 3 });
    }
    let mut cluster = Cluster::start().await;
    let namespace = cluster.new_namespace().await;
    let deployed: Vec<(String, String)> = (0..IMAGES)
        .filter(|at| is_deployed(*at))
        .map(|at| (format!("shop/app-{}", at % 7), tag(at)))
        .collect();
    assert_eq!(deployed.len(), DEPLOYED);
    for (number, (repository, tag)) in deployed.iter().enumerate() {
        let image = shop.at(&format!("{repository}:{tag}"));
        let name = format!("web-{number}");
        let labels = json!({"app": name});
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                // Scaled to zero or not: what is deployed is deployed.
                "replicas": number % 2,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "web", "image": image}]},
                },
            },
        });
        cluster.apply_yaml(&object.to_string()).await;
    }
    let kubeconfig = cluster.admin().kubeconfig;
    let policies = json!([{"repositories": ["**"], "keep": [{"youngerThan": "30d"}]}]);
    shop.configure(&policies, |text| {
        text["inventory"] = json!({"clusters": [{"name": "prod", "kubeconfig": kubeconfig}]});
        text["gc"]["alarmPercent"] = json!(50);
    });

    let (code, plan) = shop.json(&["retention", "plan"]).await;
    assert_eq!(code, 0, "{}", plan["refusals"]);
    let mut planned = going(&plan);
    planned.sort();
    let expected = (0..IMAGES).filter(|at| is_old(*at) && !is_deployed(*at));
    let mut expected: Vec<String> = expected
        .map(|at| format!("shop/app-{}:{}", at % 7, tag(at)))
        .collect();
    expected.sort();
    assert_eq!(planned, expected);
    for (repository, tag) in &deployed {
        assert_eq!(staying(&plan, repository, tag).0, ["runtime"]);
    }
    // Two thirds at once are not deleted because a policy says so.
    assert!(
        codes(&plan).contains(&"share_exceeded".to_owned()),
        "{:?}",
        codes(&plan)
    );
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!((code, &applied["removed"]), (3, &json!([])), "{applied:#}");

    // Nobody knows what is deployed: then nothing is planned.
    cluster.stop_server();
    let (code, plan) = shop.json(&["retention", "plan"]).await;
    assert_eq!(code, 3);
    assert_eq!(going(&plan), Vec::<String>::new());
    assert_eq!(plan["plan"], json!(null));
    assert!(
        codes(&plan).contains(&"inventory_incomplete".to_owned()),
        "{plan:#}"
    );
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!((code, &applied["removed"]), (3, &json!([])), "{applied:#}");
    let mut left = 0;
    for at in 0..7 {
        left += shop.tags(&format!("shop/app-{at}")).await.len();
    }
    assert_eq!(left, IMAGES);
}
