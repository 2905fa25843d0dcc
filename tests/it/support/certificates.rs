//! A certificate authority of a test's own, made with openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::parts;
use super::process::run_well;

/// Which kind of key. Elliptic ones are made in milliseconds; the token server needs RSA, since
/// what it signs must be RS256.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    Elliptic,
    Rsa,
}

#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Authority {
    directory: PathBuf,
    own: Certificate,
}

impl Authority {
    /// Its files go to the directory, which the caller keeps.
    pub(crate) async fn new(directory: &Path) -> Self {
        let own = generate(
            directory,
            "authority",
            Key::Elliptic,
            "basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, digitalSignature\n",
            None,
        )
        .await;
        Self {
            directory: directory.to_owned(),
            own,
        }
    }

    /// The certificate to trust.
    pub(crate) fn certificate(&self) -> &Path {
        &self.own.certificate
    }

    /// A server's certificate for loopback, and for the name by which Pods call the API server.
    pub(crate) async fn issue(&self, name: &str, key: Key) -> Certificate {
        // Not an authority itself: rustls refuses such a certificate at a server.
        let extensions = "basicConstraints = critical, CA:FALSE\n\
            subjectAltName = IP:127.0.0.1, DNS:localhost, DNS:kubernetes.default.svc\n";
        generate(&self.directory, name, key, extensions, Some(&self.own)).await
    }
}

async fn generate(
    directory: &Path,
    name: &str,
    key: Key,
    extensions: &str,
    issuer: Option<&Certificate>,
) -> Certificate {
    let made = Certificate {
        certificate: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}.key")),
    };
    // A configuration of our own: the machine's would add extensions that contradict ours.
    let configuration = directory.join(format!("{name}.cnf"));
    let text = format!(
        "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = extensions\n\
         [name]\nCN = pullproof test {name}\n[extensions]\n\
         subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n{extensions}"
    );
    std::fs::write(&configuration, text).expect("the directory is there");

    let mut openssl = Command::new(parts::path("openssl"));
    openssl
        .args(["req", "-x509", "-nodes", "-days", "3650", "-config"])
        .arg(configuration);
    match key {
        Key::Elliptic => openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        Key::Rsa => openssl.args(["-newkey", "rsa:2048"]),
    };
    if let Some(issuer) = issuer {
        openssl
            .arg("-CA")
            .arg(&issuer.certificate)
            .arg("-CAkey")
            .arg(&issuer.key);
    }
    openssl
        .arg("-keyout")
        .arg(&made.key)
        .arg("-out")
        .arg(&made.certificate);
    run_well(openssl).await;
    made
}
