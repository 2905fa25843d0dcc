//! The page. Server-rendered, without a script, readable by curl and by screen readers.
//!
//! Each page is a function of one snapshot, the address and the time at which it is looked at.

mod address;
mod collection;
mod drift;
mod form;
mod head;
mod image;
mod list;
mod overview;
mod picture;
mod questions;
mod registries;
mod told;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;

use self::collection::{CollectionPage, Told};
use self::image::{ImagePage, Missing};
use self::overview::Overview;
use self::registries::RegistriesPage;
use super::UiState;
use super::api::bad_query;
use super::filter::Filter;
use crate::clock::{Clock as _, SystemClock};
use crate::oci::digest::Digest;

pub(super) async fn style() -> Response {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("../../templates/style.css"),
    )
        .into_response()
}

pub(super) async fn overview(
    State(state): State<UiState>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Response {
    match filter {
        Ok(Query(filter)) => {
            drawn(move || {
                let now = SystemClock.now();
                render(&Overview::of(&state.snapshot(), &filter, now))
            })
            .await
        }
        Err(rejection) => bad_query(&rejection),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    reference: String,
}

/// One reference, with every credential that pulls it.
pub(super) async fn image(
    State(state): State<UiState>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Query(Wanted { reference }) = match wanted {
        Ok(wanted) => wanted,
        Err(rejection) => return bad_query(&rejection),
    };
    drawn(move || {
        let snapshot = state.snapshot();
        let now = SystemClock.now();
        let read = |digest: &Digest| (state.ui.asked.manifest)(digest);
        match ImagePage::of(&snapshot, &reference, &read, now) {
            Some(page) => render(&page),
            None => {
                let page = Missing::of(&snapshot, &reference, now);
                (StatusCode::NOT_FOUND, render(&page)).into_response()
            }
        }
    })
    .await
}

pub(super) async fn registries(State(state): State<UiState>) -> Response {
    drawn(move || {
        let now = SystemClock.now();
        let asked = &state.ui.asked;
        let traffic = |host: &str| (asked.traffic)(host, now);
        let page = RegistriesPage::of(&state.snapshot(), traffic, asked.since, now);
        render(&page)
    })
    .await
}

pub(super) async fn collection(State(state): State<UiState>) -> Response {
    drawn(move || {
        let windows = Arc::clone(&state.ui.windows.borrow());
        let storages = Arc::clone(&state.ui.storages.borrow());
        let collections = Arc::clone(&state.ui.collections.borrow());
        let retentions = Arc::clone(&state.ui.retentions.borrow());
        let told = Told {
            windows: &windows,
            storages: &storages,
            collections: &collections,
            retentions: &retentions,
            at: state.snapshot().at,
        };
        render(&CollectionPage::of(&told, SystemClock.now()))
    })
    .await
}

/// On a thread that may block: a pass over very many images takes its time, and manifests may be on a disk.
async fn drawn(draw: impl FnOnce() -> Response + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(draw).await {
        Ok(response) => response,
        Err(panic) => failed(&panic),
    }
}

fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
}

#[cfg(test)]
mod tests;
