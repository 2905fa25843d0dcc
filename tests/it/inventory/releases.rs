//! What a rollback would pull, on a real API server: releases that the real Helm made, and what Argo CD
//! and Flux write into their objects.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cli::run::{Ended, pullproof};
use crate::daemon::faults::reader;
use crate::daemon::shop::namespace;
use crate::inventory::custom::define;
use crate::support::cluster::Cluster;
use crate::support::parts::{self, require_cluster};
use crate::support::process::run_well;

/// Helm takes the last of two keys of one name.
const CRON_JOB: &str = "apiVersion: batch/v1
kind: CronJob
metadata: {name: {{ .Release.Name }}}
spec:
  suspend: false
  suspend: true
  schedule: '0 0 * * *'
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: 'web:{{ .Values.tag }}'}]}}}}
---
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}-password}
stringData: {password: '{{ .Values.password }}'}
";

/// It does not run until the release goes.
const HOOK: &str = "apiVersion: batch/v1
kind: Job
metadata: {name: last, annotations: {helm.sh/hook: post-delete}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: 'last:{{ .Values.tag }}'}]}}}
";

async fn helm(cluster: &Cluster, namespace: &str, home: &Path, arguments: &[&str]) {
    let mut command = Command::new(parts::path("helm"));
    command
        .env("KUBECONFIG", &cluster.admin().kubeconfig)
        .env("HOME", home)
        .env_remove("HELM_DRIVER")
        .args(["-n", namespace])
        .args(arguments);
    run_well(command).await;
}

async fn inventory(kubeconfig: &Path, namespace: &str, releases: &str) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pullproof.yaml");
    let configuration = format!(
        "inventory:\n  releases: {releases}\n  clusters: [{{name: prod, kubeconfig: {}, namespaces: [{namespace}]}}]\n",
        kubeconfig.display(),
    );
    std::fs::write(&file, configuration).unwrap();
    let file = file.to_str().unwrap();
    pullproof(&["--config", file, "inventory", "-o", "json"]).await
}

/// `Kind/name image class via`
fn told(inventory: &Value) -> Vec<String> {
    let images = inventory["images"].as_array().unwrap();
    let mut lines: Vec<String> = images
        .iter()
        .flat_map(|image| image["used_by"].as_array().unwrap())
        .map(|by| {
            let text = |key: &str| by[key].as_str().unwrap_or("-").to_owned();
            let owner = format!("{}/{}", text("kind"), text("name"));
            format!(
                "{owner} {} {} {}",
                text("image"),
                text("class"),
                text("via")
            )
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn every_revision_that_helm_keeps_is_a_rollback() {
    require_cluster!("helm");
    let (cluster, namespace) = namespace().await;
    let home = tempfile::tempdir().unwrap();
    let chart = home.path().join("web");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(chart.join(name), text).unwrap();
    write("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n");
    write("templates/cronjob.yaml", CRON_JOB);
    write("templates/hook.yaml", HOOK);
    let path = chart.to_str().unwrap();
    let password = "password=correct-horse";
    for (verb, tag) in [("install", "v1"), ("upgrade", "v2"), ("upgrade", "v3")] {
        let set = format!("tag={tag},{password}");
        let arguments = [verb, "web", path, "--set", &set];
        helm(cluster, &namespace, home.path(), &arguments).await;
    }
    helm(cluster, &namespace, home.path(), &["rollback", "web", "2"]).await;

    let kubeconfig = cluster.admin().kubeconfig;
    let ended = inventory(&kubeconfig, &namespace, "{helm: true}").await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        told(&ended.json()),
        [
            "CronJob/web web:v1 rollback HelmRelease/web.v1",
            "CronJob/web web:v2 runtime -",
            "CronJob/web web:v3 rollback HelmRelease/web.v3",
            "Job/last last:v1 rollback HelmRelease/web.v1",
            "Job/last last:v2 rollback HelmRelease/web.v2",
            "Job/last last:v3 rollback HelmRelease/web.v3",
        ]
    );
    // Nobody asked for it.
    let plain = inventory(&kubeconfig, &namespace, "{}").await;
    assert_eq!(told(&plain.json()), ["CronJob/web web:v2 runtime -"]);

    // Without the right to list Secrets it is not the whole truth.
    let identity = cluster.new_identity();
    cluster
        .apply_yaml(&reader(&namespace, &identity.user))
        .await;
    let refused = inventory(&identity.kubeconfig, &namespace, "{helm: true}").await;
    assert_eq!(refused.code, 3, "{refused:?}");
    let reason = refused.json()["sources"][0]["reason"].to_string();
    assert!(reason.contains("secrets is forbidden"), "{reason}");

    // A release that is damaged says so, and no part of it is told.
    let secret = "secret/sh.helm.release.v1.web.v1";
    let patch = r#"{"data": {"release": "Y29ycmVjdC1ob3JzZQ=="}}"#;
    cluster
        .kubectl(&["-n", &namespace, "patch", secret, "-p", patch])
        .await;
    let damaged = inventory(&kubeconfig, &namespace, "{helm: true}").await;
    assert_eq!(damaged.code, 3, "{damaged:?}");
    let reason = damaged.json()["sources"][0]["reason"].to_string();
    assert!(
        reason.contains("sh.helm.release.v1.web.v1: it is no release of Helm"),
        "{reason}"
    );
    for ended in [ended, damaged] {
        assert!(!ended.stdout.contains("correct-horse") && !ended.stderr.contains("correct-horse"));
    }
}

const OBJECTS: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: NAMESPACE}
spec: {source: {repoURL: 'https://git.example/web'}}
status:
  summary: {images: ['web:v2']}
  history:
  - {id: 0, revision: a, source: {kustomize: {images: ['web=registry.example/web:v1']}}}
  - {id: 1, revision: b, source: {helm: {parameters: [{name: image.repository, value: web}, {name: image.tag, value: v2}]}}}
---
apiVersion: image.toolkit.fluxcd.io/v1beta2
kind: ImagePolicy
metadata: {name: web, namespace: NAMESPACE}
spec: {imageRepositoryRef: {name: web}}
status: {latestRef: {name: registry.example/web, tag: v3}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: web, namespace: NAMESPACE}
spec: {images: [{name: side, newName: registry.example/side, newTag: v1}]}
";

#[tokio::test]
async fn argo_cd_and_flux_tell_what_they_had_and_will_have() {
    require_cluster!();
    let (cluster, namespace) = namespace().await;
    define(
        cluster,
        &[
            ("argoproj.io", "v1alpha1", "Application", "applications"),
            (
                "image.toolkit.fluxcd.io",
                "v1beta2",
                "ImagePolicy",
                "imagepolicies",
            ),
            (
                "kustomize.toolkit.fluxcd.io",
                "v1",
                "Kustomization",
                "kustomizations",
            ),
        ],
    )
    .await;
    cluster
        .apply_yaml(&OBJECTS.replace("NAMESPACE", &namespace))
        .await;
    let kubeconfig = cluster.admin().kubeconfig;
    let ended = inventory(&kubeconfig, &namespace, "{argocd: true, flux: true}").await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        told(&ended.json()),
        [
            "Application/web registry.example/web:v1 rollback history/0",
            "Application/web web:v2 rollback history/1",
            "Application/web web:v2 runtime -",
            "ImagePolicy/web registry.example/web:v3 rollback -",
            "Kustomization/web registry.example/side:v1 rollback -",
        ]
    );
}
