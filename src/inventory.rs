//! The inventory: every image reference and who uses it, from all sources.
//!
//! A source is a cluster, another pullproof, a directory of Kubernetes YAML or a list of references. Each delivers a
//! [`SourceState`]; their union is the [`Inventory`]. Complete or nothing: a source that could not be
//! read in full says so, and its last complete state stands in. An error is never an empty list,
//! since a list that was empty by error is how images get lost (restic#4612, harbor#12975).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::completeness::{Rules, Shrunk};
use self::marks::{AllMarks, Marks};
use crate::credentials::Keyring;
use crate::oci::platform::Platform;
use crate::oci::reference::{InvalidReference, Reference};

use self::running::RunningUse;

pub mod cluster;
pub mod completeness;
pub mod extract;
pub mod keepset;
pub mod ledger;
pub mod loss;
pub mod manifests;
pub mod marks;
pub mod nodes;
pub mod peer;
pub mod references;
pub mod running;
pub mod standin;
pub mod stored;
mod user;

pub use self::user::{ARGUMENT, Idle, TopOwner, User, Via};

/// Why an image must stay pullable, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A workload of an active cluster names it, at any replica count.
    Runtime,
    /// A workload of a standby cluster names it.
    Failover,
    /// A rollback would pull it.
    Rollback,
    /// A list names it.
    Listed,
    /// Nothing names it now, but something did recently.
    Remembered,
    /// A string somewhere looks like it.
    Mentioned,
}

impl Class {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Failover => "failover",
            Self::Rollback => "rollback",
            Self::Listed => "listed",
            Self::Remembered => "remembered",
            Self::Mentioned => "mentioned",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a workload's nodeSelector says about the nodes that it may run on.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeConstraint {
    /// `kubernetes.io/os`
    pub os: Option<String>,
    /// `kubernetes.io/arch`
    pub architecture: Option<String>,
    /// Where the nodes are known to another pullproof: these alone. None of them: any.
    pub platforms: Option<Arc<[Platform]>>,
}

impl NodeConstraint {
    pub fn admits(&self, platform: &Platform) -> bool {
        self.os.as_ref().is_none_or(|os| *os == platform.os)
            && self
                .architecture
                .as_ref()
                .is_none_or(|arch| *arch == platform.architecture)
            && self
                .platforms
                .as_ref()
                .is_none_or(|these| these.contains(platform))
    }
}

/// One use of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// Shared with the image that is made of it.
    pub user: Arc<User>,
    pub reference: Result<Reference, Box<InvalidReference>>,
    /// Names of the pull secrets in the user's namespace: the pod's, or else those of its
    /// service account.
    pub pull_secrets: Arc<[Arc<str>]>,
    pub constraint: Arc<NodeConstraint>,
}

const _: () = assert!(size_of::<ImageUse>() <= 64);

/// What reading a pull secret gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullSecret {
    Found(Arc<Keyring>),
    /// It does not exist. The kubelet goes on without it, and so do we.
    Missing,
    /// It is there, and nothing can be made of it. The kubelet then does not pull.
    Malformed(String),
    /// It may exist, but pullproof may not or could not read it.
    Unreadable(String),
}

/// By namespace and name.
pub type PullSecrets = BTreeMap<(Arc<str>, Arc<str>), PullSecret>;

/// What one source says, whole.
#[derive(Debug, Clone)]
pub struct SourceState {
    pub name: Arc<str>,
    /// Why it is not complete now; `None` means that everything was read.
    pub incomplete: Option<String>,
    /// Its first reading has neither succeeded nor failed so far.
    pub is_awaited: bool,
    /// What was not granted or is not there, and does not make it incomplete: each in one line.
    pub absent: Vec<String>,
    /// When it was last complete; `None` means never, and `uses` is then what is known so far.
    pub complete_at: Option<Timestamp>,
    /// The last complete state while incomplete.
    pub uses: Arc<[ImageUse]>,
    /// What nodes say of some of the uses, in their order.
    pub running: Arc<[Arc<RunningUse>]>,
    /// By namespace and name; holds every secret that `uses` names.
    pub pull_secrets: Arc<PullSecrets>,
    /// The platforms of the cluster's nodes; `None` where Nodes cannot be read, and for files:
    /// then every platform is needed.
    pub platforms: Option<Arc<[Platform]>>,
    /// What people say of alerts about its workloads.
    pub marks: Marks,
    /// What the configuration says of it.
    pub rules: Rules,
    /// It names much less than it did.
    pub shrunk: Option<Shrunk>,
    /// What another pullproof said besides; `None` for what is read at first hand.
    pub peer: Option<Arc<peer::Told>>,
}

impl SourceState {
    /// Each use, with what nodes say of it.
    pub fn uses_told(&self) -> impl Iterator<Item = (&ImageUse, Option<&Arc<RunningUse>>)> {
        let mut told = self.running.iter().peekable();
        self.uses.iter().map(move |it| {
            let said = told.next_if(|said| {
                // Nearly always the same allocation.
                Arc::ptr_eq(&said.user, &it.user) || said.user == it.user
            });
            (it, said)
        })
    }

    /// A source that was not read yet.
    pub fn unread(name: &str) -> Self {
        Self {
            name: name.into(),
            incomplete: Some("it was not read yet".to_owned()),
            is_awaited: true,
            absent: Vec::new(),
            complete_at: None,
            uses: [].into(),
            running: [].into(),
            pull_secrets: Arc::default(),
            platforms: None,
            marks: Marks::default(),
            rules: Rules::default(),
            shrunk: None,
            peer: None,
        }
    }
}

/// The distinct references that uses name. What another pullproof only remembers is named by nobody: two
/// that count each other's memory as a sighting would remember for ever.
pub fn distinct<'a>(uses: impl Iterator<Item = &'a ImageUse>) -> Distinct<'a> {
    let named = uses.filter(|image_use| image_use.user.class != Class::Remembered);
    // Those of one workload stand together.
    let mut last = None;
    named
        .filter_map(|image_use| image_use.reference.as_ref().ok())
        .filter(|reference| last.replace(*reference) != Some(*reference))
        .collect()
}

/// Distinct references. They are looked up more often than anything else.
pub type Distinct<'a> = foldhash::HashSet<&'a Reference>;

/// The union over all sources.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    pub sources: Vec<Arc<SourceState>>,
}

impl Inventory {
    /// The registries that well-formed references name.
    pub fn hosts(&self) -> BTreeSet<String> {
        let uses = self.sources.iter().flat_map(|source| source.uses.iter());
        let references = uses.filter_map(|image_use| image_use.reference.as_ref().ok());
        references
            .map(|reference| reference.host().to_owned())
            .collect()
    }

    /// What runs of each use.
    pub fn running(&self) -> HashMap<&User, &Arc<RunningUse>> {
        let uses = self.sources.iter().flat_map(|source| source.running.iter());
        uses.map(|of_use| (&*of_use.user, of_use)).collect()
    }

    /// What people say of alerts, whatever the source.
    pub fn marks(&self) -> AllMarks {
        let sources = self.sources.iter();
        sources.map(|source| source.marks.clone()).collect()
    }

    pub fn is_complete(&self) -> bool {
        self.sources
            .iter()
            .all(|source| source.incomplete.is_none())
    }
}

/// How many problems are told of one source.
const PROBLEMS_TOLD_MAX: usize = 3;

/// The first few problems of a source in one line, and how many more there are.
fn summary(problems: &[String]) -> Option<String> {
    let told = problems.get(..PROBLEMS_TOLD_MAX).unwrap_or(problems);
    match problems.len().saturating_sub(told.len()) {
        0 if problems.is_empty() => None,
        0 => Some(told.join("; ")),
        more => Some(format!("{}; and {more} more", told.join("; "))),
    }
}
