//! Whether the paths of a custom resource lead anywhere.
//!
//! The last field of a path and a list may be missing, so a path that is misspelt there fits every object
//! and finds nothing in any. One object alone says little; all of them together do.

use super::CustomResource;

/// How many paths are told apart; the configuration takes no more.
pub const PATHS_MAX: usize = 62;

/// Which paths of a custom resource led to something in an object, its pod template first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits(u64);

/// That the object takes its pod template from elsewhere.
const REFERS: u64 = 1 << 63;

impl Hits {
    pub(super) fn hit(&mut self, path: usize) {
        self.0 |= bit(path);
    }

    /// It has no pod template of its own, and is not to be judged by it.
    pub(super) fn refers(&mut self) {
        self.0 |= REFERS;
    }
}

fn bit(path: usize) -> u64 {
    // More are not configured.
    1 << path.min(PATHS_MAX)
}

/// What the paths led to in some objects of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    objects: usize,
    referring: usize,
    hits: u64,
}

impl Tally {
    pub fn add(&mut self, hits: Hits) {
        self.objects += 1;
        self.referring += usize::from(hits.0 & REFERS != 0);
        self.hits |= hits.0;
    }

    /// Why that may not be all: the first path that led to nothing in any object. `name` is the kind's.
    pub fn problem(&self, resource: &CustomResource, name: &str) -> Option<String> {
        if resource.may_be_empty {
            return None;
        }
        let template = resource.pod_template.iter();
        let template = template.map(|path| (0, path, self.objects - self.referring));
        let images = (1..).zip(&resource.images);
        let images = images.map(|(index, path)| (index, path, self.objects));
        let all = template.chain(images);
        let mut missed =
            all.filter(|(index, _, objects)| *objects > 0 && self.hits & bit(*index) == 0);
        let (_, path, objects) = missed.next()?;
        let others = match missed.count() {
            0 => String::new(),
            others => format!(" (and {others} more of its paths)"),
        };
        let way_out = "if that is as it should be, write `mayBeEmpty: true` in its entry of \
                       inventory.customResources";
        let objects = match objects {
            1 => "its only object".to_owned(),
            objects => format!("any of its {objects} objects"),
        };
        Some(format!(
            "{name}: {path}{others} leads to nothing in {objects}; mend the path, or {way_out}"
        ))
    }
}
