//! One copy of what many references say.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Reference, Repository};

/// Repositories, hosts and tags, each kept once however many references hold them.
#[derive(Debug, Default)]
pub struct Sharing {
    repositories: HashSet<Arc<Repository>>,
    texts: HashSet<Arc<str>>,
}

impl Sharing {
    /// The same reference, with what is known already in place of its own.
    #[must_use]
    pub fn share(&mut self, reference: Reference) -> Reference {
        let Reference {
            repository,
            tag,
            digest,
        } = reference;
        let repository = match self.repositories.get(&repository) {
            Some(known) => Arc::clone(known),
            None => {
                let new = Arc::new(Repository {
                    host: self.text(&repository.host),
                    name: Arc::clone(&repository.name),
                });
                self.repositories.insert(Arc::clone(&new));
                new
            }
        };
        Reference {
            repository,
            tag: tag.map(|tag| self.text(&tag)),
            digest,
        }
    }

    /// How much is kept.
    pub fn len(&self) -> usize {
        self.repositories.len() + self.texts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what no reference holds any more.
    pub fn prune(&mut self) {
        self.repositories
            .retain(|repository| Arc::strong_count(repository) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
    }

    fn text(&mut self, text: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        self.texts.insert(Arc::clone(text));
        Arc::clone(text)
    }
}
