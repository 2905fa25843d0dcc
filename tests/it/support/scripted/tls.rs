//! Certificates that are good and bad, for a scripted registry.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::certificates::Certificate;
use crate::support::http::install_crypto_provider;
use crate::support::parts;
use crate::support::process::run_well;

/// What a server needs to show a certificate. `protocols` are offered in the handshake.
pub(crate) fn serve(certificate: &Certificate, protocols: &[&str]) -> Arc<ServerConfig> {
    install_crypto_provider();
    let chain =
        vec![CertificateDer::from_pem_file(&certificate.certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("a key");
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key is the certificate's");
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A certificate of loopback that ended yesterday, by the authority whose files are in the directory.
pub(crate) async fn issue_expired(directory: &Path) -> Certificate {
    let file = |name: &str| directory.join(name);
    let made = Certificate {
        certificate: file("expired.pem"),
        key: file("expired.key"),
    };
    let extensions = "basicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n";
    std::fs::write(file("expired.cnf"), extensions).expect("the directory is there");
    let mut request = Command::new(parts::path("openssl"));
    request
        .args([
            "req",
            "-new",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-subj", "/CN=pullproof test expired", "-keyout"])
        .arg(&made.key)
        .arg("-out")
        .arg(file("expired.csr"));
    run_well(request).await;
    let mut sign = Command::new(parts::path("openssl"));
    sign.args(["x509", "-req", "-days", "-1", "-CAcreateserial", "-in"])
        .arg(file("expired.csr"))
        .arg("-CA")
        .arg(file("authority.pem"))
        .arg("-CAkey")
        .arg(file("authority.key"))
        .arg("-extfile")
        .arg(file("expired.cnf"))
        .arg("-out")
        .arg(&made.certificate);
    run_well(sign).await;
    made
}
