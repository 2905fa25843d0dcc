//! The collector as a Job in the registry's namespace, with the manifests that are shipped, on a real API
//! server: it alone touches the storage, and knows what is in use from the daemon.

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Unit};
use pullproof::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::desk::Desk;
use crate::daemon::shop::deployment;
use crate::plan::checker::Needed;
use crate::plan::served::can_pull;
use crate::support::certificates::{Authority, Certificate, Key};
use crate::support::cluster::Cluster;
use crate::support::daemon::{self, BOUND};
use crate::support::http::{client, client_trusting};
use crate::support::parts::require_cluster;
use crate::support::process::{Ending, Process, free_port};
use crate::support::registry::Version;

const TOKEN: &str = "s3cret";
pub(crate) const COLLECTOR: &str = "system:serviceaccount:registry:pullproof-collector";
pub(crate) const DAEMON: &str = "system:serviceaccount:pullproof:pullproof";

pub(crate) fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(file);
    fs::read_to_string(path).unwrap()
}

/// What somebody may do in a namespace besides what everybody may, a line each.
pub(crate) async fn rights(cluster: &Cluster, who: &str, namespace: &str) -> Vec<String> {
    let who = format!("--as={who}");
    let words = [
        "auth",
        "can-i",
        "--list",
        "--no-headers",
        "-n",
        namespace,
        &who,
    ];
    let told = cluster.kubectl(&words).await;
    let lines = told
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut lines: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('[') && !line.starts_with("self"))
        .collect();
    lines.sort();
    lines
}

pub(crate) async fn applied() -> Cluster {
    let cluster = Cluster::start().await;
    for name in ["registry", "pullproof", "shop"] {
        cluster.kubectl(&["create", "namespace", name]).await;
    }
    for file in ["rbac.yaml", "collector-rbac.yaml", "collector-job.yaml"] {
        cluster.apply_yaml(&shipped(file)).await;
    }
    cluster
}

/// A kubeconfig with a token of the service account.
pub(crate) async fn kubeconfig(cluster: &Cluster, who: &str, to: &Path) {
    let [.., namespace, name] = who.split(':').collect::<Vec<_>>()[..] else {
        panic!("{who}");
    };
    let token = cluster
        .kubectl(&["create", "token", name, "-n", namespace])
        .await;
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "own",
        "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own"}}],
        "clusters": [{"name": "own", "cluster": {
            "server": cluster.url(), "certificate-authority": cluster.authority(),
        }}],
        "users": [{"name": "own", "user": {"token": token.trim()}}],
    });
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, text.to_string()).unwrap();
}

/// The daemon: it reads the cluster, and nothing leads it to the storage.
pub(crate) struct Watcher {
    home: TempDir,
    authority: Authority,
    metrics: u16,
    ui: u16,
    pub(crate) process: Process,
}

impl Watcher {
    async fn start(cluster: &Cluster, host: &str) -> Self {
        Self::start_with(cluster, host, json!({})).await
    }

    /// With this under `gc`.
    pub(crate) async fn start_with(cluster: &Cluster, host: &str, gc: Value) -> Self {
        let template = shipped("collector-template.yaml");
        Self::start_from(cluster, host, gc, &template).await
    }

    /// The same with another template for the Job.
    pub(crate) async fn start_from(
        cluster: &Cluster,
        host: &str,
        gc: Value,
        template: &str,
    ) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let authority = Authority::new(home.path()).await;
        let Certificate { certificate, key } = authority.issue("daemon", Key::Elliptic).await;
        fs::write(path("token"), TOKEN).unwrap();
        kubeconfig(cluster, DAEMON, &path("kubeconfig")).await;
        kubeconfig(cluster, DAEMON, &path(".kube/config")).await;
        fs::write(path("template.yaml"), template).unwrap();
        let (metrics, ui) = (free_port(), free_port());
        let text = json!({
            "inventory": {"clusters": [{"name": "prod", "kubeconfig": "kubeconfig"}]},
            "registries": [{"host": host, "plainHttp": true}],
            "verify": {"interval": "2s", "blobInterval": "2s"},
            "gc": gc,
            "http": {
                "metrics": format!("127.0.0.1:{metrics}"), "ui": format!("127.0.0.1:{ui}"),
                "tls": {"file": certificate, "keyFile": key}, "token": {"file": "token"},
            },
            "state": {"directory": "state"},
        });
        fs::write(path("pullproof.yaml"), text.to_string()).unwrap();
        let process = serve(home.path());
        let watcher = Self {
            home,
            authority,
            metrics,
            ui,
            process,
        };
        watcher.until_it_tells().await;
        watcher
    }

    /// The same once more, with all that it remembers.
    pub(crate) async fn start_again(self) -> Self {
        self.meanwhile(async |_| {}).await
    }

    /// Waits until a scrape has this series with this value.
    pub(crate) async fn until_told(&self, series: &str, value: f64) {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        let told = async || {
            let text = client().get(&url).send().await.ok()?.text().await.ok()?;
            let values = text.lines().filter_map(|it| it.strip_prefix(series));
            let mut values = values.filter_map(|it| it.trim().parse::<f64>().ok());
            values
                .any(|it| it.to_bits() == value.to_bits())
                .then_some(())
        };
        let what = format!("{series} is {value}");
        self.process.wait_until(&what, BOUND, told).await;
    }

    /// Waits until a scrape has no such series.
    pub(crate) async fn until_gone(&self, series: &str) {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        let told = async || {
            let text = client().get(&url).send().await.ok()?.text().await.ok()?;
            (!text.lines().any(|it| it.starts_with(series))).then_some(())
        };
        let what = format!("{series} is gone");
        self.process.wait_until(&what, BOUND, told).await;
    }

    /// Stops it, does something in its place, and starts it again.
    pub(crate) async fn meanwhile(self, done: impl AsyncFnOnce(&Self)) -> Self {
        self.process.stop();
        done(&self).await;
        let watcher = Self {
            process: serve(self.home.path()),
            ..self
        };
        watcher.until_it_tells().await;
        watcher
    }

    /// A command in its pod: what it said, and to whom.
    pub(crate) async fn gc(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let mut command = daemon::command(self.home.path());
        command.arg("gc").args(words);
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        let ended = ended.await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            ended.status.code(),
            text(&ended.stdout),
            text(&ended.stderr),
        )
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ui)
    }

    async fn until_it_tells(&self) {
        let client = client_trusting(self.authority.certificate());
        let url = format!("{}/api/v1/keepset", self.url());
        let told = async || {
            let asked = client.get(&url).bearer_auth(TOKEN).send().await.ok()?;
            let text = asked.text().await.ok()?;
            let answer: Value = serde_json::from_str(&text).ok()?;
            (answer["complete"] == true).then_some(())
        };
        self.process
            .wait_until("it tells what is kept", BOUND, told)
            .await;
    }
}

fn serve(home: &Path) -> Process {
    let mut command = daemon::command(home);
    command.arg("serve");
    Process::start(command, "daemon", home, Ending::Terminate)
}

/// Where the Job's files are, as its volumes say.
pub(crate) struct Mounted {
    home: TempDir,
}

impl Mounted {
    pub(crate) async fn of(cluster: &Cluster, watcher: &Watcher, desk: &Desk) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        kubeconfig(cluster, COLLECTOR, &path(".kube/config")).await;
        fs::create_dir(path("daemon")).unwrap();
        fs::write(path("daemon/token"), TOKEN).unwrap();
        fs::copy(watcher.authority.certificate(), path("daemon/ca.crt")).unwrap();
        let words = [
            "get",
            "configmap",
            "pullproof-collector",
            "-n",
            "registry",
            "-o",
            "json",
        ];
        let map: Value = serde_json::from_str(&cluster.kubectl(&words).await).unwrap();
        let text = map["data"]["pullproof.yaml"].as_str().unwrap();
        let text = text
            .replace("/etc/pullproof/", &format!("{}/", home.path().display()))
            .replace("/var/lib/registry", &desk.root().display().to_string())
            .replace("/var/lib/pullproof", &path("state").display().to_string())
            .replace("https://pullproof.pullproof.svc:8081", &watcher.url())
            .replace(
                "host: registry.example",
                &format!("host: \"{}\"", desk.registry.host()),
            )
            .replace("http://registry.registry.svc:5000", &desk.registry.url());
        let mut config: Value = serde_saphyr::from_str(&text).unwrap();
        // As if it had been there for long, and its window were open.
        let opened = (SystemClock.now() - SignedDuration::from_mins(10)).round(Unit::Minute);
        let opened = opened.unwrap().to_zoned(TimeZone::UTC);
        let gc = config["gc"].as_object_mut().unwrap();
        gc["mode"] = json!("quarantine");
        gc["windows"][0]["schedule"] =
            json!(format!("{} {} * * *", opened.minute(), opened.hour()));
        for (key, value) in [
            ("rehearsal", json!("0s")),
            ("untagged", json!("delete")),
            ("minimumAge", json!("1h")),
            ("longestRequest", json!("1s")),
            ("watchEvery", json!("1s")),
            ("maxCollectPercent", json!(100)),
            ("alarmPercent", json!(100)),
        ] {
            gc.insert(key.to_owned(), value);
        }
        fs::write(path("pullproof.yaml"), config.to_string()).unwrap();
        Self { home }
    }

    /// What a kubelet does with the Job's container.
    pub(crate) async fn run(&self, cluster: &Cluster, name: &str) -> (Option<i32>, Value) {
        let from = "--from=cronjob/pullproof-collector";
        cluster
            .kubectl(&["create", "job", name, from, "-n", "registry"])
            .await;
        self.contained(cluster, name).await
    }

    /// What the container of a Job says last.
    pub(crate) fn last_words(&self) -> String {
        fs::read_to_string(self.home.path().join("termination-log")).unwrap_or_default()
    }

    /// Changes what the Job's configuration says.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) {
        let file = self.home.path().join("pullproof.yaml");
        let mut text: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut text);
        fs::write(file, text.to_string()).unwrap();
    }

    /// The container of a Job, which is killed in the end.
    pub(crate) async fn begun(&self, cluster: &Cluster, name: &str) -> Process {
        let command = self.command(cluster, name).await;
        Process::start(command, "collector", self.home.path(), Ending::Kill)
    }

    /// What the container of a Job does.
    pub(crate) async fn contained(&self, cluster: &Cluster, name: &str) -> (Option<i32>, Value) {
        let mut command = self.command(cluster, name).await;
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        let ended = ended.await.unwrap();
        let view = serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| {
            panic!("{}", String::from_utf8_lossy(&ended.stderr));
        });
        (ended.status.code(), view)
    }

    async fn command(&self, cluster: &Cluster, name: &str) -> Command {
        let words = ["get", "job", name, "-n", "registry", "-o", "json"];
        let job: Value = serde_json::from_str(&cluster.kubectl(&words).await).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "pullproof-collector");
        let mut command = daemon::command(self.home.path());
        let own = format!("{}/", self.home.path().display());
        for word in pod["containers"][0]["args"].as_array().unwrap() {
            let word = word.as_str().unwrap().replace("/etc/pullproof/", &own);
            command.arg(word.replace("/dev/", &own));
        }
        command
    }
}

#[tokio::test]
async fn the_daemon_may_only_read_and_the_job_nothing_outside_its_namespace() {
    require_cluster!();
    let cluster = applied().await;
    assert_eq!(
        rights(&cluster, COLLECTOR, "registry").await,
        [
            "deployments.apps [] [registry] [get]",
            "leases.coordination.k8s.io [] [] [create]",
            "leases.coordination.k8s.io [] [pullproof-collector] [get update]",
            "pods [] [] [list]",
        ]
    );
    for namespace in ["shop", "pullproof", "default", "kube-system"] {
        assert_eq!(
            rights(&cluster, COLLECTOR, namespace).await,
            [""; 0],
            "{namespace}"
        );
    }
    for line in rights(&cluster, DAEMON, "registry").await {
        assert!(line.ends_with("[list watch]"), "{line}");
        let is_storage = ["secrets", "persistentvolume", "leases"];
        assert!(!is_storage.iter().any(|it| line.starts_with(it)), "{line}");
    }
    // Whoever switches the registry may change that one Deployment besides.
    let bind = [
        "create",
        "rolebinding",
        "pullproof-collector-switch",
        "-n",
        "registry",
        "--role=pullproof-collector-switch",
        "--serviceaccount=registry:pullproof-collector",
    ];
    cluster.kubectl(&bind).await;
    let switches = rights(&cluster, COLLECTOR, "registry").await;
    let line = switches
        .iter()
        .find(|it| it.starts_with("deployments"))
        .unwrap();
    // Two roles, in either order.
    let line = line.replace("[patch get]", "[get patch]");
    assert_eq!(line, "deployments.apps [] [registry] [get patch]");
    assert_eq!(switches.len(), 4);
}

#[tokio::test]
async fn it_collects_by_what_the_daemon_tells_and_not_without() {
    require_cluster!("registry-3.1", "crane", "regctl");
    let cluster = applied().await;
    let desk = Desk::start(Version::V3).await;
    // What runs is known to the daemon alone.
    let untagged = desk.tree.find("untagged").digest;
    let images = [desk.at("app:v1"), desk.at(&format!("app@{untagged}"))];
    for (name, image) in ["web", "old"].iter().zip(&images) {
        cluster.apply_yaml(&deployment("shop", name, image)).await;
    }
    let registry = deployment("registry", "registry", "registry.example/registry:3");
    cluster.apply_yaml(&registry).await;
    let watcher = Watcher::start(&cluster, &desk.registry.host()).await;
    let job = Mounted::of(&cluster, &watcher, &desk).await;
    let needed = Needed::of(desk.root(), std::slice::from_ref(&untagged));
    let before = desk.content();

    let (code, view) = job.run(&cluster, "first").await;
    assert_eq!(
        (code, &view["result"]),
        (Some(0), &json!("quarantined")),
        "{view:#}"
    );
    let lost = needed.lost(desk.root());
    assert!(lost.blobs.is_empty() && lost.links.is_empty(), "{lost:?}");
    for image in ["app:v1", &format!("app@{untagged}")] {
        assert_eq!(can_pull(Version::V3, desk.root(), image).await, Ok(()));
    }
    // The daemon has not been near it.
    let theirs = watcher.home.path().join("state");
    assert!(theirs.exists() && !desk.content().is_empty());

    let after = desk.content();
    assert!(after.len() < before.len());
    watcher.process.stop();
    let (code, view) = job.run(&cluster, "second").await;
    assert_eq!(
        (code, &view["result"]),
        (Some(3), &json!("refused")),
        "{view:#}"
    );
    assert_eq!(
        view["refusals"][0]["code"], "inventory_incomplete",
        "{view:#}"
    );
    assert!(desk.content() == after);
}
