//! The configuration file, read again when it changes and on SIGHUP. A bad file keeps the old one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::files::FileKind;
use crate::config::{self, Config};
use crate::oci::digest::Digest;

/// The file is compared this often. By content: a ConfigMap's files change by a link far above them.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Where a configuration came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `None`: there is no file, and the defaults hold.
    pub path: Option<PathBuf>,
    pub text: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0}")]
    Invalid(config::problem::Problems),
}

/// Reads and checks a configuration and the files that it names.
pub fn load(path: Option<PathBuf>) -> Result<(Config, Origin), LoadError> {
    let Some(path) = path else {
        return Ok((
            Config::default(),
            Origin {
                path: None,
                text: String::new(),
            },
        ));
    };
    let text = std::fs::read_to_string(&path).map_err(|source| LoadError::Read {
        path: path.clone(),
        source,
    })?;
    let name = path.display().to_string();
    let base = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let config = config::parse(&text, &name, &base).map_err(LoadError::Invalid)?;
    config
        .check_files(&text, &name)
        .map_err(LoadError::Invalid)?;
    Ok((
        config,
        Origin {
            path: Some(path),
            text,
        },
    ))
}

/// Publishes each new good configuration, and whether the file on disk is the one in use.
pub async fn follow(
    origin: Origin,
    publish: watch::Sender<Arc<Config>>,
    is_current: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let Some(path) = origin.path.clone() else {
        stop.cancelled().await;
        return;
    };
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            warn!(%error, "SIGHUP cannot be heard; the file is still looked at");
            stop.cancelled().await;
            return;
        }
    };
    let mut loaded = Look::at(&path, &current(&publish)).await;
    loaded.text = Some(origin.text);
    let mut complaint = String::new();
    loop {
        let is_asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
            () = stop.cancelled() => return,
        };
        let look = Look::at(&path, &current(&publish)).await;
        if look == loaded && !is_asked {
            // Somebody put back what is in use.
            is_current.send_if_modified(|current| !std::mem::replace(current, true));
            complaint.clear();
            continue;
        }
        match load(Some(path.clone())) {
            Ok((config, origin)) => {
                info!(file = %path.display(), "the configuration is read again");
                loaded = Look::at(&path, &config).await;
                loaded.text = Some(origin.text);
                publish.send_replace(Arc::new(config));
                is_current.send_replace(true);
                complaint.clear();
            }
            // Tried again at the next look, and said again only if it is another problem.
            Err(problem) => {
                let problem = problem.to_string();
                if problem != complaint || is_asked {
                    error!("{problem}");
                    error!("the configuration stays as it was");
                }
                complaint = problem;
                is_current.send_replace(false);
            }
        }
    }
}

fn current(publish: &watch::Sender<Arc<Config>>) -> Arc<Config> {
    Arc::clone(&publish.borrow())
}

/// What is on disk: the file, and the files that the configuration in use names (certificates and
/// credentials rotate without a word in the configuration itself).
#[derive(Debug, PartialEq, Eq)]
struct Look {
    text: Option<String>,
    named: Vec<Option<Digest>>,
}

impl Look {
    async fn at(path: &Path, config: &Config) -> Self {
        // Lists and manifests are their sources' own to read again.
        let rotates = |kind: FileKind| {
            matches!(
                kind,
                FileKind::Certificates | FileKind::PrivateKey | FileKind::DockerConfig
            )
        };
        let named = config
            .files()
            .into_iter()
            .filter(|named| rotates(named.kind));
        let named: Vec<PathBuf> = named.map(|named| named.file.to_owned()).collect();
        let path = path.to_owned();
        let looked = tokio::task::spawn_blocking(move || Self {
            text: std::fs::read_to_string(path).ok(),
            named: named
                .into_iter()
                .map(|file| std::fs::read(file).ok().map(|content| Digest::of(&content)))
                .collect(),
        });
        looked.await.unwrap_or(Self {
            text: None,
            named: Vec::new(),
        })
    }
}
