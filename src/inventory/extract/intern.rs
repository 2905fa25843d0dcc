//! One copy of what many objects say. Ten thousand pods of one Deployment share one template.

use std::collections::HashSet;
use std::sync::Arc;

use super::{PodImages, TEXT_BYTES_MAX};

#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    images: HashSet<Arc<PodImages>>,
    /// The size at which to look for what nobody uses any more.
    prune_at: usize,
}

const PRUNE_AT_MIN: usize = 4096;

impl Interner {
    /// The text, cut where it is longer than anything valid could be.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = if text.len() <= TEXT_BYTES_MAX {
            text.into()
        } else {
            let cut = format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]);
            if let Some(known) = self.texts.get(cut.as_str()) {
                return Arc::clone(known);
            }
            cut.into()
        };
        self.texts.insert(Arc::clone(&new));
        new
    }

    pub(super) fn images(&mut self, images: PodImages) -> Arc<PodImages> {
        if let Some(known) = self.images.get(&images) {
            return Arc::clone(known);
        }
        let new = Arc::new(images);
        self.images.insert(Arc::clone(&new));
        new
    }

    /// Forgets what is used nowhere else, at a cost that is paid for by what came in since.
    pub fn prune(&mut self) {
        let size = self.texts.len() + self.images.len();
        if size < self.prune_at.max(PRUNE_AT_MIN) {
            return;
        }
        self.images.retain(|images| Arc::strong_count(images) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.prune_at = 2 * (self.texts.len() + self.images.len());
    }
}
