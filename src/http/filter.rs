//! Which images are meant: the query of the page and of the API. Pure.

use serde::Deserialize;

use crate::state::{ImageState, Snapshot};

/// Images on one page, unless said otherwise.
pub const PAGE_DEFAULT: usize = 100;
pub const PAGE_MAX: usize = 1000;

/// Every part that is given must fit; an empty one is not given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    #[serde(default)]
    pub q: String,
    #[serde(default)]
    pub verdict: String,
    #[serde(default)]
    pub registry: String,
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub cluster: String,
    #[serde(default)]
    pub class: String,
    #[serde(default)]
    pub offset: usize,
    #[serde(default)]
    pub limit: Option<usize>,
}

impl Filter {
    fn admits(&self, image: &ImageState) -> bool {
        let fits = |wanted: &str, actual: &str| wanted.is_empty() || wanted == actual;
        let is_used = self.namespace.is_empty() && self.cluster.is_empty() && self.class.is_empty()
            || image.users().iter().any(|user| {
                fits(&self.namespace, &user.namespace)
                    && fits(&self.cluster, user.cluster.as_deref().unwrap_or_default())
                    && fits(&self.class, user.class.as_str())
            });
        let has_text = || {
            image.reference().contains(&self.q)
                || image.users().iter().any(|user| user.name.contains(&self.q))
                || image
                    .report
                    .digest
                    .is_some_and(|digest| digest.to_string().contains(&self.q))
        };
        fits(&self.verdict, image.verdict().as_str())
            && fits(&self.registry, image.registry())
            && is_used
            && (self.q.is_empty() || has_text())
    }

    /// What fits: broken first, then unknown, then the rest, each by reference. All of them, and one
    /// page.
    pub fn apply<'a>(&self, snapshot: &'a Snapshot) -> (usize, Vec<&'a ImageState>) {
        let mut images: Vec<&ImageState> = snapshot
            .images
            .iter()
            .map(|image| &**image)
            .filter(|image| self.admits(image))
            .collect();
        images.sort_by_key(|image| {
            (
                std::cmp::Reverse(image.verdict()),
                image.is_known,
                image.reference(),
            )
        });
        let limit = self.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let page = images
            .iter()
            .skip(self.offset)
            .take(limit)
            .copied()
            .collect();
        (images.len(), page)
    }
}
