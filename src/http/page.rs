//! The page. Server-rendered, without a script, readable by curl and by screen readers.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;

use super::UiState;
use super::api::bad_query;
use super::filter::Filter;
use crate::view::{Image, StatusView};

pub(super) async fn style() -> Response {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("../../templates/style.css"),
    )
        .into_response()
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    status: StatusView,
    filter: Filter,
    matching: usize,
    images: Vec<Image>,
}

pub(super) async fn overview(
    State(state): State<UiState>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Response {
    let Query(filter) = match filter {
        Ok(filter) => filter,
        Err(rejection) => return bad_query(&rejection),
    };
    let snapshot = state.snapshot();
    let (matching, page) = filter.apply(&snapshot);
    let images = page.into_iter().map(Image::from).collect();
    render(&Overview {
        status: StatusView::of(&snapshot),
        filter,
        matching,
        images,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    reference: String,
}

#[derive(Template)]
#[template(path = "image.html")]
struct ImagePage {
    status: StatusView,
    reference: String,
    images: Vec<Image>,
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
    let images: Vec<Image> = snapshot
        .images
        .iter()
        .filter(|image| *image.reference == *reference)
        .map(Image::from)
        .collect();
    let status = if images.is_empty() {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::OK
    };
    let page = ImagePage {
        status: StatusView::of(&snapshot),
        reference,
        images,
    };
    (status, render(&page)).into_response()
}

fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
