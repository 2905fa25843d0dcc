//! Why nothing is planned, or why what is planned would not be taken. Pure.

use std::fmt;

use serde::Serialize;

use crate::inventory::completeness;

/// The contract's names of what closes a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A source could not be read in full, or a line of it could not be understood.
    InventoryIncomplete,
    InventoryShrunk,
    /// Not all of the storage could be listed, or what was listed is not all.
    ListingIncomplete,
    /// Somebody else decides what is garbage there.
    StorageUnsupported,
    /// More would be taken than `gc.alarmPercent` allows.
    ShareExceeded,
    /// What references led to before is not known.
    LedgerMissing,
    /// `gc.mode` is `plan`: nothing is touched.
    PlanOnly,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InventoryIncomplete => "inventory_incomplete",
            Self::InventoryShrunk => "inventory_shrunk",
            Self::ListingIncomplete => "listing_incomplete",
            Self::StorageUnsupported => "storage_unsupported",
            Self::ShareExceeded => "share_exceeded",
            Self::LedgerMissing => "ledger_missing",
            Self::PlanOnly => "plan_only",
        }
    }
}

/// One reason, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
