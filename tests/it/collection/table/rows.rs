//! The rows, and what a collection makes of each.

use crate::plan::scenes::{Scene, links, manifests, odd, partial, rows, shared};
use crate::support::registry::Version;

use Expected::{Acknowledged, Collected, Nothing, Refused, Sparing, Unsaid};

/// What a collection makes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Everything that nobody needs goes.
    Collected,
    /// The same but for so many blobs: what a tag without a manifest, or a workload without one, may mean.
    Sparing(usize),
    /// There is nothing that could go.
    Nothing,
    /// Nothing is touched, for this reason.
    Refused(&'static str),
    /// Nothing is touched until what is known to be lost is acknowledged; then all goes but so many blobs.
    Acknowledged(usize),
    /// The same on 3.1. 2.8.2 does not say that it has no such manifest (500), and what is unknown is not
    /// acknowledged.
    Unsaid,
}

impl Expected {
    /// Why the first run is refused.
    pub(super) fn refusal(self, version: Version) -> Option<&'static str> {
        match (self, version) {
            (Collected | Sparing(_) | Nothing, _) => None,
            (Refused(code), _) => Some(code),
            (Unsaid, Version::V2) => Some("image_unknown"),
            (Acknowledged(_) | Unsaid, _) => Some("image_broken"),
        }
    }

    pub(super) fn spared(self) -> usize {
        match self {
            Sparing(count) | Acknowledged(count) => count,
            Collected | Nothing | Refused(_) | Unsaid => 0,
        }
    }
}

pub(super) type Row = (&'static str, fn() -> Scene, Expected);

/// As they stand in the table, and then what else collectors stumble over.
pub(super) const ROWS: [Row; 37] = [
    (
        "index, untagged children",
        rows::index_with_untagged_children,
        Collected,
    ),
    ("index of an index", rows::index_of_an_index, Collected),
    (
        "index, sparse here and whole there",
        rows::sparse_here_and_whole_there,
        Collected,
    ),
    ("untagged referrers", rows::untagged_referrers, Collected),
    (
        "running image, tag moved",
        rows::running_image_whose_tag_moved,
        Nothing,
    ),
    (
        "running index, tag moved",
        rows::running_index_whose_tag_moved,
        Nothing,
    ),
    (
        "running child, tag moved",
        rows::running_child_whose_tag_moved,
        Collected,
    ),
    (
        "running config, tag moved",
        rows::running_config_whose_tag_moved,
        Unsaid,
    ),
    (
        "no tags, in use by digest",
        rows::no_tags_and_one_runs,
        Collected,
    ),
    ("unreadable manifest", rows::torn_manifest, Collected),
    (
        "empty link of a manifest",
        rows::empty_revision_link,
        Collected,
    ),
    ("empty link of a layer", rows::empty_layer_link, Collected),
    (
        "unknown media type",
        manifests::unknown_media_type,
        Collected,
    ),
    (
        "dangling revision link",
        shared::dangling_revision,
        Collected,
    ),
    ("cosign tags", manifests::signatures_by_tag, Collected),
    (
        "plain blobs as children",
        manifests::plain_blobs_as_children,
        Collected,
    ),
    (
        "layer shared with garbage",
        shared::layer_shared_with_garbage,
        Collected,
    ),
    (
        "chain of referrers",
        manifests::chain_of_referrers,
        Collected,
    ),
    (
        "fallback tag of referrers",
        manifests::fallback_tag,
        Collected,
    ),
    (
        "plain blob called a manifest",
        manifests::plain_blob_called_a_manifest,
        Collected,
    ),
    (
        "children called otherwise",
        manifests::children_called_otherwise,
        Collected,
    ),
    (
        "child of another repository",
        manifests::child_of_another_repository,
        Collected,
    ),
    ("schema 1", manifests::schema_1, Collected),
    (
        "garbage in two repositories",
        shared::garbage_in_two_repositories,
        Collected,
    ),
    (
        "revision link of another",
        links::revision_link_of_another,
        Collected,
    ),
    (
        "layer link of another",
        links::layer_link_of_another,
        Collected,
    ),
    (
        "tag without a current link",
        links::tag_without_a_current_link,
        Sparing(4),
    ),
    ("link with a newline", links::link_with_a_newline, Collected),
    (
        "tagged, without a revision",
        links::tagged_without_a_revision,
        Sparing(4),
    ),
    (
        "running, without a revision",
        links::running_without_a_revision,
        Acknowledged(1),
    ),
    ("dangling layer links", links::dangling_layers, Collected),
    ("tag with a past", links::tag_with_a_past, Collected),
    ("data without a link", links::lone_data, Collected),
    (
        "repository without layers",
        partial::repository_without_layers,
        Collected,
    ),
    (
        "repository without revisions",
        partial::repository_without_revisions,
        Sparing(4),
    ),
    (
        "repositories within others",
        partial::repositories_within_others,
        Collected,
    ),
    (
        "files that were to be renamed",
        odd::files_to_be_renamed,
        Collected,
    ),
];

/// What cannot be listed is no reason to guess.
pub(super) const REFUSED: [Row; 2] = [
    (
        "directory as data",
        odd::directory_as_data,
        Refused("listing_incomplete"),
    ),
    (
        "directory as a link",
        odd::directory_as_revision,
        Refused("listing_incomplete"),
    ),
];
