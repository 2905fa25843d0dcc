//! What is served: metrics and health on one socket, the page and the API on the other. Nothing on
//! either changes anything.

pub mod api;
pub mod asked;
pub mod filter;
pub mod keepset;
pub mod page;
mod stream;
mod tagged;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::serve::Listener;
use jiff::SignedDuration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use self::asked::Asked;
use self::keepset::KeepSetSource;
use crate::clock::Clock;
use crate::metrics::exposition::{Exposition, Format};
use crate::state::Snapshot;
use crate::state::collections::Collections;
use crate::state::retention::Retentions;
use crate::state::storages::Storages;
use crate::state::windows::Windows;
use crate::view::answers::counted;

/// Without a new snapshot for so long, the daemon's heart has stopped.
const HEARTBEAT_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Whether the daemon lives, and whether it knows enough to be believed.
#[derive(Debug)]
pub struct Health {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    clock: Arc<dyn Clock>,
    was_ready: AtomicBool,
}

impl Health {
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            snapshots,
            clock,
            was_ready: AtomicBool::new(false),
        })
    }

    fn live(&self) -> Result<(), String> {
        let at = self.snapshots.borrow().at;
        let silent = self.clock.now().duration_since(at);
        if silent > HEARTBEAT_MAX {
            return Err(format!("no snapshot for {} s\n", silent.as_secs()));
        }
        Ok(())
    }

    /// Ready once everything was looked at for the first time. A registry that goes down later, or a
    /// cluster, is what the metrics tell; taking the daemon away for it would hide it.
    fn ready(&self) -> Result<(), String> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        if self.was_ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        if snapshot.is_ready {
            self.was_ready.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let mut problem = String::new();
        if snapshot.sequence < 2 {
            problem.push_str("nothing was read yet\n");
        }
        for source in &snapshot.sources {
            if let Some(reason) = &source.incomplete {
                problem.push_str(&format!("source {}: {reason}\n", source.name));
            }
        }
        let checked = |image: &&Arc<crate::state::ImageState>| {
            image
                .report
                .findings
                .iter()
                .any(|finding| finding.code == crate::verify::finding::Code::NeverChecked)
        };
        let unchecked = snapshot.images.iter().filter(checked).count();
        if unchecked > 0 {
            let unchecked = counted(unchecked, "image");
            problem.push_str(&format!("not checked yet: {unchecked}\n"));
        }
        Err(problem)
    }
}

#[derive(Debug, Clone)]
struct MetricsState {
    exposition: Arc<Exposition>,
    health: Arc<Health>,
    bodies: stream::Bodies,
}

/// `/metrics`, `/livez`, `/readyz`.
pub fn metrics_router(exposition: Arc<Exposition>, health: Arc<Health>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route(
            "/livez",
            get(async |State(state): State<MetricsState>| answer(state.health.live())),
        )
        .route(
            "/readyz",
            get(async |State(state): State<MetricsState>| answer(state.health.ready())),
        )
        // A scrape is large and alike: harder work saves little of it, and takes three times as long.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(MetricsState {
            exposition,
            health,
            bodies: stream::Bodies::default(),
        })
}

fn answer(health: Result<(), String>) -> Response {
    match health {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem).into_response(),
    }
}

async fn metrics(State(state): State<MetricsState>, headers: HeaderMap) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let format = Format::of(accept.unwrap_or_default());
    let exposition = Arc::clone(&state.exposition);
    let write = move |to: &mut dyn std::fmt::Write| exposition.encode(format, to);
    let body = state.bodies.body(write).await;
    ([(header::CONTENT_TYPE, format.content_type())], body).into_response()
}

/// What the page and the API tell of.
#[derive(Debug, Clone)]
pub struct Ui {
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// `None` where it is not to be served.
    pub keepset: Option<KeepSetSource>,
    pub windows: watch::Receiver<Arc<Windows>>,
    pub storages: watch::Receiver<Arc<Storages>>,
    pub collections: watch::Receiver<Arc<Collections>>,
    pub retentions: watch::Receiver<Arc<Retentions>>,
    pub asked: Asked,
}

#[derive(Debug, Clone)]
struct UiState {
    ui: Ui,
    bodies: stream::Bodies,
}

impl UiState {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.ui.snapshots.borrow())
    }
}

/// `/` and `/api/v1`.
pub fn ui_router(ui: Ui) -> Router {
    let fixed =
        |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    Router::new()
        .route("/", get(page::overview))
        .route("/image", get(page::image))
        .route("/registries", get(page::registries))
        .route("/collection", get(page::collection))
        .route("/style.css", get(page::style))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/images", get(api::images))
        .route("/api/v1/inventory", get(api::inventory))
        .route("/api/v1/keepset", get(keepset::keepset))
        .route("/api/v1/windows", get(api::windows))
        .route("/api/v1/findings", get(api::findings))
        .route("/api/v1/registries", get(api::registries))
        .route("/api/v1/gc", get(api::gc))
        .route("/api/v1/retention", get(api::retention))
        .route("/api/v1/openapi.yaml", get(api::openapi))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here; the page is at /\n"))
        // Image strings are written by every tenant: no script runs here, whatever they hold.
        .layer(fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(CompressionLayer::new())
        .with_state(UiState {
            ui,
            bodies: stream::Bodies::default(),
        })
}

/// Serves until told to stop. The caller bounds how long open connections may take then.
pub async fn serve<L>(listener: L, router: Router, stop: CancellationToken) -> anyhow::Result<()>
where
    L: Listener<Addr = SocketAddr>,
{
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .context("serving HTTP")
}
