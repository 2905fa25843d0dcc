//! `explain -o json`. Keys are stable; they are only added to. A key is always there, null where nothing
//! is known.

use serde::Serialize;

use super::kept::Kept;
use super::referrer::Referrers;
use super::tree::Object;
use crate::gc::refusal::Refusal;
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::registry::exchange::{Answered, Exchange, Fault};
use crate::retention::class::Class;
use crate::verify::depth::Depth;
use crate::verify::finding::{Code, Finding, Verdict};
use crate::view::{EndpointView, SourceView, UserView};

#[derive(Debug, Clone, Serialize)]
pub struct Explain {
    pub schema: &'static str,
    /// Null where a digest was asked for.
    pub reference: Option<String>,
    pub digest: Option<Digest>,
    pub depth: Depth,
    pub verdict: Verdict,
    /// Why, where no tree can say it.
    pub message: Option<String>,
    /// Which credential was let in: `anonymous`, or its label. Null where nobody was.
    pub credential: Option<String>,
    pub duration_seconds: f64,
    /// At the endpoint that decides the verdict.
    pub tree: Option<ObjectView>,
    pub findings: Vec<Finding>,
    /// Where the image has mirrors, or is one: every endpoint, the one that is written first.
    pub endpoints: Vec<EndpointTree>,
    /// The same reference as others pull it.
    pub other_credentials: Vec<OtherView>,
    pub referrers: Referrers,
    pub exchanges: Vec<ExchangeView>,
    pub used_by: Vec<UserView>,
    pub keeps: Vec<Kept>,
    /// How a digest stands in each storage that is configured.
    pub storages: Vec<StorageView>,
    /// Null where no inventory was read: then it is not known who uses it.
    pub inventory: Option<InventoryState>,
}

impl Default for Explain {
    /// Nothing is known yet.
    fn default() -> Self {
        Self {
            schema: "pullproof.dev/explain/v1",
            reference: None,
            digest: None,
            depth: Depth::default(),
            verdict: Verdict::Unknown,
            message: None,
            credential: None,
            duration_seconds: 0.0,
            tree: None,
            findings: Vec::new(),
            endpoints: Vec::new(),
            other_credentials: Vec::new(),
            referrers: Referrers::default(),
            exchanges: Vec::new(),
            used_by: Vec::new(),
            keeps: Vec::new(),
            storages: Vec::new(),
            inventory: None,
        }
    }
}

/// One endpoint as `verify` tells it, and the tree there.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointTree {
    #[serde(flatten)]
    pub endpoint: EndpointView,
    pub tree: Option<ObjectView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct InventoryState {
    pub complete: bool,
    /// The images that were looked through.
    pub images: usize,
    /// Of them, those whose tree could not be followed to its end.
    pub not_followed: usize,
    pub sources: Vec<SourceView>,
}

/// How a digest stands in a registry's storage.
#[derive(Debug, Clone, Serialize)]
pub struct StorageView {
    /// The registry's host.
    pub storage: String,
    /// `kept`, `goes`, `absent`, or `unknown` where nothing could be planned.
    pub state: &'static str,
    pub bytes: Option<u64>,
    /// Why it is kept.
    pub kept_by: Option<KeptBy>,
    /// What goes of it, and why: of what is kept, links of repositories that need it no more.
    pub garbage: Vec<GarbageView>,
    /// What named it once, and goes too.
    pub named_by: Vec<Digest>,
    /// The tags that name it, with what they are to those who need them.
    pub tags: Vec<TagView>,
    /// Why nothing could be planned.
    pub refusals: Vec<Refusal>,
}

/// A tag in a storage.
#[derive(Debug, Clone, Serialize)]
pub struct TagView {
    pub repository: String,
    pub tag: String,
    /// The strongest first; `unused` where a policy would let it go.
    pub classes: Vec<Class>,
    pub reason: String,
}

/// A root, and the way from it.
#[derive(Debug, Clone, Serialize)]
pub struct KeptBy {
    /// `tag`, `in_use`, `tag_history`, `untagged`, `young`, `pushing`, `not_understood`, `protected`,
    /// `damaged` or `out_of_scope`.
    pub root: &'static str,
    pub repository: Option<String>,
    pub tag: Option<String>,
    /// Who has it in use, or whose path protects it.
    pub references: Vec<String>,
    /// From what the root names to the digest that was asked for.
    pub path: Vec<Digest>,
}

#[derive(Debug, Clone, Serialize)]
pub struct GarbageView {
    pub kind: &'static str,
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub reason: &'static str,
    /// The reason in words.
    pub message: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct OtherView {
    pub credential: Option<String>,
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ObjectView {
    pub kind: &'static str,
    pub digest: Option<Digest>,
    pub media_type: Option<String>,
    pub artifact_type: Option<String>,
    pub size: Option<u64>,
    pub total_size: Option<u64>,
    pub platform: Option<Platform>,
    pub subject: Option<Digest>,
    pub attests: Option<Digest>,
    pub state: Verdict,
    pub code: Option<Code>,
    pub message: Option<String>,
    pub needed: bool,
    pub foreign: bool,
    pub shared_by: Vec<String>,
    pub children: Vec<ObjectView>,
}

impl From<&Object> for ObjectView {
    fn from(object: &Object) -> Self {
        Self {
            kind: object.kind.as_str(),
            digest: object.digest,
            media_type: object.media_type.clone(),
            artifact_type: object.artifact_type.clone(),
            size: object.size,
            total_size: object.total,
            platform: object.platform.clone(),
            subject: object.subject,
            attests: object.attests.as_ref().map(|(digest, _)| *digest),
            state: object.state,
            code: object.code,
            message: object.message.clone(),
            needed: object.needed,
            foreign: object.is_foreign,
            shared_by: object.shared_by.clone(),
            children: object.children.iter().map(Self::from).collect(),
        }
    }
}

/// One request and its answer.
#[derive(Debug, Clone, Serialize)]
pub struct ExchangeView {
    pub operation: &'static str,
    pub method: String,
    pub host: String,
    /// Null on another host than the registry's, where it may hold a signature.
    pub path: Option<String>,
    pub range: Option<String>,
    pub credential: String,
    /// Null where there was no answer.
    pub status: Option<u16>,
    pub digest: Option<Digest>,
    pub size: Option<u64>,
    /// The host that the answer points to.
    pub redirect: Option<String>,
    /// Why there was no answer.
    pub error: Option<String>,
    pub at_ms: f64,
    pub duration_ms: f64,
}

impl ExchangeView {
    /// `label` names a credential without telling it.
    pub fn of(exchange: &Exchange, label: &dyn Fn(&Exchange) -> String) -> Self {
        let (answered, error) = match &exchange.answer {
            Ok(answered) => (Some(answered), None),
            Err(Fault { code, message }) => (None, Some(format!("{code}: {message}"))),
        };
        let milliseconds = |duration: std::time::Duration| {
            // Tenths are as fine as anybody looks.
            (duration.as_secs_f64() * 10_000.0).round() / 10.0
        };
        let answered: Option<&Answered> = answered;
        Self {
            operation: exchange.operation.as_str(),
            method: exchange.method.clone(),
            host: exchange.host.clone(),
            path: exchange.path.clone(),
            range: exchange.range.clone(),
            credential: label(exchange),
            status: answered.map(|answered| answered.status),
            digest: answered.and_then(|answered| answered.digest),
            size: answered.and_then(|answered| answered.size),
            redirect: answered.and_then(|answered| answered.redirect.clone()),
            error,
            at_ms: milliseconds(exchange.at),
            duration_ms: milliseconds(exchange.duration),
        }
    }

    pub fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}
