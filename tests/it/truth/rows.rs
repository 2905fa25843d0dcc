//! The table: each file holds the cases of some rows. To add a case, add a line to one of them.

mod absence;
mod bytes;
mod hosts;
mod quota;
mod redirects;
mod refusals;
mod shapes;
mod tokens;
mod wires;

use super::case::Case;

/// Every case. Those that need a part which is missing are left out, loudly.
pub(super) async fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(quota::cases());
    cases.extend(tokens::cases());
    cases.extend(refusals::cases());
    cases.extend(absence::cases());
    cases.extend(bytes::cases());
    cases.extend(redirects::cases());
    cases.extend(wires::cases());
    cases.extend(shapes::cases());
    cases.extend(hosts::cases().await);
    cases
}
