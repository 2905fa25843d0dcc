//! The files that a configuration names: whether they can be read, and are what they should be.
//!
//! Apart from the parse, which stays pure. Called before a configuration is taken over, since a
//! file that cannot be read now would only show later as a registry that answers nobody.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::problem::{Problems, Report};
use super::tree;
use super::{Acr, Collector, Config, Credentials, Executor, Redis, Storage, decode, raw};

/// More is no certificate, key or kubeconfig.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What a named file has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// PEM with at least one certificate.
    Certificates,
    /// PEM with a private key.
    PrivateKey,
    /// JSON as `docker login` writes it.
    DockerConfig,
    /// JSON as Google hands it out.
    GoogleCredentials,
    /// Text that only its reader understands.
    Secret,
    Kubeconfig,
    ReferenceList,
    /// A file or a directory of Kubernetes YAML.
    Manifests,
    /// The manifest of a Job.
    JobTemplate,
}

/// A file that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile<'a> {
    /// Where the configuration names it, as `registries[0].tls.ca.file`.
    pub named_at: String,
    pub file: &'a Path,
    pub kind: FileKind,
}

/// Every file that the configuration names, in the order of its paths; a daemon watches them.
pub(super) fn named(config: &Config) -> Vec<NamedFile<'_>> {
    let mut files = Vec::new();
    let mut push = |named_at, file, kind| {
        files.push(NamedFile {
            named_at,
            file,
            kind,
        });
    };
    let sources = &config.inventory;
    for (index, cluster) in sources.clusters.iter().enumerate() {
        if let super::ClusterAccess::Kubeconfig {
            file: Some(file), ..
        } = &cluster.access
        {
            let named_at = format!("inventory.clusters[{index}].kubeconfig");
            push(named_at, file, FileKind::Kubeconfig);
        }
    }
    for (index, peer) in sources.peers.iter().enumerate() {
        let path = format!("inventory.peers[{index}]");
        if let Some(ca) = &peer.ca {
            push(format!("{path}.ca.file"), ca, FileKind::Certificates);
        }
        push(format!("{path}.token.file"), &peer.token, FileKind::Secret);
    }
    for (index, list) in sources.references.iter().enumerate() {
        let named_at = format!("inventory.references[{index}].file");
        push(named_at, &list.file, FileKind::ReferenceList);
    }
    for (index, manifests) in sources.manifests.iter().enumerate() {
        let named_at = format!("inventory.manifests[{index}].path");
        push(named_at, &manifests.path, FileKind::Manifests);
    }
    if let Some(certificate) = &config.http.tls {
        let (file, key) = (&certificate.file, &certificate.key_file);
        push("http.tls.file".to_owned(), file, FileKind::Certificates);
        push("http.tls.keyFile".to_owned(), key, FileKind::PrivateKey);
    }
    if let Some(token) = &config.http.token {
        push("http.token.file".to_owned(), token, FileKind::Secret);
    }
    if let Some((key, file, kind)) = of_collector(&config.gc.collector) {
        push(format!("gc.{key}"), file, kind);
    }
    for (key, file, kind) in of_redis(config.gc.redis.as_ref()) {
        push(format!("gc.{key}"), file, kind);
    }
    for (index, registry) in config.registries.iter().enumerate() {
        let path = format!("registries[{index}]");
        if let Some(ca) = &registry.tls.ca {
            push(format!("{path}.tls.ca.file"), ca, FileKind::Certificates);
        }
        if let Some(certificate) = &registry.tls.client_certificate {
            let path = format!("{path}.tls.clientCertificate");
            push(
                format!("{path}.file"),
                &certificate.file,
                FileKind::Certificates,
            );
            push(
                format!("{path}.keyFile"),
                &certificate.key_file,
                FileKind::PrivateKey,
            );
        }
        if let Some(Storage::S3(s3)) = &registry.storage {
            let path = format!("{path}.storage.s3");
            if let Some(file) = &s3.access_key {
                let named_at = format!("{path}.credentials.accessKey.file");
                push(named_at, file, FileKind::Secret);
            }
            if let Some(ca) = &s3.ca {
                push(format!("{path}.ca.file"), ca, FileKind::Certificates);
            }
        }
        let own = Some(&registry.gc.collector).filter(|it| **it != config.gc.collector);
        let of_gc = [
            own.and_then(of_collector),
            of_executor(&registry.gc.executor),
        ];
        for (key, file, kind) in of_gc.into_iter().flatten() {
            push(format!("{path}.gc.{key}"), file, kind);
        }
        let own = (registry.gc.redis.as_ref()).filter(|it| config.gc.redis.as_ref() != Some(*it));
        for (key, file, kind) in of_redis(own) {
            push(format!("{path}.gc.{key}"), file, kind);
        }
        if let Some((key, file, kind)) = of_credentials(registry.credentials.as_ref()) {
            push(format!("{path}.credentials.{key}.file"), file, kind);
        }
    }
    files
}

fn of_credentials(credentials: Option<&Credentials>) -> Option<(&'static str, &Path, FileKind)> {
    match credentials? {
        Credentials::DockerConfig(file) => Some(("dockerConfig", file, FileKind::DockerConfig)),
        Credentials::Ecr(ecr) => {
            let file = ecr.access_key.as_ref()?;
            Some(("ecr.accessKey", file, FileKind::Secret))
        }
        Credentials::Gar(file) => Some((
            "gar.applicationCredentials",
            file.as_ref()?,
            FileKind::GoogleCredentials,
        )),
        Credentials::Acr(Acr::ServicePrincipal { secret, .. }) => {
            Some(("acr.clientSecret", secret, FileKind::Secret))
        }
        Credentials::Acr(Acr::Environment { .. }) => None,
    }
}

fn of_redis(redis: Option<&Redis>) -> impl Iterator<Item = (&'static str, &Path, FileKind)> {
    let redis = redis.into_iter();
    redis.flat_map(|redis| {
        let password = (redis.password.as_deref())
            .map(|file| ("settle.redis.password.file", file, FileKind::Secret));
        let ca = (redis.ca.as_deref())
            .map(|file| ("settle.redis.ca.file", file, FileKind::Certificates));
        [password, ca].into_iter().flatten()
    })
}

fn of_collector(collector: &Collector) -> Option<(&'static str, &Path, FileKind)> {
    let job = collector.job()?;
    Some((
        "collector.job.template",
        &job.template,
        FileKind::JobTemplate,
    ))
}

fn of_executor(executor: &Executor) -> Option<(&'static str, &Path, FileKind)> {
    match executor {
        Executor::KubernetesJob(job) => Some((
            "executor.kubernetesJob.template",
            &job.template,
            FileKind::Manifests,
        )),
        Executor::Harbor(harbor) => Some((
            "executor.harbor.credentials.file",
            &harbor.credentials,
            FileKind::Secret,
        )),
        Executor::Builtin | Executor::Command(_) => None,
    }
}

/// Reads each file that `config` names; `text` is what it was parsed from, for the places.
pub(super) fn check(config: &Config, text: &str, file_name: &str) -> Result<(), Problems> {
    let mut report = Report::new(text);
    // The text was parsed before; were it another one by mistake, only the places would be off.
    let documents = tree::read(text).unwrap_or_default();
    let mut places = Report::new(text);
    if let Some(root) = documents.first() {
        decode::decode(root, &raw::schema(), &mut places);
    }
    for NamedFile {
        named_at,
        file,
        kind,
    } in named(config)
    {
        if let Err(problem) = examine(file, kind) {
            let place = places.find(&named_at);
            report.add_at(place, &named_at, format!("{}: {problem}", file.display()));
        }
    }
    report.finish(file_name)
}

fn examine(path: &Path, kind: FileKind) -> Result<(), String> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "there is no such file; a relative name is looked up beside the \
                                configuration"
            .to_owned(),
        _other => format!("it cannot be read: {error}"),
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return match kind {
            FileKind::Manifests => fs::read_dir(path).map(drop).map_err(unreadable),
            FileKind::Certificates
            | FileKind::PrivateKey
            | FileKind::DockerConfig
            | FileKind::GoogleCredentials
            | FileKind::Secret
            | FileKind::Kubeconfig
            | FileKind::ReferenceList
            | FileKind::JobTemplate => Err("it is a directory, not a file".to_owned()),
        };
    }
    // A pipe or a device would block the check, or never end.
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut content = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut content))
        .map_err(unreadable)?;
    let content = String::from_utf8_lossy(&content);
    let missing = match kind {
        FileKind::Certificates if !content.contains("-----BEGIN CERTIFICATE-----") => {
            "it holds no certificate; expected PEM (-----BEGIN CERTIFICATE-----)"
        }
        FileKind::PrivateKey if !content.contains("PRIVATE KEY-----") => {
            "it holds no private key; expected PEM (-----BEGIN PRIVATE KEY-----)"
        }
        FileKind::GoogleCredentials
            if !serde_json::from_str::<serde_json::Value>(&content)
                .is_ok_and(|json| json.get("type").is_some()) =>
        {
            "it is not JSON as Google hands it out; expected {\"type\": \"service_account\", …} or \
             {\"type\": \"external_account\", …}"
        }
        FileKind::DockerConfig
            if !serde_json::from_str::<serde_json::Value>(&content)
                .is_ok_and(|json| json.is_object()) =>
        {
            "it is not JSON as docker login writes it; expected {\"auths\": {…}}"
        }
        FileKind::Certificates
        | FileKind::PrivateKey
        | FileKind::DockerConfig
        | FileKind::GoogleCredentials
        | FileKind::Secret
        | FileKind::Kubeconfig
        | FileKind::ReferenceList
        | FileKind::Manifests
        | FileKind::JobTemplate => return Ok(()),
    };
    Err(missing.to_owned())
}
