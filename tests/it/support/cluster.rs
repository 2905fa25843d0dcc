//! A real cluster without nodes: etcd, kube-apiserver and kube-controller-manager.
//!
//! Deployments make `ReplicaSets` and Pods, RBAC is asked, watches and Leases work. There is no
//! kubelet: a test that needs a running Pod writes its status.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::certificates::{Authority, Certificate, Key};
use super::http;
use super::parts;
use super::process::{Ending, Process, free_port, run, run_well};
use super::watchdog;

/// It takes some four seconds on an idle machine.
const START_BOUND: Duration = Duration::from_mins(2);

/// How many identities without rights a cluster knows.
const IDENTITIES: usize = 64;

const ADMIN: &str = "admin";

/// A user that the API server knows by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// What a `RoleBinding`'s subject names, as `kind: User`.
    pub(crate) user: String,
    pub(crate) kubeconfig: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    controllers: Option<Process>,
    server: Option<Process>,
    etcd: Process,
    etcd_url: String,
    port: u16,
    certificate: Certificate,
    authority: Authority,
    /// The API server's, besides.
    arguments: Vec<String>,
    identities_taken: AtomicUsize,
    namespaces_made: AtomicUsize,
    directory: TempDir,
}

impl Cluster {
    /// The one that the tests of this binary share; each uses namespaces and identities of its
    /// own. A test that stops or pauses the API server starts its own.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                let cluster = Self::start().await;
                // A static is never dropped.
                watchdog::remove(cluster.directory.path());
                cluster
            })
            .await
    }

    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these arguments of the API server besides.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        let authority = Authority::new(path).await;
        let certificate = authority.issue("apiserver", Key::Elliptic).await;
        let mut openssl = Command::new(parts::path("openssl"));
        openssl
            .args(["genrsa", "-out"])
            .arg(path.join("sa.key"))
            .arg("2048");
        run_well(openssl).await;

        let port = free_port();
        write_identities(path, port, authority.certificate());
        let (client_port, peer_port) = (free_port(), free_port());
        let etcd_url = format!("http://127.0.0.1:{client_port}");
        let mut command = Command::new(parts::path("etcd"));
        command
            .arg(argument("data-dir", path.join("etcd").display()))
            .arg(argument("listen-client-urls", &etcd_url))
            .arg(argument("advertise-client-urls", &etcd_url))
            .arg(argument(
                "listen-peer-urls",
                format!("http://127.0.0.1:{peer_port}"),
            ));
        let etcd = Process::start(command, "etcd", path, Ending::Kill);
        etcd.wait_until_it_listens(client_port, START_BOUND).await;

        let mut cluster = Self {
            controllers: None,
            server: None,
            etcd,
            etcd_url,
            port,
            certificate,
            authority,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            identities_taken: AtomicUsize::new(0),
            namespaces_made: AtomicUsize::new(0),
            directory,
        };
        cluster.start_server().await;
        cluster.start_controllers();
        cluster
    }

    /// May do everything.
    pub(crate) fn admin(&self) -> Identity {
        self.identity(ADMIN)
    }

    /// One that nobody else has, with no rights until a test binds some.
    pub(crate) fn new_identity(&self) -> Identity {
        let number = self.identities_taken.fetch_add(1, Ordering::Relaxed);
        assert!(
            number < IDENTITIES,
            "all {IDENTITIES} identities are taken; raise the number"
        );
        self.identity(&stranger(number))
    }

    fn identity(&self, user: &str) -> Identity {
        Identity {
            user: user.to_owned(),
            kubeconfig: kubeconfig_path(self.directory.path(), user),
        }
    }

    /// A client of the calling test's runtime.
    pub(crate) async fn client(&self, identity: &Identity) -> kube::Client {
        http::install_crypto_provider();
        let kubeconfig = Kubeconfig::read_from(&identity.kubeconfig).expect("written at the start");
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .expect("a kubeconfig of ours");
        kube::Client::try_from(config).expect("a configuration of ours")
    }

    /// A namespace that nobody else has.
    pub(crate) async fn new_namespace(&self) -> String {
        let number = self.namespaces_made.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{number}");
        self.kubectl(&["create", "namespace", &name]).await;
        name
    }

    /// As the admin; panics with what the API server said when it refuses.
    pub(crate) async fn apply_yaml(&self, yaml: &str) {
        let file = tempfile::NamedTempFile::new_in(self.directory.path()).expect("a file");
        std::fs::write(file.path(), yaml).expect("the file is there");
        let path = file
            .path()
            .to_str()
            .expect("temporary directories have plain names");
        self.kubectl(&["apply", "-f", path]).await;
    }

    /// As the admin.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        run_well(self.kubectl_command(&self.admin(), arguments)).await
    }

    /// Where a refusal is what the test is about.
    pub(crate) async fn kubectl_as(
        &self,
        identity: &Identity,
        arguments: &[&str],
    ) -> Result<String, String> {
        run(self.kubectl_command(identity, arguments)).await
    }

    fn kubectl_command(&self, identity: &Identity, arguments: &[&str]) -> Command {
        let mut command = Command::new(parts::path("kubectl"));
        command
            .env("KUBECONFIG", &identity.kubeconfig)
            // Its cache of what the server offers; the machine's would outlive the cluster.
            .env("HOME", self.directory.path())
            .args(arguments);
        command
    }

    /// A kubeconfig of the identity that leads to the cluster another way: through a proxy, or by
    /// another API server.
    pub(crate) fn kubeconfig_by(&self, identity: &Identity, url: &str) -> PathBuf {
        let name = url.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let path = self
            .directory
            .path()
            .join(format!("{}-{name}", identity.user));
        let text = kubeconfig(&identity.user, url, self.authority());
        std::fs::write(&path, text).expect("the directory is there");
        path
    }

    /// Makes etcd forget every state but the last, as it does by itself every few minutes.
    pub(crate) async fn compact(&self) {
        let client = http::client();
        let ask = async |what: &str, body: &Value| {
            let url = format!("{}/v3/kv/{what}", self.etcd_url);
            let answer = http::post_json(&client, &url, body).await;
            serde_json::from_str::<Value>(&answer).expect("etcd answers in JSON")
        };
        // Any key: its revision is in the header.
        let told = ask("range", &json!({"key": "AA=="})).await;
        let revision = &told["header"]["revision"];
        ask(
            "compaction",
            &json!({"revision": revision, "physical": true}),
        )
        .await;
    }

    /// `HOST:PORT` of etcd.
    pub(crate) fn etcd_host(&self) -> &str {
        self.etcd_url.trim_start_matches("http://")
    }

    /// One more API server on what looks like etcd from there. It is ready when this returns.
    pub(crate) async fn another_server(&self, etcd_url: &str) -> AnotherServer {
        let port = free_port();
        let name = format!("apiserver-{port}");
        let command = self.server_command(port, etcd_url);
        let process = Process::start(command, &name, self.directory.path(), Ending::Kill);
        let url = format!("https://127.0.0.1:{port}");
        self.wait_until_ready(&process, &url).await;
        AnotherServer { process, url }
    }

    /// `https://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate to trust.
    pub(crate) fn authority(&self) -> &Path {
        self.authority.certificate()
    }

    /// Freezes the API server: connections open, nothing answers.
    pub(crate) async fn pause_server(&mut self) {
        self.running_server().pause().await;
    }

    pub(crate) fn resume_server(&mut self) {
        self.running_server().resume();
    }

    /// Ends the API server: connections are refused. What etcd holds stays.
    pub(crate) fn stop_server(&mut self) {
        self.server = None;
    }

    /// Starts the API server on its port, and waits until it is ready.
    pub(crate) async fn start_server(&mut self) {
        let command = self.server_command(self.port, &self.etcd_url);
        let path = self.directory.path();
        let server = Process::start(command, "apiserver", path, Ending::Kill);
        self.wait_until_ready(&server, &self.url()).await;
        self.server = Some(server);
    }

    fn server_command(&self, port: u16, etcd_url: &str) -> Command {
        let path = self.directory.path();
        let key = path.join("sa.key");
        let mut command = Command::new(parts::path("kube-apiserver"));
        command
            .arg(argument("etcd-servers", etcd_url))
            .arg(argument("secure-port", port))
            .arg("--bind-address=127.0.0.1")
            .arg(argument("cert-dir", path.join("certificates").display()))
            .arg(argument(
                "tls-cert-file",
                self.certificate.certificate.display(),
            ))
            .arg(argument(
                "tls-private-key-file",
                self.certificate.key.display(),
            ))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(argument("service-account-key-file", key.display()))
            .arg(argument("service-account-signing-key-file", key.display()))
            .arg(argument(
                "token-auth-file",
                path.join("tokens.csv").display(),
            ))
            .arg("--authorization-mode=RBAC")
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            // Without it a Pod would wait for its ServiceAccount, which the tests do not need.
            .arg("--disable-admission-plugins=ServiceAccount")
            .args(&self.arguments);
        command
    }

    async fn wait_until_ready(&self, server: &Process, url: &str) {
        let client = http::client_trusting(self.authority());
        let ready = format!("{url}/readyz");
        server
            .wait_until("the API server is ready", START_BOUND, async || {
                assert!(
                    self.etcd.status().is_none(),
                    "etcd ended:\n{}",
                    self.etcd.tail()
                );
                let request = client.get(&ready).bearer_auth(token(ADMIN)).send();
                request.await.ok()?.error_for_status().ok().map(drop)
            })
            .await;
    }

    fn start_controllers(&mut self) {
        let path = self.directory.path();
        let mut command = Command::new(parts::path("kube-controller-manager"));
        command
            .arg(argument("kubeconfig", self.admin().kubeconfig.display()))
            .arg(argument(
                "service-account-private-key-file",
                path.join("sa.key").display(),
            ))
            .arg(argument("root-ca-file", self.authority().display()))
            // Alone there is nobody to agree with, and waiting for a lease takes seconds.
            .arg("--leader-elect=false")
            // Its metrics; nobody asks for them.
            .arg("--secure-port=0");
        self.controllers = Some(Process::start(command, "controllers", path, Ending::Kill));
    }

    fn running_server(&self) -> &Process {
        self.server.as_ref().expect("it was not stopped")
    }
}

/// An API server beside a cluster's first.
#[derive(Debug)]
pub(crate) struct AnotherServer {
    pub(crate) process: Process,
    pub(crate) url: String,
}

fn argument(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn stranger(number: usize) -> String {
    format!("stranger-{number}")
}

fn token(user: &str) -> String {
    format!("token-of-{user}")
}

fn kubeconfig_path(directory: &Path, user: &str) -> PathBuf {
    directory.join(format!("{user}.kubeconfig"))
}

/// The API server reads the tokens once, at its start; so there is a number of identities to take.
fn write_identities(directory: &Path, port: u16, authority: &Path) {
    let mut lines = format!("{},{ADMIN},uid-{ADMIN},\"system:masters\"\n", token(ADMIN));
    let mut users = vec![ADMIN.to_owned()];
    for user in (0..IDENTITIES).map(stranger) {
        writeln!(lines, "{},{user},uid-{user}", token(&user)).expect("a string takes everything");
        users.push(user);
    }
    std::fs::write(directory.join("tokens.csv"), lines).expect("the directory is there");
    for user in users {
        let url = format!("https://127.0.0.1:{port}");
        let text = kubeconfig(&user, &url, authority);
        std::fs::write(kubeconfig_path(directory, &user), text).expect("the directory is there");
    }
}

fn kubeconfig(user: &str, url: &str, authority: &Path) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "clusters": [{"name": "test", "cluster": {
            "server": url,
            "certificate-authority": authority,
        }}],
        "users": [{"name": user, "user": {"token": token(user)}}],
    });
    config.to_string()
}
