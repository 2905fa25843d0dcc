//! One object of a tree, and what it is called.

use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::oci::reference::shown;
use crate::verify::finding::{Code, Finding, Verdict};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Index,
    Manifest,
    /// A manifest that attests another one: provenance, a bill of materials.
    Attestation,
    Config,
    Layer,
    /// A blob among the children of an index.
    Blob,
    /// A platform that is needed and that the index lacks.
    Platform,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::Attestation => "attestation",
            Self::Config => "config",
            Self::Layer => "layer",
            Self::Blob => "blob",
            Self::Platform => "platform",
        }
    }

    pub fn is_manifest(self) -> bool {
        matches!(self, Self::Index | Self::Manifest | Self::Attestation)
    }
}

/// One object at one place of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub kind: Kind,
    pub digest: Option<Digest>,
    /// Its own bytes; `None` where nobody said.
    pub size: Option<u64>,
    /// Of distinct objects here and below, where all sizes are known.
    pub total: Option<u64>,
    pub media_type: Option<String>,
    pub artifact_type: Option<String>,
    pub platform: Option<Platform>,
    pub subject: Option<Digest>,
    /// What an attestation attests: the digest, and its platform where that is known.
    pub attests: Option<(Digest, Option<Platform>)>,
    /// The worst of itself and of what is below it that is needed.
    pub state: Verdict,
    /// What is found of itself.
    pub code: Option<Code>,
    pub message: Option<String>,
    pub needed: bool,
    /// The registry need not hold it; it was not asked for.
    pub is_foreign: bool,
    /// Other manifests of the tree that name it too.
    pub shared_by: Vec<String>,
    pub children: Vec<Object>,
}

impl Object {
    pub(super) fn empty(kind: Kind) -> Self {
        Self {
            kind,
            digest: None,
            size: None,
            total: None,
            media_type: None,
            artifact_type: None,
            platform: None,
            subject: None,
            attests: None,
            state: Verdict::Unknown,
            code: None,
            message: None,
            needed: true,
            is_foreign: false,
            shared_by: Vec::new(),
            children: Vec::new(),
        }
    }

    pub(super) fn lacking(finding: &Finding) -> Self {
        Self {
            platform: finding.platform.clone(),
            state: finding.code.verdict(),
            code: Some(finding.code),
            message: Some(finding.message.clone()),
            needed: finding.needed,
            ..Self::empty(Kind::Platform)
        }
    }

    /// What it is called among its siblings: its platform, or what it is and the start of its digest.
    pub fn name(&self) -> String {
        match (&self.platform, &self.digest) {
            (Some(platform), _) if !platform.is_unknown() => shown(&platform.to_string()),
            (_, Some(digest)) => {
                let hex = digest.hex();
                format!("{} {}", self.kind.as_str(), hex.get(..12).unwrap_or(&hex))
            }
            (_, None) => self.kind.as_str().to_owned(),
        }
    }

    /// Every object, each with the objects above it.
    pub fn visit<'a>(
        &'a self,
        above: &mut Vec<&'a Self>,
        see: &mut dyn FnMut(&[&'a Self], &'a Self),
    ) {
        see(above, self);
        above.push(self);
        for child in &self.children {
            child.visit(above, see);
        }
        above.pop();
    }
}
