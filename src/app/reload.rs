//! The configuration file, read again when it changes and on SIGHUP. A bad file keeps the old one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{self, Config};

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
    let base = path
        .parent()
        .unwrap_or_else(|| std::path::Path::new(""))
        .to_owned();
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
    let mut text = origin.text;
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        // Between the two writes of an editor the file may be gone or empty: looked at again later.
        let read = tokio::fs::read_to_string(&path).await;
        if read.as_ref().is_ok_and(|read| *read == text) {
            continue;
        }
        match load(Some(path.clone())) {
            Ok((config, origin)) => {
                text = origin.text;
                info!(file = %path.display(), "the configuration is read again");
                publish.send_replace(Arc::new(config));
                is_current.send_replace(true);
            }
            Err(problem) => {
                if let Ok(read) = read {
                    text = read;
                }
                error!("{problem}");
                error!("the configuration stays as it was");
                is_current.send_replace(false);
            }
        }
    }
}
