//! A real registry, distribution 2.8.2 or 3.1.2, over a storage tree that the test owns.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::Certificate;
use super::parts;
use super::process::{Ending, Process, free_port, run_well};
use super::s3::S3;
use super::tokens::{self, TokenServer};

/// Both start in well under a second; the rest is for a machine that does much else.
const START_BOUND: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// 2.8.2
    V2,
    /// 3.1.1, whose list of tags on S3 leaves some out
    V311,
    /// 3.1.2
    V3,
}

impl Version {
    pub(crate) const ALL: [Self; 2] = [Self::V2, Self::V3];

    fn binary(self) -> &'static str {
        match self {
            Self::V2 => "docker-registry",
            Self::V311 => "registry-3.1.1",
            Self::V3 => "registry-3.1",
        }
    }
}

/// Whether it remembers which blobs it has. With the memory on, `HEAD` of a blob that is gone
/// goes on answering 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DescriptorCache {
    Off,
    InMemory,
    /// The port of a redis.
    Redis(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    ReadOnly,
    Pushes,
    PushesAndDeletes,
}

#[derive(Debug, Clone)]
enum Authentication {
    Nobody,
    Passwords(Vec<(String, String)>),
    Tokens { realm: String, authority: PathBuf },
}

/// How a registry is started: at first without cache, open to everybody, without TLS, and taking
/// pushes but no deletes.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    version: Version,
    root: PathBuf,
    descriptor_cache: DescriptorCache,
    changes: Changes,
    authentication: Authentication,
    certificate: Option<Certificate>,
    /// The URL of a registry that it is a pull-through cache of.
    upstream: Option<String>,
    /// The host of an S3 server, whose bucket is the storage then.
    s3: Option<String>,
    /// Over what the configuration says.
    environment: Vec<(String, String)>,
}

impl Options {
    pub(crate) fn new(version: Version, root: &Path) -> Self {
        Self {
            version,
            root: root.to_owned(),
            descriptor_cache: DescriptorCache::Off,
            changes: Changes::Pushes,
            authentication: Authentication::Nobody,
            certificate: None,
            upstream: None,
            s3: None,
            environment: Vec::new(),
        }
    }

    /// Over the bucket of an S3 server. Whoever asks for a blob is sent there.
    pub(crate) fn over_s3(version: Version, s3: &S3) -> Self {
        Self::over_s3_at(version, s3, &s3.host())
    }

    /// The same where the server is reached by another address.
    pub(crate) fn over_s3_at(version: Version, s3: &S3, host: &str) -> Self {
        Self {
            s3: Some(host.to_owned()),
            ..Self::new(version, &s3.bucket())
        }
    }

    pub(crate) fn with_descriptor_cache(mut self) -> Self {
        self.descriptor_cache = DescriptorCache::InMemory;
        self
    }

    /// With the cache in a redis at this port.
    pub(crate) fn with_redis(mut self, port: u16) -> Self {
        self.descriptor_cache = DescriptorCache::Redis(port);
        self
    }

    /// As a pull-through cache of another one.
    pub(crate) fn mirroring(mut self, url: &str) -> Self {
        self.upstream = Some(url.to_owned());
        self
    }

    pub(crate) fn with_deletes(mut self) -> Self {
        self.changes = Changes::PushesAndDeletes;
        self
    }

    pub(crate) fn read_only(mut self) -> Self {
        self.changes = Changes::ReadOnly;
        self
    }

    /// As a container's environment sets what the configuration does not.
    pub(crate) fn with_environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }

    pub(crate) fn with_passwords(mut self, users: &[(&str, &str)]) -> Self {
        let own = |&(user, word): &(&str, &str)| (user.to_owned(), word.to_owned());
        self.authentication = Authentication::Passwords(users.iter().map(own).collect());
        self
    }

    pub(crate) fn with_tokens(mut self, tokens: &TokenServer) -> Self {
        self.authentication = Authentication::Tokens {
            realm: tokens.realm(),
            authority: tokens.authority().to_owned(),
        };
        self
    }

    pub(crate) fn with_certificate(mut self, certificate: &Certificate) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
}

#[derive(Debug)]
pub(crate) struct Registry {
    options: Options,
    port: u16,
    process: Option<Process>,
    scratch: TempDir,
}

impl Registry {
    pub(crate) async fn start(options: Options) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let mut registry = Self {
            options,
            port: free_port(),
            process: None,
            scratch,
        };
        registry.start_again().await;
        registry
    }

    /// `127.0.0.1:PORT`, as it stands in references.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.options.certificate.is_some()
    }

    /// The storage tree.
    pub(crate) fn root(&self) -> &Path {
        &self.options.root
    }

    /// Freezes it: connections open, nothing answers.
    pub(crate) async fn pause(&self) {
        self.running().pause().await;
    }

    pub(crate) fn resume(&self) {
        self.running().resume();
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// On the same port, over the same tree.
    pub(crate) async fn start_again(&mut self) {
        self.stop();
        let configuration = self.write_configuration().await;
        let mut command = Command::new(parts::path(self.options.version.binary()));
        command
            .arg("serve")
            .arg(configuration)
            // 2.8.2 over S3 ends at once where the machine names authorities of its own.
            .env_remove("AWS_CA_BUNDLE")
            // 3.1 would look for a collector of traces, and log that there is none.
            .env("OTEL_TRACES_EXPORTER", "none")
            .envs(self.options.environment.iter().cloned());
        let process = Process::start(command, "registry", self.scratch.path(), Ending::Terminate);
        process.wait_until_it_listens(self.port, START_BOUND).await;
        self.process = Some(process);
    }

    /// Starts again with other options; a maintenance window is `|options| options.read_only()`.
    pub(crate) async fn start_again_with(&mut self, change: impl FnOnce(Options) -> Options) {
        self.options = change(self.options.clone());
        self.start_again().await;
    }

    /// Its own collector, with untagged manifests to be deleted; the arguments come on top.
    pub(crate) async fn garbage_collect(&self, arguments: &[&str]) -> String {
        let configuration = self.write_configuration().await;
        let mut command = Command::new(parts::path(self.options.version.binary()));
        command
            .args(["garbage-collect", "--delete-untagged"])
            .args(arguments)
            .arg(configuration)
            .env("OTEL_TRACES_EXPORTER", "none");
        run_well(command).await
    }

    /// What it was asked, in the order of the answers. A line is written after its answer was
    /// sent, so poll for the last one.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.running()
            .output()
            .lines()
            .filter_map(parse_request)
            .collect()
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("it was not stopped")
    }

    async fn write_configuration(&self) -> PathBuf {
        // JSON is YAML too.
        let text = self.configuration().await.to_string();
        let path = self.scratch.path().join("registry.yaml");
        std::fs::write(&path, text).expect("the scratch directory is there");
        path
    }

    async fn configuration(&self) -> Value {
        let Options {
            root,
            descriptor_cache,
            changes,
            authentication,
            certificate,
            ..
        } = &self.options;
        let mut configuration = json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": false}},
            "storage": {
                "filesystem": {"rootdirectory": root},
                "delete": {"enabled": *changes == Changes::PushesAndDeletes},
                "maintenance": {
                    "uploadpurging": {"enabled": false},
                    "readonly": {"enabled": *changes == Changes::ReadOnly},
                },
            },
            // A secret that differs from start to start would break uploads across a restart.
            "http": {"addr": self.host(), "secret": "test"},
        });
        if let Some(url) = &self.options.upstream {
            configuration["proxy"] = json!({"remoteurl": url});
        }
        if let Some(host) = &self.options.s3 {
            let storage = configuration["storage"].as_object_mut().expect("a map");
            storage.remove("filesystem");
            storage.insert("s3".to_owned(), S3::storage(host));
        }
        match descriptor_cache {
            DescriptorCache::Off => {}
            DescriptorCache::InMemory => {
                configuration["storage"]["cache"] = json!({"blobdescriptor": "inmemory"});
            }
            DescriptorCache::Redis(port) => {
                configuration["storage"]["cache"] = json!({"blobdescriptor": "redis"});
                let address = format!("127.0.0.1:{port}");
                configuration["redis"] = match self.options.version {
                    Version::V2 => json!({"addr": address}),
                    Version::V311 | Version::V3 => json!({"addrs": [address]}),
                };
            }
        }
        if let Some(Certificate { certificate, key }) = certificate {
            configuration["http"]["tls"] = json!({"certificate": certificate, "key": key});
        }
        match authentication {
            Authentication::Nobody => {}
            Authentication::Passwords(users) => {
                let path = self.write_passwords(users).await;
                configuration["auth"] = json!({"htpasswd": {"realm": "test", "path": path}});
            }
            Authentication::Tokens { realm, authority } => {
                configuration["auth"] = json!({"token": {
                    "realm": realm,
                    "service": tokens::SERVICE,
                    "issuer": tokens::ISSUER,
                    "rootcertbundle": authority,
                }});
            }
        }
        configuration
    }

    async fn write_passwords(&self, users: &[(String, String)]) -> PathBuf {
        let mut lines = String::new();
        for (user, word) in users {
            let mut htpasswd = Command::new(parts::path("htpasswd"));
            // The cheapest cost: a slow hash protects nothing here.
            htpasswd.args(["-C", "4", "-Bbn", user, word]);
            lines.push_str(run_well(htpasswd).await.trim());
            lines.push('\n');
        }
        let path = self.scratch.path().join("htpasswd");
        std::fs::write(&path, lines).expect("the scratch directory is there");
        path
    }
}

/// `127.0.0.1 - - [TIME] "GET /v2/ HTTP/1.1" 200 2 "" "user agent"`
fn parse_request(line: &str) -> Option<Request> {
    let (_, rest) = line.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    let mut words = request.split(' ');
    Some(Request {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        status: rest.split(' ').next()?.parse().ok()?,
    })
}

#[test]
fn an_access_log_line_is_parsed() {
    let line = r#"127.0.0.1 - - [21/Nov/2026:09:03:37 +0000] "HEAD /v2/a/b/manifests/1 HTTP/1.1" 404 96 "" "crane""#;
    let expected = Request {
        method: "HEAD".into(),
        path: "/v2/a/b/manifests/1".into(),
        status: 404,
    };
    assert_eq!(parse_request(line), Some(expected));
    assert_eq!(parse_request("time=\"now\" level=info"), None);
}
