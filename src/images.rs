//! From uses to images: one image for a distinct (reference, credential), with all who use it. Pure.
//!
//! Two namespaces with different pull secrets are two images, although they name the same content:
//! what one may pull says nothing about the other.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::inventory::User;
use crate::inventory::running::{ImageId, RunningUse};
use crate::mirrors::Other;
use crate::oci::reference::{InvalidReference, Reference};
use crate::verify::target::Needs;

pub use self::collect::{collect, collect_by};
pub use self::platforms::{PlatformChoice, PlatformSets};
pub use self::puller::{Lack, Puller, PullerKey, unavailable, with_puller};
pub use self::running::{Apart, of_digest, with_running};

mod collect;
mod platforms;
mod puller;
mod running;

/// What tells images apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageKey {
    pub reference: Reference,
    pub puller: Arc<PullerKey>,
}

/// One image, and everybody who needs it. What is kept of it elsewhere shares its texts.
#[derive(Debug, Clone)]
pub struct Image {
    pub key: Arc<ImageKey>,
    /// The canonical reference.
    pub name: Arc<str>,
    /// The host in it.
    pub registry: Arc<str>,
    pub puller: Arc<Puller>,
    pub needs: Needs,
    pub users: Arc<[Arc<User>]>,
    /// What nodes say of it, where they say anything.
    pub running: Option<Arc<Running>>,
}

// Of 100,000 images there are as many.
const _: () = assert!(size_of::<Image>() <= 88 && size_of::<ImageKey>() <= 40);

/// What nodes say of the uses of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// In the order of the users.
    pub uses: Vec<Arc<RunningUse>>,
}

impl Image {
    /// What runs of it, each once.
    pub fn running_ids(&self) -> BTreeSet<ImageId> {
        let uses = self.running.iter().flat_map(|running| &running.uses);
        let running = uses.flat_map(|of_use| &of_use.running);
        running.map(|running| running.id).collect()
    }

    pub fn host(&self) -> &str {
        self.key.reference.host()
    }
}

/// A string that is no reference, and who wrote it.
#[derive(Debug, Clone)]
pub struct Malformed {
    pub problem: Box<InvalidReference>,
    pub users: Arc<[Arc<User>]>,
}

/// All images of an inventory, in order of their keys.
#[derive(Debug, Clone, Default)]
pub struct Images {
    pub images: Vec<Arc<Image>>,
    pub malformed: Vec<Malformed>,
    /// Other endpoints that have some of them, in order of their keys. Nobody names these.
    pub endpoints: Vec<Arc<Image>>,
    /// The other endpoints of an image: of [`Self::endpoints`], or among the images.
    pub others: HashMap<Arc<ImageKey>, Vec<Other>>,
}

impl Images {
    /// All that is to be proven.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.images.iter().chain(&self.endpoints)
    }

    /// The registries that are named, in order.
    pub fn hosts(&self) -> BTreeSet<String> {
        let mut hosts = BTreeSet::new();
        for image in self.all() {
            if !hosts.contains(image.host()) {
                hosts.insert(image.host().to_owned());
            }
        }
        hosts
    }

    /// What is to be proven on one registry, in order of the keys. A list is made only where there are
    /// images and endpoints.
    pub fn of_host(&self, host: &str) -> Cow<'_, [Arc<Image>]> {
        match [&self.images, &self.endpoints].map(|images| of_host(images, host)) {
            [images, []] => Cow::Borrowed(images),
            [[], endpoints] => Cow::Borrowed(endpoints),
            both => {
                let mut all = both.concat();
                all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                Cow::Owned(all)
            }
        }
    }

    pub fn get(&self, key: &ImageKey) -> Option<&Arc<Image>> {
        find(&self.images, key).or_else(|| find(&self.endpoints, key))
    }

    /// All entries of one reference: one for each credential that pulls it.
    pub fn of_reference(&self, reference: &Reference) -> &[Arc<Image>] {
        part(&self.images, |image| image.key.reference.cmp(reference))
    }
}

/// The images of a registry: keys begin with the host.
fn of_host<'a>(images: &'a [Arc<Image>], host: &str) -> &'a [Arc<Image>] {
    part(images, |image| image.host().cmp(host))
}

/// Those that compare equal, of images that stand in order of it.
fn part(images: &[Arc<Image>], compare: impl Fn(&Image) -> Ordering) -> &[Arc<Image>] {
    // Out of order some would not be found, and so never be proven.
    debug_assert!(images.is_sorted_by(|one, other| one.key <= other.key));
    let start = images.partition_point(|image| compare(image).is_lt());
    let rest = images.get(start..).unwrap_or_default();
    let count = rest.partition_point(|image| compare(image).is_eq());
    rest.get(..count).unwrap_or_default()
}

/// An image among images that stand in order of their keys.
pub fn find<'a>(images: &'a [Arc<Image>], key: &ImageKey) -> Option<&'a Arc<Image>> {
    let at = images
        .binary_search_by(|image| (*image.key).cmp(key))
        .ok()?;
    images.get(at)
}

#[cfg(test)]
mod tests;
