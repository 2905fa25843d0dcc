//! What the endpoints of an image say together, for those who look at one object or at all of them.

use std::sync::Arc;

use super::kept::{self, Kept};
use super::tree::Object;
use crate::inventory::marks::AllMarks;
use crate::mirrors::Role;
use crate::oci::digest::Digest;
use crate::state::ImageState;
use crate::verify::finding::{Report, Verdict};

/// What each endpoint says that a node would ask, and the tree there.
pub(super) fn asked<'a>(
    state: &'a ImageState,
    trees: &[Option<&'a Object>],
) -> impl Iterator<Item = (&'a Report, Option<&'a Object>)> {
    let reports: Vec<(Role, &Report)> = if state.endpoints().is_empty() {
        vec![(Role::Origin, &*state.report)]
    } else {
        let endpoints = state.endpoints().iter();
        endpoints.map(|one| (one.role, &*one.report)).collect()
    };
    let both = reports.into_iter().zip(trees.to_vec());
    both.filter(|((role, _), _)| *role != Role::Upstream)
        .map(|((_, report), tree)| (report, tree))
}

/// The place of a digest in an image, with its state at the best endpoint, and its state at the worst. An
/// endpoint without a tree may have it: there it is what the image is.
pub(super) fn held(
    state: &ImageState,
    trees: &[Option<&Object>],
    digest: &Digest,
    marks: &AllMarks,
) -> Option<(Kept, Verdict)> {
    let mut found: Option<Kept> = None;
    let (mut best, mut worst) = (Verdict::Broken, Verdict::Pullable);
    for (report, tree) in asked(state, trees) {
        let there = match tree {
            None => report.verdict,
            Some(tree) => {
                let Some(kept) = kept::kept(state, tree, digest, marks) else {
                    continue;
                };
                let there = kept.state;
                found.get_or_insert(kept);
                there
            }
        };
        best = best.min(there);
        worst = worst.max(there);
    }
    let found = found?;
    Some((
        Kept {
            state: best,
            ..found
        },
        worst,
    ))
}

/// Why the verdict is another than that of the endpoint that is written.
pub(super) fn by_mirrors(state: &ImageState) -> Option<String> {
    let own = state.own_report();
    if own.verdict == state.verdict() {
        return None;
    }
    let mut mirrors = state.endpoints().iter();
    let decisive = mirrors.find(|one| Arc::ptr_eq(&one.report, &state.report));
    Some(match decisive {
        Some(mirror) => format!(
            "nodes can pull it from its mirror {}; where it is written it is {}",
            mirror.reference(),
            own.verdict
        ),
        None => format!(
            "it is {} where it is written, and what a mirror has is not known",
            own.verdict
        ),
    })
}
