//! The page. Server-rendered, without a script, readable by curl and by screen readers.
//!
//! Each page is a function of one snapshot, the address and the time at which it is looked at.

mod address;
mod form;
mod head;
mod image;
mod list;
mod overview;
mod told;
mod words;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;

use self::image::{ImagePage, Missing};
use self::overview::Overview;
use super::UiState;
use super::api::bad_query;
use super::filter::Filter;
use crate::clock::{Clock as _, SystemClock};

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
        Ok(Query(filter)) => render(&Overview::of(&state.snapshot(), &filter, SystemClock.now())),
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
    let snapshot = state.snapshot();
    let now = SystemClock.now();
    match ImagePage::of(&snapshot, &reference, now) {
        Some(page) => render(&page),
        None => {
            let page = Missing::of(&snapshot, &reference, now);
            (StatusCode::NOT_FOUND, render(&page)).into_response()
        }
    }
}

fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests;
