//! When images changed their verdict: kept apart from what they are, since most of them do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::images::ImageKey;
use crate::verify::change::Change;

/// So many changes of one image; the oldest are forgotten.
const CHANGES_MAX: usize = 16;
/// So many images. Of those beyond only the last change is known, as of every image.
const IMAGES_MAX: usize = 10_000;

/// The changes of all images that have changed; those of before a restart too.
#[derive(Debug, Clone, Default)]
pub struct Histories(BTreeMap<Arc<ImageKey>, Vec<Change>>);

impl Histories {
    /// The oldest first; empty of what has not changed.
    pub fn of(&self, key: &ImageKey) -> &[Change] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn note(&mut self, key: &Arc<ImageKey>, before: Change, now: Change) {
        if before.verdict == now.verdict {
            return;
        }
        if self.0.len() >= IMAGES_MAX && !self.0.contains_key(key) {
            return;
        }
        let changes = self.0.entry(Arc::clone(key)).or_default();
        if changes.is_empty() {
            changes.push(before);
        }
        if changes.len() >= CHANGES_MAX {
            changes.remove(0);
        }
        changes.push(now);
    }

    /// What was remembered of an image, unless more is known by now.
    pub(super) fn recall(&mut self, key: &Arc<ImageKey>, changes: Box<[Change]>) {
        let is_full = self.0.len() >= IMAGES_MAX;
        if !changes.is_empty() && !is_full && !self.0.contains_key(key) {
            self.0.insert(Arc::clone(key), changes.into());
        }
    }

    /// Forgets what is of no image any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&ImageKey) -> bool) {
        self.0.retain(|key, _| is_there(key));
    }

    /// Whether all of them are of images that are there.
    pub(super) fn is_within(&self, is_there: impl Fn(&ImageKey) -> bool) -> bool {
        self.0.keys().all(|key| is_there(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::PullerKey;
    use crate::second::Second;
    use crate::verify::finding::Verdict;

    fn key(name: &str) -> Arc<ImageKey> {
        Arc::new(ImageKey {
            reference: format!("r.example/{name}:1").parse().unwrap(),
            puller: PullerKey::Own.into(),
        })
    }

    fn change(at: i64, verdict: Verdict) -> Change {
        Change {
            at: Second::new(at),
            verdict,
            code: None,
        }
    }

    #[test]
    fn what_changes_is_kept_with_what_it_was_before_and_within_bounds() {
        let mut histories = Histories::default();
        let app = key("app");
        histories.note(
            &app,
            change(1, Verdict::Pullable),
            change(1, Verdict::Pullable),
        );
        assert!(histories.0.is_empty() && histories.of(&app).is_empty());
        let mut last = change(1, Verdict::Pullable);
        for at in 2..100 {
            let verdict = [Verdict::Pullable, Verdict::Broken][at % 2];
            let now = change(i64::try_from(at).unwrap(), verdict);
            histories.note(&app, last, now);
            last = now;
        }
        let changes = histories.of(&app);
        assert_eq!(changes.len(), CHANGES_MAX);
        assert_eq!(changes.last(), Some(&change(99, Verdict::Broken)));
        assert_eq!(changes.first(), Some(&change(84, Verdict::Pullable)));
        for number in 0..IMAGES_MAX + 5 {
            let before = change(1, Verdict::Unknown);
            histories.note(&key(&format!("app-{number}")), before, last);
        }
        assert_eq!(histories.0.len(), IMAGES_MAX);
        assert!(!histories.is_within(|key| *key == *app));
        histories.retain(|key| *key == *app);
        assert!(histories.is_within(|key| *key == *app));
        assert_eq!(histories.0.len(), 1);
    }
}
