//! What a tag is to those who need it. Pure.

use serde::{Serialize, Serializer};

use crate::inventory;

/// Why a tag stays, or that nothing keeps it. The strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody needs it: a workload, a list, a rollback, or the memory of one.
    Needed(inventory::Class),
    /// It is `latest`, or looks like a release, or is said to be immutable.
    Release,
    /// The only direct tag of a child of a multi-arch image that stays: a registry's own collector may take what
    /// no tag names (distribution before 3.0 does).
    GuardsChild,
    /// A signature, an attestation or another referrer of an image that stays.
    Signature,
    /// A rule keeps it, or nobody may decide about it.
    Retained,
    Unused,
}

impl Class {
    pub const ALL: [Self; 11] = [
        Self::Needed(inventory::Class::Runtime),
        Self::Needed(inventory::Class::Failover),
        Self::Needed(inventory::Class::Rollback),
        Self::Needed(inventory::Class::Listed),
        Self::Needed(inventory::Class::Remembered),
        Self::Needed(inventory::Class::Mentioned),
        Self::Release,
        Self::GuardsChild,
        Self::Signature,
        Self::Retained,
        Self::Unused,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Needed(class) => class.as_str(),
            Self::Release => "release",
            Self::GuardsChild => "guards-child",
            Self::Signature => "signature",
            Self::Retained => "retained",
            Self::Unused => "unused",
        }
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
