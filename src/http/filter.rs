//! Which images are meant: the query of the page and of the API. Pure.

use memchr::memmem::Finder;
use serde::Deserialize;

use crate::state::{ImageState, Snapshot};
use crate::verify::finding::Verdict;

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
    /// `text` is how `q` is found.
    fn admits(&self, image: &ImageState, text: &Finder<'_>) -> bool {
        let has = |hay: &str| text.find(hay.as_bytes()).is_some();
        let fits = |wanted: &str, actual: &str| wanted.is_empty() || wanted == actual;
        let is_used = self.namespace.is_empty() && self.cluster.is_empty() && self.class.is_empty()
            || image.users().iter().any(|user| {
                fits(&self.namespace, &user.namespace)
                    && fits(&self.cluster, user.cluster.as_deref().unwrap_or_default())
                    && fits(&self.class, user.class.as_str())
            });
        let has_text = || {
            has(image.reference())
                || image.users().iter().any(|user| has(&user.name))
                || is_of_digest(&self.q)
                    && image
                        .report
                        .digest
                        .is_some_and(|digest| has(&digest.to_string()))
        };
        fits(&self.verdict, image.verdict().as_str())
            && fits(&self.registry, image.registry())
            && is_used
            && (self.q.is_empty() || has_text())
    }

    /// What fits: broken first, then unknown, then the rest, what was known before after what is new, and
    /// otherwise in the order of the snapshot, which is that of references. All of them, and one page.
    ///
    /// It costs one pass over the snapshot: nothing is sorted, however many images there are.
    pub fn apply<'a>(&self, snapshot: &'a Snapshot) -> (usize, Vec<&'a ImageState>) {
        let mut ranks: [Vec<&ImageState>; RANKS] = Default::default();
        // Made once: of a search in short texts the beginning is what takes time.
        let text = Finder::new(&self.q);
        let images = snapshot.images.iter();
        for image in images.filter(|image| self.admits(image, &text)) {
            if let Some(rank) = ranks.get_mut(rank(image)) {
                rank.push(image);
            }
        }
        let matching = ranks.iter().map(Vec::len).sum();
        let limit = self.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let images = ranks.iter().flatten().skip(self.offset);
        (matching, images.take(limit).copied().collect())
    }
}

const RANKS: usize = 6;

/// What is to be seen first has the lowest.
fn rank(image: &ImageState) -> usize {
    let verdict = match image.verdict() {
        Verdict::Broken => 0,
        Verdict::Unknown => 2,
        Verdict::Pullable => 4,
    };
    verdict + usize::from(image.is_known)
}

/// Whether a text can be a part of a digest as it is written.
fn is_of_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    "sha256:".contains(text) || hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}
