//! Which platforms an image is needed for.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::inventory::{ImageUse, SourceState};
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
pub struct PlatformSets(HashSet<Arc<[Platform]>>);

impl PlatformSets {
    fn share(&mut self, platforms: BTreeSet<Platform>) -> Needs {
        let platforms: Vec<Platform> = platforms.into_iter().collect();
        if let Some(known) = self.0.get(platforms.as_slice()) {
            return Needs::These(Arc::clone(known));
        }
        let new: Arc<[Platform]> = platforms.into();
        self.0.insert(Arc::clone(&new));
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
                let admitted: BTreeSet<Platform> = nodes
                    .iter()
                    .filter(|node| image_use.constraint.admits(node))
                    .cloned()
                    .collect();
                if admitted.is_empty() {
                    // No node fits now: a pool that is scaled to zero, perhaps. Who will pull is open.
                    return Needs::All;
                }
                self.share(admitted)
            }
        }
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
