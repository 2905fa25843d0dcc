//! What Helm makes of the chart: the same as before, of every set of values, and an error that names the way out
//! of what cannot be.

use std::path::Path;

use pullproof::config;
use serde_json::Value;

use super::chart::{Object, cases, helm, objects, path, read, rendered, template, values_of};
use crate::support::parts::require;

/// What is held equal to its source elsewhere.
fn is_copy(object: &Object) -> bool {
    object.kind() == "PrometheusRule" || object.name().contains("-dashboard-")
}

#[tokio::test]
async fn lint_has_nothing_to_say() {
    require!("helm");
    let chart = path("deploy/helm/pullproof");
    for case in cases() {
        let values = values_of(&case);
        let words = [
            "lint",
            "--strict",
            chart.to_str().unwrap(),
            "--values",
            values.to_str().unwrap(),
        ];
        helm(&words)
            .await
            .unwrap_or_else(|problem| panic!("{case}: {problem}"));
    }
}

#[tokio::test]
async fn every_set_of_values_makes_what_it_made_before() {
    require!("helm");
    for case in cases() {
        let objects = rendered(&values_of(&case)).await;
        let texts: Vec<&str> = objects
            .iter()
            .filter(|it| !is_copy(it))
            .map(|it| it.text.as_str())
            .collect();
        insta::assert_snapshot!(format!("chart-{case}"), texts.join("---\n"));
    }
}

#[tokio::test]
async fn the_configurations_are_valid() {
    require!("helm");
    let mut count = 0;
    for case in cases() {
        for object in rendered(&values_of(&case)).await {
            let Some(text) = object.value["data"]["pullproof.yaml"].as_str() else {
                continue;
            };
            count += 1;
            let parsed = config::parse(text, "pullproof.yaml", Path::new("/etc/pullproof"));
            assert!(
                parsed.is_ok(),
                "{case}: {}: {}",
                object.key(),
                parsed.unwrap_err()
            );
        }
    }
    assert_eq!(
        count,
        cases().len() + 2,
        "a daemon's each, and two of collectors"
    );
}

#[tokio::test]
async fn the_alerts_and_the_dashboards_arrive_as_they_are() {
    require!("helm");
    let objects = rendered(&values_of("full")).await;
    let rule = objects
        .iter()
        .find(|it| it.kind() == "PrometheusRule")
        .unwrap();
    // Those values have a place of their own for runbooks.
    let published = "https://github.com/pullproof/pullproof/blob/main/docs/alerts.md";
    let alerts = read("alerts/pullproof.rules.yaml");
    assert!(alerts.contains(published));
    let alerts = alerts.replace(published, "https://wiki.example/pullproof");
    let alerts: Value = serde_saphyr::from_str(&alerts).unwrap();
    assert_eq!(rule.value["spec"], alerts);
    let maps = objects
        .iter()
        .filter(|it| it.name().contains("-dashboard-"));
    let mut count = 0;
    for map in maps {
        let data = map.value["data"].as_object().unwrap();
        let (name, text) = data.iter().next().unwrap();
        let name = name.strip_prefix("pullproof-").unwrap();
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(
            parse(text.as_str().unwrap()),
            parse(&read(&format!("dashboards/{name}")))
        );
        assert_eq!(map.value["metadata"]["labels"]["grafana_dashboard"], "1");
        count += 1;
    }
    assert_eq!(
        count,
        std::fs::read_dir(path("dashboards")).unwrap().count()
    );
}

/// The values of the case `collection`, and this besides.
async fn collecting(besides: &str) -> Result<String, String> {
    let values = values_of("collection");
    template(&["--values", values.to_str().unwrap(), "--set", besides]).await
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_way_out() {
    require!("helm");
    for (values, told) in [
        (
            "colection.enabled=true",
            "additional properties 'colection' not allowed",
        ),
        (
            "config.verify.intervall=5m",
            "additional properties 'intervall' not allowed",
        ),
        ("config.verify.interval=soon", "does not match pattern"),
        (
            "rbac.secrets.access=some",
            "value must be one of 'none', 'named', 'namespaces', 'all'",
        ),
        (
            "config.gc.mode=quarantine",
            "set collection.enabled: true, or leave gc.mode at plan",
        ),
        (
            "config.registries[0].host=a,config.registries[0].gc.mode=purge",
            "set collection.enabled: true",
        ),
        ("collection.enabled=true", "set persistence.enabled: true"),
        (
            "collection.enabled=true,persistence.enabled=true",
            "http.tls.secretName and http.token.secretName",
        ),
        (
            "replicaCount=2,persistence.enabled=true",
            "set persistence.enabled: false or replicaCount: 1",
        ),
        (
            "replicaCount=2,config.kubernetesEvents.write=true",
            "set config.leaderElection.lease",
        ),
        (
            "rbac.secrets.access=named",
            "name them in rbac.secrets.named",
        ),
        (
            "rbac.secrets.access=namespaces",
            "name them in rbac.secrets.namespaces",
        ),
        (
            "serviceAccount.create=false",
            "name the one to use in serviceAccount.name",
        ),
        (
            "config.inventory.customResources[0].kind=Rollout,config.inventory.customResources[0].apiVersion=argoproj.io/v1alpha1",
            "name them in rbac.customResources",
        ),
    ] {
        let refused = template(&["--set", values]).await.unwrap_err();
        assert!(refused.contains(told), "{values}: {refused}");
    }
    for (values, told) in [
        (
            "collection.start=schedule",
            "say when in collection.schedule",
        ),
        (
            "collection.config.registries=null",
            "name registries with their storage in collection.config.registries",
        ),
        (
            "config.registries[0].storage.filesystem.root=/a",
            "the storage belongs in collection.config.registries",
        ),
        (
            "collection.config.gc.settle.workload.namespace=other",
            "gc names a workload in the namespace \"other\"",
        ),
        (
            "collection.config.registries[0].service.namespace=other",
            "registries[].service is in the namespace \"other\"",
        ),
        (
            "collection.config.leaderElection.lease.namespace=other,collection.config.leaderElection.lease.name=a",
            "leaderElection.lease is in the namespace \"other\"",
        ),
    ] {
        let refused = collecting(values).await.unwrap_err();
        assert!(refused.contains(told), "{values}: {refused}");
    }
    collecting("collection.namespace=registry").await.unwrap();
}

#[tokio::test]
async fn deleting_tags_is_a_choice_of_its_own() {
    require!("helm");
    let of_one = "config.registries[0].host=a,config.registries[1].host=b,config.registries[1].retention.mode=";
    for values in [
        "config.retention.mode=delete",
        &format!("{of_one}delete"),
        &format!("config.retention.mode=plan,{of_one}delete"),
    ] {
        let refused = template(&["--set", values]).await.unwrap_err();
        let told = "set collection.enabled: true (with collection.by: daemon where no storage is collected), or leave \
                    retention.mode at plan";
        assert!(refused.contains(told), "{values}: {refused}");
    }
    let by_daemon = "persistence.enabled=true,collection.enabled=true,collection.by=daemon";
    for values in [
        "config.retention.mode=plan",
        &format!("config.retention.mode=plan,{of_one}plan"),
        &format!("{by_daemon},config.retention.mode=delete"),
    ] {
        template(&["--set", values]).await.unwrap();
    }
    collecting("config.retention.mode=delete").await.unwrap();
}

#[tokio::test]
async fn the_collectors_pod_is_that_of_the_manifests() {
    require!("helm");
    let pod_of = |job: &Value| {
        let pod = job.pointer("/spec/jobTemplate/spec/template/spec");
        pod.or_else(|| job.pointer("/spec/template/spec"))
            .unwrap()
            .clone()
    };
    let of_files = ["collector-template.yaml", "collector-job.yaml"].map(|file| {
        let objects = objects(&read(&format!("deploy/{file}")));
        pod_of(&objects.last().unwrap().value)
    });
    let started = rendered(&values_of("collection")).await;
    let started = started
        .iter()
        .find_map(|it| it.value["data"]["job.yaml"].as_str())
        .unwrap();
    let scheduled = rendered(&values_of("schedule")).await;
    let scheduled = scheduled.iter().find(|it| it.kind() == "CronJob").unwrap();
    let of_chart = [
        pod_of(&serde_saphyr::from_str(started).unwrap()),
        pod_of(&scheduled.value),
    ];
    // Its volumes are arranged otherwise, and an image has a repository there.
    for (made, written) in of_chart.iter().zip(&of_files) {
        for key in ["serviceAccountName", "restartPolicy", "securityContext"] {
            assert_eq!(made[key], written[key], "{key}");
        }
        for key in ["name", "args", "securityContext", "resources"] {
            assert_eq!(
                made["containers"][0][key], written["containers"][0][key],
                "{key}"
            );
        }
    }
}

#[tokio::test]
async fn the_versions_are_the_crates() {
    let chart: Value = serde_saphyr::from_str(&read("deploy/helm/pullproof/Chart.yaml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        (chart["version"].as_str(), chart["appVersion"].as_str()),
        (Some(version), Some(version))
    );
}
