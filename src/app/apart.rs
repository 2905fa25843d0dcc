//! From rounds back to the images: what runs and was found to be no part of what its tag names.

use std::collections::BTreeSet;
use std::sync::Mutex;

use tokio::sync::Notify;

use crate::drift::Compared;
use crate::images::{self, Apart, Images};

/// What has to be proven apart, as rounds have found. Rounds add to it, the images are made with it.
#[derive(Debug, Default)]
pub struct Parted {
    apart: Mutex<Apart>,
    news: Notify,
}

impl Parted {
    /// Takes what a round found.
    pub fn take(&self, compared: &[Compared]) {
        let mut is_news = false;
        let mut apart = self.apart.lock().expect("never held across a panic");
        for compared in compared {
            let digests: BTreeSet<_> = compared.apart().collect();
            let before = apart.get(&compared.key);
            if before.map_or_else(|| digests.is_empty(), |before| *before == digests) {
                continue;
            }
            is_news = true;
            if digests.is_empty() {
                apart.remove(&compared.key);
            } else {
                apart.insert(compared.key.clone(), digests);
            }
        }
        drop(apart);
        if is_news {
            self.news.notify_one();
        }
    }

    /// Waits until there is something new. Cancel-safe: news that was not waited for is told to the
    /// next who waits.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// The images, and what has to be proven apart. What nobody names any more is forgotten.
    pub fn add(&self, images: Images) -> Images {
        let mut apart = self.apart.lock().expect("never held across a panic");
        apart.retain(|key, _| images.get(key).is_some());
        images::with_running(images, &apart)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;

    use super::*;
    use crate::drift::Relation;
    use crate::images::{ImageKey, PullerKey};
    use crate::inventory::running::{ImageId, Place};
    use crate::oci::digest::Digest;

    #[test]
    fn only_what_is_new_is_news_and_what_nobody_names_is_forgotten() {
        let parted = Parted::default();
        let compared = |names: &[&str], place: Place| Compared {
            key: Arc::new(ImageKey {
                reference: "r.example/app:1".parse().unwrap(),
                puller: PullerKey::Own.into(),
            }),
            others: names
                .iter()
                .map(|name| {
                    let digest = Digest::of(name.as_bytes());
                    (ImageId { digest, place }, Relation::Moved)
                })
                .collect(),
        };
        let is_news = |names: &[&str], place: Place| {
            parted.take(&[compared(names, place)]);
            parted.changed().now_or_never().is_some()
        };
        assert!(!is_news(&[], Place::Named));
        assert!(!is_news(&["a"], Place::Nowhere), "nobody can ask for it");
        assert!(is_news(&["a"], Place::Named));
        assert!(!is_news(&["a"], Place::Named));
        assert!(is_news(&["a", "b"], Place::Named));
        assert!(is_news(&[], Place::Named));
        assert!(is_news(&["a"], Place::Named));
        parted.add(Images::default());
        assert!(is_news(&["a"], Place::Named), "it was forgotten");
    }
}
