//! Verdicts and findings: the closed words in which a verification speaks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::oci::digest::Digest;
use crate::oci::platform::Platform;

pub mod explanation;
mod list;
mod report;

pub use list::Findings;
pub use report::{PlatformReport, PlatformReports, Report};

/// There is no fourth, and no default: what was not checked is `Unknown`.
///
/// Ordered by how much it hurts, so that the worst of many is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pullable,
    Unknown,
    Broken,
}

impl Verdict {
    pub const ALL: [Self; 3] = [Self::Pullable, Self::Unknown, Self::Broken];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pullable => "pullable",
            Self::Unknown => "unknown",
            Self::Broken => "broken",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $verdict:ident,)*) => {
        /// What is wrong, or why it is not known. Closed: label values are made of these.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The verdict that a finding of this code alone would give.
            pub fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)* }
            }
        }
    };
}

codes! {
    TagMissing = "tag_missing" => Broken,
    ManifestMissing = "manifest_missing" => Broken,
    ChildMissing = "child_missing" => Broken,
    ConfigMissing = "config_missing" => Broken,
    LayerMissing = "layer_missing" => Broken,
    /// In a storage class that must be restored before it can be read.
    LayerArchived = "layer_archived" => Broken,
    SizeMismatch = "size_mismatch" => Broken,
    DigestMismatch = "digest_mismatch" => Broken,
    ManifestInvalid = "manifest_invalid" => Broken,
    /// A platform that is needed, and that the index does not have.
    PlatformMissing = "platform_missing" => Broken,
    ReferenceInvalid = "reference_invalid" => Broken,
    Unauthorized = "unauthorized" => Unknown,
    Forbidden = "forbidden" => Unknown,
    /// The workload's pull secret may not be read: counted, never an alert.
    CredentialUnavailable = "credential_unavailable" => Unknown,
    RateLimited = "rate_limited" => Unknown,
    Unreachable = "unreachable" => Unknown,
    Tls = "tls" => Unknown,
    Timeout = "timeout" => Unknown,
    ServerError = "server_error" => Unknown,
    /// The host may not be asked, or answers 200 for what cannot exist.
    Untrusted = "untrusted" => Unknown,
    Unsupported = "unsupported" => Unknown,
    NeverChecked = "never_checked" => Unknown,
    Stale = "stale" => Unknown,
}

impl Code {
    /// Whether another credential could change it.
    pub fn verdict_is_about_credentials(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Forbidden)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One thing that is wrong or not known, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub code: Code,
    /// The object that it is about; `None` where no digest is known (a missing tag).
    pub subject: Option<Digest>,
    pub platform: Option<Platform>,
    /// Whether a platform that is needed has it: only then does it decide the image's verdict.
    pub needed: bool,
    /// The digests from the root to the object that names the subject.
    pub path: Vec<Digest>,
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_one_name_everywhere() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_ne!(code.verdict(), Verdict::Pullable);
        }
    }

    #[test]
    fn the_worst_verdict_is_the_maximum() {
        assert_eq!(Verdict::ALL.iter().max(), Some(&Verdict::Broken));
        assert!(Verdict::Unknown > Verdict::Pullable);
    }
}
