//! A collector as a Job on a real API server. There is no kubelet: the test runs what the Job says, and tells how
//! its pod ended.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{by, desk, failed, refused, shell};
use crate::collection::desk::Desk;
use crate::plan::checker::Needed;
use crate::plan::peers;
use crate::plan::tree::sound;
use crate::support::cluster::Cluster;
use crate::support::daemon;
use crate::support::parts::require_cluster;
use crate::support::process::{Ending, Process, run_well};
use crate::support::registry::Version;
use crate::support::wait::wait_until;

const BOUND: Duration = Duration::from_mins(2);

pub(super) struct Scene {
    pub(super) cluster: &'static Cluster,
    pub(super) desk: Desk,
    pub(super) namespace: String,
}

impl Scene {
    pub(super) async fn start() -> Self {
        let cluster = Cluster::shared().await;
        let namespace = cluster.new_namespace().await;
        let desk = desk(Version::V3, sound(), &["app:v1"], &shell("exit 1")).await;
        desk.use_cluster(&cluster.admin().kubeconfig);
        let file = desk.home().join("distribution.yaml");
        let text = json!({
            "version": "0.1", "storage": {"filesystem": {"rootdirectory": desk.root()}},
            "http": {"addr": "127.0.0.1:0"},
        });
        fs::write(&file, text.to_string()).unwrap();
        let program = peers::program(Version::V3).into_string().unwrap();
        let template = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"generateName": "gc-", "namespace": namespace},
            "spec": {"backoffLimit": 6, "template": {"spec": {
                "restartPolicy": "OnFailure",
                "containers": [{
                    "name": "gc", "image": "registry.example/registry:3", "command": [program],
                    "args": ["garbage-collect", "--delete-untagged", file],
                }],
            }}},
        });
        fs::write(desk.home().join("job.yaml"), template.to_string()).unwrap();
        let scene = Self {
            cluster,
            desk,
            namespace,
        };
        scene.configure(&json!({}));
        scene
    }

    pub(super) fn configure(&self, more: &Value) {
        let mut job = json!({"template": "job.yaml", "undo": "versioning", "keepsChildren": true});
        for (key, value) in more.as_object().unwrap() {
            job[key] = value.clone();
        }
        by(&self.desk, &json!({"kubernetesJob": job}), "");
    }

    pub(super) fn run(&self) -> Process {
        let mut command = daemon::command(self.desk.home());
        command.args(["gc", "run", "-o", "json"]);
        Process::start(command, "collector", self.desk.home(), Ending::Terminate)
    }

    pub(super) async fn all(&self, kind: &str) -> Vec<Value> {
        let words = ["get", kind, "-n", &self.namespace, "-o", "json"];
        let text = self.cluster.kubectl(&words).await;
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// The one pod of the one Job.
    pub(super) async fn pod(&self) -> (Value, String) {
        wait_until("there is a pod", BOUND, async || {
            // The pod comes after its Job, and so it is looked for first.
            let pods = self.all("pods").await;
            let jobs = self.all("jobs").await;
            let name = pods.first()?["metadata"]["name"]
                .as_str()
                .unwrap()
                .to_owned();
            assert_eq!((jobs.len(), pods.len()), (1, 1), "{jobs:?} {pods:?}");
            Some((jobs[0].clone(), name))
        })
        .await
    }

    pub(super) async fn ends(&self, pod: &str, phase: &str) {
        let patch = json!({"status": {"phase": phase}}).to_string();
        let words = [
            "patch",
            "pod",
            pod,
            "-n",
            &self.namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.cluster.kubectl(&words).await;
    }
}

pub(super) async fn code(run: &Process) -> (Option<i32>, Value) {
    let ended = wait_until("it ends", BOUND, async || run.status()).await;
    let view = serde_json::from_str(&run.output()).unwrap_or_default();
    (ended.code(), view)
}

#[tokio::test]
async fn it_runs_once_and_all_that_is_kept_is_proven() {
    require_cluster!("registry-3.1");
    let scene = Scene::start().await;
    let needed = Needed::of(scene.desk.root(), &[]);
    let run = scene.run();
    let (job, pod) = scene.pod().await;
    let spec = &job["spec"];
    assert_eq!(spec["backoffLimit"], 0);
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never");
    assert!(
        (1..7200).contains(&spec["activeDeadlineSeconds"].as_i64().unwrap()),
        "{spec}"
    );
    let container = &spec["template"]["spec"]["containers"][0];
    let words = |key: &str| {
        let all = container[key].as_array().unwrap().iter();
        all.map(|it| it.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut command = Command::new(&words("command")[0]);
    command
        .args(words("args"))
        .env("OTEL_TRACES_EXPORTER", "none");
    run_well(command).await;
    scene.ends(&pod, "Succeeded").await;
    let (code, view) = code(&run).await;
    assert_eq!(
        (code, view["result"].as_str()),
        (Some(0), Some("purged")),
        "{}",
        run.tail()
    );
    let lost = needed.lost(scene.desk.root());
    assert!(lost.blobs.is_empty() && lost.links.is_empty(), "{lost:?}");
    assert_eq!(lost.freed, needed.others.len());
}

#[tokio::test]
async fn a_pod_that_fails_is_the_only_one() {
    require_cluster!("registry-3.1");
    let scene = Scene::start().await;
    let run = scene.run();
    let (_, pod) = scene.pod().await;
    scene.ends(&pod, "Failed").await;
    let (code, view) = code(&run).await;
    assert_eq!(
        (code, view["result"].as_str()),
        (Some(1), Some("failed")),
        "{}",
        run.tail()
    );
    assert!(
        view["failed"].to_string().contains("BackoffLimitExceeded"),
        "{view}"
    );
    assert_eq!(scene.all("pods").await.len(), 1);
}

#[tokio::test]
async fn at_the_deadline_nothing_of_it_is_left() {
    require_cluster!("registry-3.1");
    let scene = Scene::start().await;
    scene.configure(&json!({"deadline": "3s"}));
    let ran = scene.desk.gc(&["run"]).await;
    failed(&ran, 1, "the Job ");
    assert!(scene.all("pods").await.is_empty());
}

#[tokio::test]
async fn one_whose_starter_died_is_deleted_by_whoever_comes_next() {
    require_cluster!("registry-3.1");
    let scene = Scene::start().await;
    let run = scene.run();
    scene.pod().await;
    let own = Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap();
    kill_process(own, Signal::KILL).unwrap();
    wait_until("it is killed", BOUND, async || run.status()).await;
    assert_eq!(scene.all("jobs").await.len(), 1);
    failed(
        &scene.desk.gc(&["run"]).await,
        1,
        "`kubernetesJob` was cut off",
    );
    assert!(scene.all("jobs").await.is_empty() && scene.all("pods").await.is_empty());
}

#[tokio::test]
async fn one_that_may_not_be_made_or_is_none_is_refused() {
    require_cluster!("registry-3.1");
    let scene = Scene::start().await;
    let nobody = scene.cluster.new_identity();
    scene.desk.use_cluster(&nobody.kubeconfig);
    refused(
        &scene.desk.gc(&["run"]).await,
        &["storage_unsupported"],
        "cannot be created: jobs.batch is forbidden",
    );
    fs::write(scene.desk.home().join("job.yaml"), "kind: CronJob").unwrap();
    refused(
        &scene.desk.gc(&["run"]).await,
        &["storage_unsupported"],
        "it is no Job",
    );
    assert!(scene.all("jobs").await.is_empty());
}
