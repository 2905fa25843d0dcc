//! What runs and is no longer what its tag names: images of their own, so that they are proven too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Image, ImageKey, Images};
use crate::inventory::User;
use crate::inventory::running::Place;
use crate::oci::digest::Digest;
use crate::oci::reference::{Reference, Sharing};

/// By the image that is named: what runs of it and has to be proven apart.
pub type Apart = HashMap<Arc<ImageKey>, BTreeSet<Digest>>;

/// Adds `repository@digest` for what runs and is not in the tree of what its tag names, to be pulled
/// with the same credential. It belongs to those who run it, as what they are; what is among the images
/// already is only proven there.
#[must_use]
pub fn with_running(mut images: Images, apart: &Apart) -> Images {
    let mut added: BTreeMap<Arc<ImageKey>, Image> = BTreeMap::new();
    let mut sharing = Sharing::default();
    for image in &images.images {
        let Some(digests) = apart.get(&image.key) else {
            continue;
        };
        for digest in digests {
            let users = users(image, *digest);
            let Some(reference) = of_digest(&image.key.reference, *digest) else {
                continue;
            };
            let key = Arc::new(ImageKey {
                reference: sharing.share(reference),
                puller: Arc::clone(&image.key.puller),
            });
            // Nobody runs it any more, or somebody names it.
            if users.is_empty() || images.get(&key).is_some() {
                continue;
            }
            let same = added.entry(Arc::clone(&key)).or_insert_with(|| Image {
                name: key.reference.to_string().into(),
                registry: key.reference.shared_host(),
                key: Arc::clone(&key),
                puller: Arc::clone(&image.puller),
                needs: image.needs.clone(),
                users: [].into(),
                running: None,
            });
            let all: BTreeSet<_> = same.users.iter().cloned().chain(users).collect();
            same.users = all.into_iter().collect();
        }
    }
    images.endpoints.extend(added.into_values().map(Arc::new));
    images
        .endpoints
        .sort_unstable_by(|one, other| one.key.cmp(&other.key));
    images
}

/// What is asked for of an image whose tag no longer leads to it.
pub fn of_digest(named: &Reference, digest: Digest) -> Option<Reference> {
    let (host, repository) = (named.host(), named.repository());
    format!("{host}/{repository}@{digest}").parse().ok()
}

/// Those who run it, and by what.
fn users(image: &Image, digest: Digest) -> Vec<Arc<User>> {
    let uses = image.running.iter().flat_map(|running| &running.uses);
    let running = uses.flat_map(|of_use| of_use.running.iter().map(move |one| (of_use, one)));
    let here = running.filter(|(_, one)| one.id.digest == digest && one.id.place == Place::Named);
    let users = here.map(|(of_use, one)| {
        Arc::new(User {
            via: Some((&*one.by).into()),
            ..User::clone(&of_use.user)
        })
    });
    users.collect()
}
