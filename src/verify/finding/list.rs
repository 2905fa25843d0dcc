//! A list of findings that is one word while it is empty, as it mostly is.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Finding;

/// The findings of one image. Read and written as the list that it is.
#[derive(Debug, Clone, Default)]
pub struct Findings(Option<Box<Found>>);

const _: () = assert!(size_of::<Findings>() == size_of::<usize>());

#[derive(Debug, Clone, Default)]
struct Found {
    all: Vec<Finding>,
}

impl Findings {
    pub fn push(&mut self, finding: Finding) {
        self.0.get_or_insert_default().all.push(finding);
    }
}

impl Deref for Findings {
    type Target = [Finding];

    fn deref(&self) -> &[Finding] {
        self.0.as_deref().map_or(&[], |found| &found.all)
    }
}

impl DerefMut for Findings {
    fn deref_mut(&mut self) -> &mut [Finding] {
        self.0
            .as_deref_mut()
            .map_or(&mut [], |found| &mut found.all)
    }
}

impl PartialEq for Findings {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Findings {}

impl From<Vec<Finding>> for Findings {
    fn from(mut all: Vec<Finding>) -> Self {
        // It is kept for as long as the image is known.
        all.shrink_to_fit();
        Self((!all.is_empty()).then(|| Box::new(Found { all })))
    }
}

impl<const COUNT: usize> From<[Finding; COUNT]> for Findings {
    fn from(findings: [Finding; COUNT]) -> Self {
        Vec::from(findings).into()
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        Vec::from_iter(findings).into()
    }
}

impl Extend<Finding> for Findings {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        for finding in findings {
            self.push(finding);
        }
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Findings {
    type Item = &'a mut Finding;
    type IntoIter = std::slice::IterMut<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl Serialize for Findings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Findings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}
