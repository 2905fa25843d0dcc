//! `pullproof serve`: the daemon, until SIGTERM or Ctrl-C.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Global};
use crate::app::serve::{self, Listeners, Options};
use crate::clock::SystemClock;
use crate::metrics::compat::Compat;

#[derive(Debug, clap::Args)]
pub struct ServeArguments {
    /// This host speaks plain HTTP
    #[arg(
        long,
        value_name = "HOST",
        env = "PULLPROOF_PLAIN_HTTP",
        value_delimiter = ','
    )]
    plain_http: Vec<String>,
    /// Expose another exporter's series too, with its names and labels: k8s-iae
    /// (k8s-image-availability-exporter)
    #[arg(long, value_name = "NAME", env = "PULLPROOF_COMPAT_METRICS")]
    compat_metrics: Option<Compat>,
}

pub async fn run(arguments: ServeArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, origin) = match global.load() {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    global.start_log(&config, None);
    let shutdown = shutdown()?;
    let listeners = Listeners::bind(&config).await?;
    let options = Options {
        config,
        origin,
        more: Vec::new(),
        plain_http: arguments.plain_http.into_iter().collect(),
        compat: arguments.compat_metrics,
        listeners,
        clock: Arc::new(SystemClock),
    };
    serve::serve(options, |_| {}, shutdown).await?;
    Ok(Exit::Done)
}

/// Ends when the process is asked to end.
pub fn shutdown() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
