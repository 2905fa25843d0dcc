//! Why nothing is planned, or why what is planned would not be taken. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::completeness;

/// The contract's names of what closes a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No window is open.
    WindowClosed,
    /// The window ends before the proof and the listing could.
    WindowShort,
    /// A source could not be read in full, or a line of it could not be understood.
    InventoryIncomplete,
    InventoryShrunk,
    /// What could be pulled once cannot be.
    ImageBroken,
    /// Of an image nobody can tell whether it can be pulled.
    ImageUnknown,
    /// A proof is older than this run.
    ProofStale,
    /// Another process collects this storage.
    NotLeader,
    /// `gc.readOnly` asks for a registry that takes no pushes, and this one does.
    RegistryWritable,
    /// Nobody said how many replicas there are, or where.
    ReplicasUnknown,
    /// A replica still believes in what was taken, or a declaration turned out to be wrong.
    CacheUnsettled,
    /// Not all of the storage could be listed, or what was listed is not all.
    ListingIncomplete,
    /// Somebody else decides what is garbage there.
    StorageUnsupported,
    /// More would be taken than `gc.alarmPercent` allows.
    ShareExceeded,
    /// What references led to before is not known.
    LedgerMissing,
    /// No recorded plan is old enough.
    Rehearsal,
    /// The drill failed, or was too long ago.
    DrillStale,
    /// An operator said so.
    Paused,
    /// `gc.mode` is `plan`: nothing is touched.
    PlanOnly,
}

impl Code {
    /// All conditions of the gate.
    pub const ALL: [Self; 19] = [
        Self::WindowClosed,
        Self::WindowShort,
        Self::InventoryIncomplete,
        Self::InventoryShrunk,
        Self::ImageBroken,
        Self::ImageUnknown,
        Self::ProofStale,
        Self::NotLeader,
        Self::RegistryWritable,
        Self::ReplicasUnknown,
        Self::CacheUnsettled,
        Self::ListingIncomplete,
        Self::StorageUnsupported,
        Self::ShareExceeded,
        Self::LedgerMissing,
        Self::Rehearsal,
        Self::DrillStale,
        Self::Paused,
        Self::PlanOnly,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::WindowClosed => "window_closed",
            Self::WindowShort => "window_short",
            Self::InventoryIncomplete => "inventory_incomplete",
            Self::InventoryShrunk => "inventory_shrunk",
            Self::ImageBroken => "image_broken",
            Self::ImageUnknown => "image_unknown",
            Self::ProofStale => "proof_stale",
            Self::NotLeader => "not_leader",
            Self::RegistryWritable => "registry_writable",
            Self::ReplicasUnknown => "replicas_unknown",
            Self::CacheUnsettled => "cache_unsettled",
            Self::ListingIncomplete => "listing_incomplete",
            Self::StorageUnsupported => "storage_unsupported",
            Self::ShareExceeded => "share_exceeded",
            Self::LedgerMissing => "ledger_missing",
            Self::Rehearsal => "rehearsal",
            Self::DrillStale => "drill_stale",
            Self::Paused => "paused",
            Self::PlanOnly => "plan_only",
        }
    }
}

/// One reason, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<completeness::Refusal> for Refusal {
    fn from(refusal: completeness::Refusal) -> Self {
        let code = match refusal.code {
            completeness::RefusalCode::InventoryIncomplete => Code::InventoryIncomplete,
            completeness::RefusalCode::InventoryShrunk => Code::InventoryShrunk,
        };
        Self::new(code, refusal.message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.as_str(), self.message)
    }
}
