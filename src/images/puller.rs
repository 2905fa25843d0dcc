//! Whose credential pulls an image, and what a walk says given that.

use std::sync::Arc;

use crate::credentials::Credential;
use crate::inventory::{ImageUse, PullSecret, SourceState};
use crate::oci::reference::Reference;
use crate::verify::finding::{Code, Finding, Report, Verdict};

/// Whose credential pulls an image.
#[derive(Debug, Clone)]
pub enum Puller {
    /// No pull secret fits: the registry entry's credential, or nobody's.
    Own,
    /// The matching entries of the workload's pull secrets, in the order in which they are tried.
    Secrets {
        label: Arc<str>,
        credentials: Vec<Arc<Credential>>,
        /// One more that may fit, and could not be read: a refusal is then not the last word.
        unread: Option<Arc<str>>,
    },
    /// A pull secret that may fit could not be read.
    Unavailable { label: Arc<str>, reason: Arc<str> },
}

impl Puller {
    /// Equal for the same credentials, wherever they are kept.
    pub(super) fn key(&self) -> PullerKey {
        match self {
            Self::Own => PullerKey::Own,
            Self::Secrets {
                credentials,
                unread,
                ..
            } => {
                let ids = credentials
                    .iter()
                    .map(|credential| credential.id().to_owned());
                // With one more that could not be read, a refusal means less: another image.
                let mark = unread
                    .as_ref()
                    .map(|_| "and one that could not be read".to_owned());
                PullerKey::Secrets(ids.chain(mark).collect())
            }
            Self::Unavailable { label, .. } => PullerKey::Unavailable(Arc::clone(label)),
        }
    }

    /// What is told of it besides: with the key it tells pullers apart.
    pub(super) fn words(&self) -> Words {
        match self {
            Self::Own => [None, None],
            Self::Secrets { label, unread, .. } => [Some(Arc::clone(label)), unread.clone()],
            Self::Unavailable { label, reason } => {
                [Some(Arc::clone(label)), Some(Arc::clone(reason))]
            }
        }
    }
}

/// The label, and what is not known.
pub(super) type Words = [Option<Arc<str>>; 2];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullerKey {
    Own,
    Secrets(Vec<String>),
    Unavailable(Arc<str>),
}

/// The credential as the kubelet finds it: every entry that matches, of every secret, in order.
pub(super) fn puller(image_use: &ImageUse, reference: &Reference, source: &SourceState) -> Puller {
    let mut credentials: Vec<Arc<Credential>> = Vec::new();
    let mut labels: Vec<String> = Vec::new();
    let mut unreadable = None;
    for name in image_use.pull_secrets.iter() {
        let namespace = &image_use.user.namespace;
        let label = || format!("{namespace}/{name}");
        match source
            .pull_secrets
            .get(&(Arc::clone(namespace), Arc::clone(name)))
        {
            Some(PullSecret::Found(keyring)) => {
                for credential in keyring.matching(reference) {
                    if !credentials
                        .iter()
                        .any(|known| known.id() == credential.id())
                    {
                        credentials.push(credential);
                        labels.push(label());
                    }
                }
            }
            // The kubelet goes on without a secret that does not exist.
            Some(PullSecret::Missing) => {}
            Some(PullSecret::Unreadable(reason)) => {
                unreadable.get_or_insert((label(), reason.clone()));
            }
            None => {
                unreadable.get_or_insert((label(), "it was not read yet".to_owned()));
            }
        }
    }
    labels.dedup();
    match (credentials.is_empty(), unreadable) {
        // A yes from one that could be read is a yes; a no is only a part of the answer.
        (false, unreadable) => Puller::Secrets {
            label: labels.join(", ").into(),
            credentials,
            unread: unreadable.map(|(label, reason)| format!("{label}: {reason}").into()),
        },
        (true, Some((label, reason))) => Puller::Unavailable {
            label: label.into(),
            reason: reason.into(),
        },
        (true, None) => Puller::Own,
    }
}

/// What a walk says about an image, given who pulls it: a credential that could not be read makes
/// `unknown` of whatever it might have changed. `own_is_anonymous` tells that the registry entry has
/// no credential of its own, so that nobody with more rights has looked.
pub fn with_puller(mut report: Report, puller: &Puller, own_is_anonymous: bool) -> Report {
    let (reason, hides_roots) = match puller {
        Puller::Own | Puller::Secrets { unread: None, .. } => return report,
        Puller::Secrets {
            unread: Some(reason),
            ..
        } => (reason.to_string(), own_is_anonymous),
        Puller::Unavailable { label, reason } => {
            // What anybody may pull, this workload may.
            if report.verdict == Verdict::Pullable && own_is_anonymous {
                return report;
            }
            (format!("{label}: {reason}"), true)
        }
    };
    let unavailable = |finding: &mut Finding| {
        finding.code = Code::CredentialUnavailable;
        finding.message = format!("the pull secret {reason} (without it: {})", finding.message);
    };
    for finding in &mut report.findings {
        // Registries answer 404 for what a stranger may not see: missing at the root is no fact then.
        let is_hidden =
            hides_roots && matches!(finding.code, Code::TagMissing | Code::ManifestMissing);
        if finding.code.verdict_is_about_credentials() || is_hidden {
            unavailable(finding);
        }
    }
    let is_alone = matches!(puller, Puller::Unavailable { .. });
    if is_alone && report.findings.iter().all(|finding| !finding.needed) {
        report.findings.push(Finding {
            code: Code::CredentialUnavailable,
            subject: report.digest,
            platform: None,
            needed: true,
            path: Vec::new(),
            message: format!("the content exists; whether the workload may pull it is not known: the pull secret {reason}"),
        });
    }
    report.settle();
    report
}
