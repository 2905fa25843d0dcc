//! Connections that have shaken hands. One that is slow at it keeps nobody else waiting.
//!
//! Certificates are renewed as files: what they hold now counts for the next connection.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::Listener;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::zeroize::Zeroizing;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

/// How long a handshake may take, and how many may be under way.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const HANDSHAKES_MAX: usize = 256;
/// How old what was read of the files may be when somebody connects.
const FILES_AGE_MAX: Duration = Duration::from_secs(10);

type Connection = (TlsStream<TcpStream>, SocketAddr);

/// A listener whose connections are TLS.
pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    certificate: PathBuf,
    key: PathBuf,
    /// What was in the files when they were read last, be it good or not.
    files: Files,
    read_at: Instant,
    handshakes: FuturesUnordered<BoxFuture<'static, Option<Connection>>>,
}

impl std::fmt::Debug for TlsListener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TlsListener")
            .finish_non_exhaustive()
    }
}

impl TlsListener {
    /// With a certificate chain and its key, both PEM.
    pub fn new(listener: TcpListener, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let files = Files::read(certificate, key)?;
        Ok(Self {
            listener,
            acceptor: files.acceptor(certificate, key)?,
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            files,
            read_at: Instant::now(),
            handshakes: FuturesUnordered::new(),
        })
    }

    /// Reads the files again. Until both are good again together, those before go on.
    fn renew(&mut self) {
        if self.read_at.elapsed() < FILES_AGE_MAX {
            return;
        }
        self.read_at = Instant::now();
        let read = Files::read(&self.certificate, &self.key);
        let renewed = read.and_then(|files| {
            if files == self.files {
                return Ok(None);
            }
            let acceptor = files.acceptor(&self.certificate, &self.key);
            self.files = files;
            acceptor.map(Some)
        });
        match renewed {
            Ok(Some(acceptor)) => {
                info!(file = %self.certificate.display(), "the certificate is another now");
                self.acceptor = acceptor;
            }
            Ok(None) => {}
            Err(error) => {
                warn!("the certificate of http.tls stays the one before: {error:#}");
            }
        }
    }
}

/// A certificate chain and its key, as text.
#[derive(PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Files {
    fn read(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| format!("reading {}", path.display()))
        };
        Ok(Self {
            chain: read(certificate)?,
            key: read(key)?.into(),
        })
    }

    fn acceptor(&self, certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
        let named = |path: &Path| format!("reading {}", path.display());
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| named(certificate))?;
        let key_der = PrivateKeyDer::from_pem_slice(&self.key).with_context(|| named(key))?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key_der)
            .with_context(|| format!("using {} as the key of http.tls", key.display()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config).into())
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Connection {
        loop {
            // Both are cancel-safe: a connection that waits goes on waiting.
            tokio::select! {
                (stream, from) = Listener::accept(&mut self.listener), if self.handshakes.len() < HANDSHAKES_MAX => {
                    self.renew();
                    let handshake = timeout(HANDSHAKE_MAX, self.acceptor.accept(stream));
                    let connection = async move { Some((handshake.await.ok()?.ok()?, from)) };
                    self.handshakes.push(connection.boxed());
                }
                Some(done) = self.handshakes.next(), if !self.handshakes.is_empty() => {
                    if let Some(connection) = done {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
