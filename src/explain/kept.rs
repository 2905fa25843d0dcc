//! Who needs an object, why it is kept, and what is lost if it goes.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::tree::Object;
use crate::inventory::marks::AllMarks;
use crate::inventory::{Class, Inventory, User};
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;
use crate::state::ImageState;
use crate::verify::finding::Verdict;
use crate::view::UserView;

/// An image that holds an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    pub reference: String,
    /// The pull secret with which this image is pulled; null for the registry entry's own, or nobody's.
    pub credential: Option<String>,
    /// The image's.
    pub verdict: Verdict,
    /// The object's own there, and of what is below it.
    pub state: Verdict,
    /// What could not be pulled any more: all of it, or these platforms.
    pub whole: bool,
    pub platforms: Vec<String>,
    /// The digests from the root to the object, for each place where it is.
    pub paths: Vec<Vec<Digest>>,
    /// Why it is kept, strongest first; empty where nobody named it but the command line.
    pub classes: Vec<Class>,
    pub used_by: Vec<UserView>,
}

/// The place of an object in an image, if the image holds it.
pub fn kept(image: &ImageState, tree: &Object, digest: &Digest, marks: &AllMarks) -> Option<Kept> {
    let mut paths = Vec::new();
    let mut platforms = Vec::new();
    let mut whole = false;
    let mut state = Verdict::Pullable;
    tree.visit(&mut Vec::new(), &mut |above, object| {
        if object.digest != Some(*digest) {
            return;
        }
        state = state.max(object.state);
        paths.push(
            above
                .iter()
                .filter_map(|object| object.digest)
                .chain([*digest])
                .collect(),
        );
        // What is below the root and nearest to it: without that its platform cannot be pulled.
        let way = above.iter().copied().chain([object]).skip(1);
        match way.filter(|one| one.kind.is_manifest()).last() {
            Some(child) => {
                let name = child.name();
                if !platforms.contains(&name) {
                    platforms.push(name);
                }
            }
            None => whole = true,
        }
    });
    (!paths.is_empty()).then(|| {
        let used_by = users(image);
        Kept {
            reference: image.reference().to_owned(),
            credential: image.credential().map(ToOwned::to_owned),
            verdict: image.verdict(),
            state,
            whole,
            platforms: if whole { Vec::new() } else { platforms },
            paths,
            classes: classes(&used_by),
            used_by: viewed(&used_by, marks),
        }
    })
}

/// With what people say of alerts about them.
pub fn viewed(users: &[User], marks: &AllMarks) -> Vec<UserView> {
    let users = users.iter();
    users.map(|user| UserView::of(user, marks)).collect()
}

/// Who uses an image, without what an operator typed.
pub fn users(image: &ImageState) -> Vec<User> {
    let users = image.users().iter().filter(|user| !user.is_argument());
    users.map(|user| User::clone(user)).collect()
}

/// Adds those of whose containers nobody is there yet: who names an image also runs it.
pub fn add_others(users: &mut Vec<User>, others: Vec<User>) {
    let key = |user: &User| (Arc::clone(&user.owner), Arc::clone(&user.container));
    let known: HashSet<_> = users.iter().map(key).collect();
    users.extend(
        others
            .into_iter()
            .filter(|user| !known.contains(&key(user))),
    );
}

pub fn classes(users: &[User]) -> Vec<Class> {
    let mut classes: Vec<Class> = users.iter().map(|user| user.class).collect();
    classes.sort();
    classes.dedup();
    classes
}

/// All who name one of these digests by a pinned reference, wherever they pull it from, or run it.
pub fn users_of_digests(inventory: &Inventory, digests: &[Digest]) -> Vec<User> {
    let uses = inventory
        .sources
        .iter()
        .flat_map(|source| source.uses.iter());
    let pinned = uses
        .filter(|one| {
            let pinned = one.reference.as_ref().ok().and_then(Reference::digest);
            pinned.is_some_and(|digest| digests.contains(&digest))
        })
        .map(|one| User::clone(&one.user));
    let told = inventory.sources.iter();
    let told = told.flat_map(|source| source.running.iter());
    let running = told.filter_map(|one| {
        let mut running = one.running.iter();
        let by = running.find(|running| digests.contains(&running.id.digest))?;
        Some(User {
            via: Some((&*by.by).into()),
            ..User::clone(&one.user)
        })
    });
    let mut users: Vec<User> = pinned
        .chain(running)
        .filter(|user| !user.is_argument())
        .collect();
    users.sort();
    users.dedup();
    users
}
