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
        lack: Option<Lack>,
    },
    /// None fits of those that could be used, and there are others.
    Unavailable { label: Arc<str>, lack: Lack },
}

/// A pull secret that could not be used: which, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// It may fit, and could not be read: a refusal is then not the last word.
    Unread(Arc<str>),
    /// The kubelet cannot make credentials of it, and so does not pull at all: neither with the others
    /// nor as nobody.
    Malformed(Arc<str>),
}

impl Lack {
    fn text(&self) -> &Arc<str> {
        match self {
            Self::Unread(text) | Self::Malformed(text) => text,
        }
    }
}

/// Why nobody can ask for the image as this use would; none if somebody can.
pub fn unavailable(image_use: &ImageUse, source: &SourceState) -> Option<String> {
    let reference = image_use.reference.as_ref().ok()?;
    puller(image_use, reference, source).unavailable()
}

impl Puller {
    /// Why it cannot be used at all, if so.
    pub fn unavailable(&self) -> Option<String> {
        match self {
            Self::Unavailable { lack, .. } => Some(lack.text().to_string()),
            Self::Own | Self::Secrets { .. } => None,
        }
    }

    /// Equal for the same credentials, wherever they are kept.
    pub(super) fn key(&self) -> PullerKey {
        match self {
            Self::Own => PullerKey::Own,
            Self::Secrets {
                credentials, lack, ..
            } => {
                let ids = credentials
                    .iter()
                    .map(|credential| credential.id().to_owned());
                // With one more that could not be used, an answer means something else: another image.
                let mark = lack.as_ref().map(|lack| match lack {
                    Lack::Unread(_) => "and one that could not be read".to_owned(),
                    Lack::Malformed(_) => "and one that is malformed".to_owned(),
                });
                PullerKey::Secrets(ids.chain(mark).collect())
            }
            Self::Unavailable { label, lack } => PullerKey::Unavailable(match lack {
                Lack::Unread(_) => Arc::clone(label),
                Lack::Malformed(_) => format!("{label}, malformed").into(),
            }),
        }
    }

    /// What is told of it besides: with the key it tells pullers apart.
    pub(super) fn words(&self) -> Words {
        match self {
            Self::Own => [None, None],
            Self::Secrets { label, lack, .. } => {
                let lack = lack.as_ref().map(|lack| Arc::clone(lack.text()));
                [Some(Arc::clone(label)), lack]
            }
            Self::Unavailable { label, lack } => {
                [Some(Arc::clone(label)), Some(Arc::clone(lack.text()))]
            }
        }
    }
}

/// The label, and what is lacking.
pub(super) type Words = [Option<Arc<str>>; 2];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullerKey {
    Own,
    Secrets(Vec<String>),
    Unavailable(Arc<str>),
}

/// The credential as the kubelet finds it: every entry that matches, of every secret, in order. One
/// secret that it cannot read as a docker config ends the pull before it began (`MakeDockerKeyring` in
/// `pkg/credentialprovider/secrets`), for whichever registry it was meant.
pub(super) fn puller(image_use: &ImageUse, reference: &Reference, source: &SourceState) -> Puller {
    let mut credentials: Vec<Arc<Credential>> = Vec::new();
    let mut labels: Vec<String> = Vec::new();
    let mut unread = None;
    let mut malformed = None;
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
            Some(PullSecret::Malformed(reason)) => {
                malformed.get_or_insert_with(|| (label(), reason.as_str()));
            }
            Some(PullSecret::Unreadable(reason)) => {
                unread.get_or_insert_with(|| (label(), reason.as_str()));
            }
            None => {
                unread.get_or_insert_with(|| (label(), "it was not read yet"));
            }
        }
    }
    labels.dedup();
    let text = |(label, reason): &(String, &str)| format!("{label}: {reason}").into();
    let lack = match (&malformed, &unread) {
        (Some(malformed), _) => Some(Lack::Malformed(text(malformed))),
        (None, Some(unread)) => Some(Lack::Unread(text(unread))),
        (None, None) => None,
    };
    match (credentials.is_empty(), lack, malformed.or(unread)) {
        // A yes from one that could be read is a yes; a no is only a part of the answer.
        (false, lack, _) => Puller::Secrets {
            label: labels.join(", ").into(),
            credentials,
            lack,
        },
        (true, Some(lack), Some((label, _))) => Puller::Unavailable {
            label: label.into(),
            lack,
        },
        (true, _, _) => Puller::Own,
    }
}

/// What a walk says about an image, given who pulls it: a credential that could not be used makes
/// `unknown` of whatever it might have changed. `own_is_anonymous` tells that the registry entry has
/// no credential of its own, so that nobody with more rights has looked.
pub fn with_puller(mut report: Report, puller: &Puller, own_is_anonymous: bool) -> Report {
    let (lack, hides_roots) = match puller {
        Puller::Own | Puller::Secrets { lack: None, .. } => return report,
        Puller::Secrets {
            lack: Some(lack), ..
        } => {
            // What is malformed would have shown nothing more.
            let shows_more = matches!(lack, Lack::Unread(_));
            (lack, shows_more && own_is_anonymous)
        }
        Puller::Unavailable { lack, .. } => {
            // What anybody may pull, this workload may, if its node tries.
            let tries = matches!(lack, Lack::Unread(_));
            if tries && report.verdict == Verdict::Pullable && own_is_anonymous {
                return report;
            }
            (lack, true)
        }
    };
    let reason = lack.text();
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
    let message = match (lack, puller) {
        (Lack::Malformed(_), _) => Some(format!(
            "the content exists, but the workload's node does not pull it: the pull secret {reason}, and the kubelet tries nothing when one is malformed"
        )),
        (Lack::Unread(_), Puller::Unavailable { .. }) => Some(format!(
            "the content exists; whether the workload may pull it is not known: the pull secret {reason}"
        )),
        (Lack::Unread(_), _) => None,
    };
    if let Some(message) = message
        && report.findings.iter().all(|finding| !finding.needed)
    {
        report.findings.push(Finding {
            code: Code::CredentialUnavailable,
            subject: report.digest,
            platform: None,
            needed: true,
            path: Vec::new(),
            message,
        });
    }
    report.settle();
    report
}
