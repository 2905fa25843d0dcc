//! `/api/v1`: the snapshot, and what is published beside it, as JSON. `openapi.yaml` says all of it.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::filter::Filter;
use super::{UiState, tagged};
use crate::clock::{Clock as _, SystemClock};
use crate::state::{ImageState, Snapshot};
use crate::view::collections::CollectionsView;
use crate::view::findings::FindingsView;
use crate::view::registries::RegistriesView;
use crate::view::retentions::RetentionsView;
use crate::view::windows::WindowsView;
use crate::view::{DaemonInventoryView, ImagesView, StatusView};

/// What is served here, for machines.
pub(super) async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/yaml; charset=utf-8")];
    (kind, include_str!("openapi.yaml")).into_response()
}

pub(super) async fn status(State(state): State<UiState>, headers: HeaderMap) -> Response {
    tagged::json(&headers, &StatusView::of(&state.snapshot()))
}

/// What is asked of images, or what is wrong with the question.
type Filtered = Result<Query<Filter>, QueryRejection>;

pub(super) async fn images(
    State(state): State<UiState>,
    headers: HeaderMap,
    filter: Filtered,
) -> Response {
    filtered(&state, filter, |snapshot, matching, page| {
        let view = ImagesView {
            matching,
            ..ImagesView::of(snapshot, page)
        };
        tagged::json(&headers, &view)
    })
}

pub(super) async fn findings(
    State(state): State<UiState>,
    headers: HeaderMap,
    filter: Filtered,
) -> Response {
    filtered(&state, filter, |snapshot, matching, page| {
        tagged::json(&headers, &FindingsView::of(snapshot, matching, page))
    })
}

/// An answer of one page of the images that match, with how many do.
fn filtered(
    state: &UiState,
    filter: Filtered,
    answer: impl FnOnce(&Snapshot, usize, Vec<&ImageState>) -> Response,
) -> Response {
    match filter {
        Ok(Query(filter)) => {
            let snapshot = state.snapshot();
            let (matching, page) = filter.apply(&snapshot);
            answer(&snapshot, matching, page)
        }
        Err(rejection) => bad_query(&rejection),
    }
}

pub(super) async fn registries(State(state): State<UiState>, headers: HeaderMap) -> Response {
    tagged::json(&headers, &RegistriesView::of(&state.snapshot()))
}

pub(super) async fn inventory(State(state): State<UiState>, headers: HeaderMap) -> Response {
    tagged::json(&headers, &DaemonInventoryView::from(&*state.snapshot()))
}

pub(super) async fn windows(State(state): State<UiState>, headers: HeaderMap) -> Response {
    let windows = Arc::clone(&state.ui.windows.borrow());
    tagged::json(&headers, &WindowsView::of(&windows))
}

pub(super) async fn gc(State(state): State<UiState>, headers: HeaderMap) -> Response {
    let storages = Arc::clone(&state.ui.storages.borrow());
    let collections = Arc::clone(&state.ui.collections.borrow());
    let view = CollectionsView::of(&storages, &collections, SystemClock.now());
    tagged::json(&headers, &view)
}

pub(super) async fn retention(State(state): State<UiState>, headers: HeaderMap) -> Response {
    let retentions = Arc::clone(&state.ui.retentions.borrow());
    tagged::json(
        &headers,
        &RetentionsView::of(&retentions, SystemClock.now()),
    )
}

pub(super) fn bad_query(rejection: &QueryRejection) -> Response {
    (
        StatusCode::BAD_REQUEST,
        format!("{}\n", rejection.body_text()),
    )
        .into_response()
}
