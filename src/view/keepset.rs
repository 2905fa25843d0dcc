//! `/api/v1/keepset`.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::SourceView;
use crate::inventory::Inventory;
use crate::inventory::completeness::Refusal;
use crate::inventory::keepset::KeepSet;
use crate::inventory::peer::told::{self, References, ToldUse, Users};
use crate::oci::digest::Digest;
use crate::oci::reference::Aliases;

/// Who says it, of what, as the how manieth, and when.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    pub daemon: Digest,
    pub configuration: Digest,
    pub sequence: u64,
    pub at: Timestamp,
}

/// All that an answer is made of.
#[derive(Debug)]
pub struct KeepSetAnswer {
    pub said: Said,
    /// What is answered of: all sources, or those that are read here.
    pub inventory: Arc<Inventory>,
    /// The other names of registries: what is written with one is there by both.
    pub aliases: Aliases,
    /// Else there are refusals.
    pub complete: bool,
    /// Of a complete inventory only, and only where it is to be told.
    pub set: Option<KeepSet>,
    pub refusals: Vec<Refusal>,
    /// What another pullproof is told, and whether it has that already.
    pub peer: Option<ForPeer>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct ForPeer {
    /// `None` where it is not complete.
    pub content: Option<Digest>,
    pub unchanged: bool,
}

#[derive(Debug, Serialize)]
struct KeepSetView<'a> {
    schema: &'static str,
    daemon: Digest,
    configuration: Digest,
    sequence: u64,
    at: Timestamp,
    /// Whether it is the whole truth; else `references` and `hash` are null, and `refusals` says why.
    complete: bool,
    refusals: &'a [Refusal],
    sources: Vec<SourceView>,
    /// Whether all of this is only of what the daemon reads itself, with who uses what.
    first_hand: bool,
    /// When the least fresh of the sources was last read in full.
    complete_at: Option<Timestamp>,
    /// The digest of `references` and `malformed`, where users are told.
    content: Option<Digest>,
    /// Whether whoever asks has just this content; then `references` and `hash` are null.
    unchanged: bool,
    references: Option<References<'a>>,
    /// Who wrote what is no reference, where users are told.
    malformed: Option<Vec<ToldUse>>,
    /// Over a line of daemon, configuration, sequence and time, and one for each reference in order: the
    /// reference, its classes and its digests, separated by spaces, each list by commas.
    hash: Option<Digest>,
}

impl KeepSetAnswer {
    /// As JSON. Reference by reference: all of them at once would be the whole inventory again, as text.
    pub fn write(&self, to: impl std::io::Write) -> serde_json::Result<()> {
        let Said {
            daemon,
            configuration,
            sequence,
            at,
        } = self.said;
        let words = format!("{daemon} {configuration} {sequence} {at}");
        let unchanged = self.peer.is_some_and(|peer| peer.unchanged);
        let told = self.set.as_ref().filter(|_| !unchanged);
        let users = told
            .and(self.peer)
            .map(|_| Users::of(&self.inventory, &self.aliases));
        let view = KeepSetView {
            schema: "pullproof.dev/keepset/v1",
            daemon,
            configuration,
            sequence,
            at,
            complete: self.complete,
            refusals: &self.refusals,
            sources: SourceView::all(&self.inventory),
            first_hand: self.peer.is_some(),
            complete_at: told::complete_at(&self.inventory),
            content: self.peer.and_then(|peer| peer.content),
            unchanged,
            references: told.map(|set| References {
                set,
                users: users.as_ref(),
            }),
            malformed: users.as_ref().map(Users::malformed),
            hash: told.map(|set| set.hash(&words)),
        };
        serde_json::to_writer(to, &view)
    }
}
