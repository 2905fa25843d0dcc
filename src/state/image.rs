//! One image as it stands. There is one for each image, and snapshots share it while nothing changes.

use std::sync::Arc;

use crate::images::{Image, Puller};
use crate::inventory::User;
use crate::mirrors::Role;
use crate::second::Second;
use crate::verify::finding::{Report, Verdict};

/// One image as it stands.
#[derive(Debug, Clone)]
pub struct ImageState {
    pub named: Named,
    /// What the workload can pull, by all endpoints that its node would try.
    pub report: Arc<Report>,
    /// The last proof, also while something else is the case now.
    pub proven_at: Option<Second>,
    /// Since when the verdict is what it is.
    pub since: Second,
    /// It was broken before pullproof came, and never proven since.
    pub is_known: bool,
}

const _: () = assert!(size_of::<ImageState>() <= 40);

/// What a workload names.
#[derive(Debug, Clone)]
pub enum Named {
    /// An image that is looked for in one place.
    Image(Arc<Image>),
    Mirrored(Arc<Mirrored>),
    Malformed(Arc<Malformed>),
}

/// An image that is looked for in several places.
#[derive(Debug)]
pub struct Mirrored {
    pub image: Arc<Image>,
    /// Each with what it says, the one that is written first.
    pub endpoints: Vec<Endpoint>,
}

/// What is no reference.
#[derive(Debug)]
pub struct Malformed {
    /// As it was written.
    pub reference: Arc<str>,
    pub users: Arc<[Arc<User>]>,
}

/// One place where an image is looked for.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub role: Role,
    pub image: Arc<Image>,
    pub report: Arc<Report>,
}

impl Endpoint {
    pub fn reference(&self) -> &str {
        &self.image.name
    }

    pub fn registry(&self) -> &str {
        &self.image.registry
    }

    /// Whether both say the same of the same place.
    fn is_same(&self, other: &Self) -> bool {
        self.role == other.role
            && Arc::ptr_eq(&self.image, &other.image)
            && (Arc::ptr_eq(&self.report, &other.report) || self.report == other.report)
    }
}

impl ImageState {
    /// `None` where it is malformed.
    fn image(&self) -> Option<&Image> {
        match &self.named {
            Named::Image(image) => Some(image),
            Named::Mirrored(mirrored) => Some(&mirrored.image),
            Named::Malformed(_) => None,
        }
    }

    /// Canonical, or as it was written where it is malformed.
    pub fn reference(&self) -> &str {
        match &self.named {
            Named::Image(image) => &image.name,
            Named::Mirrored(mirrored) => &mirrored.image.name,
            Named::Malformed(malformed) => &malformed.reference,
        }
    }

    /// The registry's host; empty where the reference is malformed.
    pub fn registry(&self) -> &str {
        self.image().map_or("", |image| &image.registry)
    }

    pub fn is_pinned(&self) -> bool {
        self.image()
            .is_some_and(|image| image.key.reference.digest().is_some())
    }

    /// Which pull secret; `None` for the registry entry's own credential or nobody's.
    pub fn credential(&self) -> Option<&str> {
        match &*self.image()?.puller {
            Puller::Own => None,
            Puller::Secrets { label, .. } | Puller::Unavailable { label, .. } => Some(label),
        }
    }

    pub fn users(&self) -> &[Arc<User>] {
        match &self.named {
            Named::Image(image) => &image.users,
            Named::Mirrored(mirrored) => &mirrored.image.users,
            Named::Malformed(malformed) => &malformed.users,
        }
    }

    /// Where there are several: each with what it says, the one that is written first.
    pub fn endpoints(&self) -> &[Endpoint] {
        match &self.named {
            Named::Mirrored(mirrored) => &mirrored.endpoints,
            Named::Image(_) | Named::Malformed(_) => &[],
        }
    }

    pub fn verdict(&self) -> Verdict {
        self.report.verdict
    }

    /// What the endpoint says that is written, whatever the others say.
    pub fn own_report(&self) -> &Arc<Report> {
        self.endpoints()
            .first()
            .map_or(&self.report, |endpoint| &endpoint.report)
    }

    /// Whether these endpoints, none where there is only one, say what they said.
    pub(super) fn has_endpoints(&self, endpoints: &[Endpoint]) -> bool {
        let before = self.endpoints();
        before.len() == endpoints.len()
            && before
                .iter()
                .zip(endpoints)
                .all(|(one, other)| one.is_same(other))
    }
}
