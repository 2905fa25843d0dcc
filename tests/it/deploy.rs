//! What is in `deploy/`: the chart, what is made from it, and the rights that they grant, rendered by Helm and
//! kustomize themselves and applied to a real API server; and the image.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod chart;
mod image;
mod installed;
mod made;
mod operators;
mod render;
mod rights;
mod said;
