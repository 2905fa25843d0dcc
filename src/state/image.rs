//! One image as it stands. There is one for each image, and snapshots share it while nothing changes.

use std::sync::Arc;

use crate::drift::{Disagreement, Drift};
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
    /// An image of which there is nothing more to say.
    Image(Arc<Image>),
    Detailed(Arc<Detailed>),
    Malformed(Arc<Malformed>),
}

/// An image of which there is more to say than of most.
#[derive(Debug)]
pub struct Detailed {
    pub image: Arc<Image>,
    pub details: Details,
}

/// What few images have.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// Where it is looked for in several places: each with what it says, the one that is written first.
    pub endpoints: Vec<Endpoint>,
    pub drift: Vec<Drift>,
    /// What nodes say other than we do.
    pub disagreements: Vec<Disagreement>,
}

impl Details {
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.drift.is_empty() && self.disagreements.is_empty()
    }
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
    /// `None` of what is no reference.
    pub fn image(&self) -> Option<&Image> {
        match &self.named {
            Named::Image(image) => Some(image),
            Named::Detailed(detailed) => Some(&detailed.image),
            Named::Malformed(_) => None,
        }
    }

    /// Canonical, or as it was written where it is malformed.
    pub fn reference(&self) -> &str {
        match &self.named {
            Named::Image(image) => &image.name,
            Named::Detailed(detailed) => &detailed.image.name,
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
            Named::Detailed(detailed) => &detailed.image.users,
            Named::Malformed(malformed) => &malformed.users,
        }
    }

    fn details(&self) -> Option<&Details> {
        match &self.named {
            Named::Detailed(detailed) => Some(&detailed.details),
            Named::Image(_) | Named::Malformed(_) => None,
        }
    }

    /// Where there are several: each with what it says, the one that is written first.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.details().map_or(&[], |details| &details.endpoints)
    }

    pub fn drift(&self) -> &[Drift] {
        self.details().map_or(&[], |details| &details.drift)
    }

    /// What nodes say other than we do.
    pub fn disagreements(&self) -> &[Disagreement] {
        self.details().map_or(&[], |details| &details.disagreements)
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

    /// Whether these details, none where there are none, are what was said.
    pub(super) fn has_details(&self, details: &Details) -> bool {
        let before = self.endpoints();
        let same = before.iter().zip(&details.endpoints);
        before.len() == details.endpoints.len()
            && same.into_iter().all(|(one, other)| one.is_same(other))
            && self.drift() == details.drift
            && self.disagreements() == details.disagreements
    }
}
