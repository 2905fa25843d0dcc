//! Which platforms an image is needed for.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::inventory::{ImageUse, NodeConstraint, SourceState};
use crate::oci::platform::Platform;
use crate::verify::target::Needs;

/// Which platforms count, where the configuration says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PlatformChoice {
    /// Those of the nodes that may run the workload.
    #[default]
    Needed,
    All,
    These(Arc<[Platform]>),
}

/// Sets of platforms: a handful, each kept once however many images need it.
#[derive(Debug, Default)]
pub struct PlatformSets {
    all: HashSet<Arc<[Platform]>>,
    /// What was needed last, by which constraint and which nodes: nearly all uses have the same.
    last: Option<(Arc<NodeConstraint>, Arc<[Platform]>, Needs)>,
}

impl PlatformSets {
    fn share(&mut self, platforms: BTreeSet<Platform>) -> Needs {
        let platforms: Vec<Platform> = platforms.into_iter().collect();
        if let Some(known) = self.all.get(platforms.as_slice()) {
            return Needs::These(Arc::clone(known));
        }
        let new: Arc<[Platform]> = platforms.into();
        self.all.insert(Arc::clone(&new));
        Needs::These(new)
    }

    pub(super) fn needs(
        &mut self,
        image_use: &ImageUse,
        source: &SourceState,
        choice: &PlatformChoice,
    ) -> Needs {
        match (choice, &source.platforms) {
            (PlatformChoice::All, _) | (PlatformChoice::Needed, None) => Needs::All,
            (PlatformChoice::These(platforms), _) => Needs::These(Arc::clone(platforms)),
            (PlatformChoice::Needed, Some(nodes)) => {
                if let Some((constraint, known, needs)) = &self.last
                    && *constraint == image_use.constraint
                    && Arc::ptr_eq(known, nodes)
                {
                    return needs.clone();
                }
                let needs = self.admitted(&image_use.constraint, nodes);
                self.last = Some((
                    Arc::clone(&image_use.constraint),
                    Arc::clone(nodes),
                    needs.clone(),
                ));
                needs
            }
        }
    }

    fn admitted(&mut self, constraint: &NodeConstraint, nodes: &[Platform]) -> Needs {
        let admitted: BTreeSet<Platform> = nodes
            .iter()
            .filter(|node| constraint.admits(node))
            .cloned()
            .collect();
        if admitted.is_empty() {
            // No node fits now: a pool that is scaled to zero, perhaps. Who will pull is open.
            return Needs::All;
        }
        self.share(admitted)
    }

    /// What both need.
    pub fn union(&mut self, ours: &Needs, theirs: Needs) -> Needs {
        match (ours, theirs) {
            (Needs::All, _) | (_, Needs::All) => Needs::All,
            (Needs::These(ours), Needs::These(theirs)) if *ours == theirs => Needs::These(theirs),
            (Needs::These(ours), Needs::These(theirs)) => {
                self.share(ours.iter().chain(theirs.iter()).cloned().collect())
            }
        }
    }
}
