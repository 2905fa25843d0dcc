//! Trees that every collector has to get right, for whoever plans them and whoever collects them.

use std::path::PathBuf;

use super::case::Case;
use super::checker::Needed;
use super::tree::{Object, Tree};

pub(crate) mod links;
pub(crate) mod manifests;
pub(crate) mod odd;
pub(crate) mod partial;
pub(crate) mod rows;
pub(crate) mod shared;

/// A tree, and who needs something of it besides its tags.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) tree: Tree,
    /// Workloads run these, by their repository.
    pub(crate) running: Vec<(String, Object)>,
    /// Pushes need these, by their links; nothing else tells of them.
    pushed: Vec<(PathBuf, Object)>,
}

impl Scene {
    fn of(tree: Tree) -> Self {
        Self {
            tree,
            running: Vec::new(),
            pushed: Vec::new(),
        }
    }

    /// A workload runs it, by its digest.
    pub(crate) fn runs(mut self, repository: &str, object: &Object) -> Self {
        self.running.push((repository.to_owned(), object.clone()));
        self
    }

    /// A push, or whoever names it from elsewhere, needs it as a layer of this repository.
    fn pushed_layer(mut self, repository: &str, name: &str) -> Self {
        let object = self.tree.find(name);
        let link = self.tree.layer_of(repository, &object);
        self.pushed.push((link, object));
        self
    }

    /// The same as a manifest.
    fn pushed_revision(mut self, repository: &str, name: &str) -> Self {
        let object = self.tree.find(name);
        let link = self.tree.revision_of(repository, &object);
        self.pushed.push((link, object));
        self
    }

    /// For the collectors' own deeds and for the plan.
    pub(crate) fn case(&self) -> Case<'_> {
        let mut case = Case::of(&self.tree);
        for (repository, object) in &self.running {
            case = case.runs(repository, object);
        }
        for (link, object) in &self.pushed {
            case = case.pushed(link.clone(), object);
        }
        case
    }

    /// What must stay, as it is now.
    pub(crate) fn needed(&self) -> Needed {
        let running = self.running.iter();
        let running: Vec<String> = running.map(|(_, object)| object.digest.clone()).collect();
        let mut needed = Needed::of(self.tree.root(), &running);
        for (link, object) in &self.pushed {
            needed.add(self.tree.root(), link, &object.digest);
        }
        needed
    }
}
