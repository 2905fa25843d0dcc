//! One copy of what many objects say. Ten thousand pods of one Deployment share one template.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::{Metadata, PodImages, TEXT_BYTES_MAX};
use crate::inventory::marks::{Chosen, Mark};
use crate::inventory::running::PodStatus;
use crate::oci::reference::{InvalidReference, Reference, Sharing};

#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    images: HashSet<Arc<PodImages>>,
    statuses: HashSet<Arc<PodStatus>>,
    references: Sharing,
    marks: HashSet<Arc<Mark>>,
    /// Which labels are kept of an object.
    chosen: Arc<[Chosen]>,
    /// The size at which to look for what nobody uses any more.
    prune_at: usize,
}

const PRUNE_AT_MIN: usize = 4096;

/// The text, cut where it is longer than anything valid could be.
pub fn fitting(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    Cow::Owned(format!("{}…", &text[..end]))
}

impl Interner {
    /// One that keeps these labels of objects.
    pub fn choosing(chosen: &Arc<[Chosen]>) -> Self {
        Self {
            chosen: Arc::clone(chosen),
            ..Self::default()
        }
    }

    /// What an object says of alerts, if it says anything.
    pub fn mark(&mut self, metadata: &Metadata) -> Option<Arc<Mark>> {
        let chosen = Arc::clone(&self.chosen);
        let ignore = metadata.ignore.as_deref();
        let labels = chosen.iter().filter_map(|label| {
            let value = metadata.labels.get(&*label.key)?;
            let is_said = !value.is_empty();
            is_said.then(|| (Arc::clone(&label.name), self.text(value)))
        });
        let labels = labels.collect();
        let ignore = ignore.map(|reason| self.text(reason.trim()));
        self.share(Mark { ignore, labels })
    }

    /// One copy of a mark; `None` of one that says nothing.
    pub fn share(&mut self, mark: Mark) -> Option<Arc<Mark>> {
        if mark.is_empty() {
            return None;
        }
        if let Some(known) = self.marks.get(&mark) {
            return Some(Arc::clone(known));
        }
        let new = Arc::new(mark);
        self.marks.insert(Arc::clone(&new));
        Some(new)
    }

    /// The text, as far as it is [fitting].
    pub fn text(&mut self, text: &str) -> Arc<str> {
        let fitting = fitting(text);
        if let Some(known) = self.texts.get(&*fitting) {
            return Arc::clone(known);
        }
        let new: Arc<str> = fitting.into();
        self.texts.insert(Arc::clone(&new));
        new
    }

    /// Reads a reference.
    pub(super) fn reference(&mut self, text: &str) -> Result<Reference, Box<InvalidReference>> {
        let reference = text.parse().map_err(Box::new)?;
        Ok(self.references.share(reference))
    }

    pub(super) fn images(&mut self, images: PodImages) -> Arc<PodImages> {
        if let Some(known) = self.images.get(&images) {
            return Arc::clone(known);
        }
        let new = Arc::new(images);
        self.images.insert(Arc::clone(&new));
        new
    }

    pub(in crate::inventory) fn status(&mut self, status: PodStatus) -> Arc<PodStatus> {
        if let Some(known) = self.statuses.get(&status) {
            return Arc::clone(known);
        }
        let new = Arc::new(status);
        self.statuses.insert(Arc::clone(&new));
        new
    }

    /// Forgets what is used nowhere else, at a cost that is paid for by what came in since.
    pub fn prune(&mut self) {
        if self.len() < self.prune_at.max(PRUNE_AT_MIN) {
            return;
        }
        self.images.retain(|images| Arc::strong_count(images) > 1);
        self.statuses.retain(|status| Arc::strong_count(status) > 1);
        self.marks.retain(|mark| Arc::strong_count(mark) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.references.prune();
        // Pods come and go by the thousand: what is forgotten late stays in memory for long.
        self.prune_at = self.len() + self.len() / 4;
    }

    fn len(&self) -> usize {
        let pods = self.images.len() + self.statuses.len();
        self.texts.len() + pods + self.references.len() + self.marks.len()
    }
}
