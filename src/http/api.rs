//! `/api/v1`: the snapshot, and what is published beside it, as JSON.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::UiState;
use super::filter::Filter;
use crate::view::windows::WindowsView;
use crate::view::{DaemonInventoryView, ImagesView, StatusView};

pub(super) async fn status(State(state): State<UiState>) -> Response {
    Json(StatusView::of(&state.snapshot())).into_response()
}

pub(super) async fn images(
    State(state): State<UiState>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Response {
    let Query(filter) = match filter {
        Ok(filter) => filter,
        Err(rejection) => return bad_query(&rejection),
    };
    let snapshot = state.snapshot();
    let (matching, page) = filter.apply(&snapshot);
    Json(ImagesView {
        matching,
        ..ImagesView::of(&snapshot, page)
    })
    .into_response()
}

pub(super) async fn inventory(State(state): State<UiState>) -> Response {
    Json(DaemonInventoryView::from(&*state.snapshot())).into_response()
}

pub(super) async fn windows(State(state): State<UiState>) -> Response {
    let windows = Arc::clone(&state.ui.windows.borrow());
    Json(WindowsView::of(&windows)).into_response()
}

pub(super) fn bad_query(rejection: &QueryRejection) -> Response {
    (
        StatusCode::BAD_REQUEST,
        format!("{}\n", rejection.body_text()),
    )
        .into_response()
}
