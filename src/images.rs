//! From uses to images: one image for a distinct (reference, credential), with all who use it. Pure.
//!
//! Two namespaces with different pull secrets are two images, although they name the same content:
//! what one may pull says nothing about the other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::credentials::Credential;
use crate::inventory::{ImageUse, Inventory, PullSecret, SourceState, User};
use crate::mirrors::Other;
use crate::oci::platform::Platform;
use crate::oci::reference::{InvalidReference, Reference};
use crate::verify::finding::{Code, Finding, Report, Verdict};
use crate::verify::target::Needs;

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
    fn key(&self) -> PullerKey {
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
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullerKey {
    Own,
    Secrets(Vec<String>),
    Unavailable(Arc<str>),
}

/// What tells images apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageKey {
    pub reference: Reference,
    pub puller: PullerKey,
}

/// One image, and everybody who needs it. What is kept of it elsewhere shares its texts.
#[derive(Debug, Clone)]
pub struct Image {
    pub key: Arc<ImageKey>,
    /// The canonical reference.
    pub name: Arc<str>,
    /// The host in it.
    pub registry: Arc<str>,
    pub puller: Puller,
    pub needs: Needs,
    pub users: Arc<[User]>,
}

impl Image {
    pub fn host(&self) -> &str {
        self.key.reference.host()
    }
}

/// A string that is no reference, and who wrote it.
#[derive(Debug, Clone)]
pub struct Malformed {
    pub problem: InvalidReference,
    pub users: Arc<[User]>,
}

/// All images of an inventory, in order of their keys.
#[derive(Debug, Clone, Default)]
pub struct Images {
    pub images: Vec<Arc<Image>>,
    pub malformed: Vec<Malformed>,
    /// Other endpoints that have some of them, in order of their keys. Nobody names these.
    pub endpoints: Vec<Arc<Image>>,
    /// The other endpoints of an image: of [`Self::endpoints`], or among the images.
    pub others: HashMap<Arc<ImageKey>, Vec<Other>>,
}

impl Images {
    /// All that is to be proven.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.images.iter().chain(&self.endpoints)
    }

    /// The registries that are named, in order.
    pub fn hosts(&self) -> BTreeSet<String> {
        self.all().map(|image| image.host().to_owned()).collect()
    }

    pub fn of_host(&self, host: &str) -> Vec<Arc<Image>> {
        self.all()
            .filter(|image| image.host() == host)
            .cloned()
            .collect()
    }

    pub fn get(&self, key: &ImageKey) -> Option<&Arc<Image>> {
        find(&self.images, key).or_else(|| find(&self.endpoints, key))
    }

    /// All entries of one reference: one for each credential that pulls it.
    pub fn of_reference(&self, reference: &Reference) -> &[Arc<Image>] {
        let before = |image: &Arc<Image>| image.key.reference < *reference;
        let start = self.images.partition_point(before);
        let rest = self.images.get(start..).unwrap_or_default();
        let count = rest.partition_point(|image| image.key.reference == *reference);
        rest.get(..count).unwrap_or_default()
    }
}

/// An image among images that stand in order of their keys.
pub fn find<'a>(images: &'a [Arc<Image>], key: &ImageKey) -> Option<&'a Arc<Image>> {
    let at = images
        .binary_search_by(|image| (*image.key).cmp(key))
        .ok()?;
    images.get(at)
}

/// Which platforms count, where the configuration says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PlatformChoice {
    /// Those of the nodes that may run the workload.
    #[default]
    Needed,
    All,
    These(Arc<[Platform]>),
}

/// What one image is made from, use by use.
struct Draft<'a> {
    puller: Puller,
    needs: Needs,
    users: Vec<&'a User>,
}

/// Groups the uses of an inventory. `choose` tells the platforms that count for a registry's host.
pub fn collect(inventory: &Inventory, choose: &dyn Fn(&str) -> PlatformChoice) -> Images {
    let mut drafts: BTreeMap<(&Reference, PullerKey), Draft<'_>> = BTreeMap::new();
    let mut malformed: BTreeMap<&str, (&InvalidReference, Vec<&User>)> = BTreeMap::new();
    let mut choices: HashMap<&str, PlatformChoice> = HashMap::new();
    let mut platforms = PlatformSets::default();
    for source in &inventory.sources {
        for image_use in source.uses.iter() {
            match &image_use.reference {
                Ok(reference) => {
                    let puller = puller(image_use, reference, source);
                    let host = reference.host();
                    let choice = choices.entry(host).or_insert_with(|| choose(host));
                    let needs = platforms.needs(image_use, source, choice);
                    let draft = drafts
                        .entry((reference, puller.key()))
                        .or_insert_with(|| Draft {
                            puller,
                            needs: needs.clone(),
                            users: Vec::new(),
                        });
                    draft.needs = platforms.union(&draft.needs, needs);
                    draft.users.push(&image_use.user);
                }
                Err(problem) => malformed
                    .entry(&problem.text)
                    .or_insert_with(|| (problem, Vec::new()))
                    .1
                    .push(&image_use.user),
            }
        }
    }
    let mut hosts: HashSet<Arc<str>> = HashSet::new();
    let images = drafts.into_iter().map(|((reference, puller_key), draft)| {
        let users = settled(draft.users);
        let registry = match hosts.get(reference.host()) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = reference.host().into();
                hosts.insert(Arc::clone(&new));
                new
            }
        };
        let name = reference.to_string();
        // Most write what is canonical already: then one text serves both.
        let written = users.iter().find(|user| *user.image == *name);
        Arc::new(Image {
            name: written.map_or_else(|| name.into(), |user| Arc::clone(&user.image)),
            registry,
            key: Arc::new(ImageKey {
                reference: reference.clone(),
                puller: puller_key,
            }),
            puller: draft.puller,
            needs: draft.needs,
            users,
        })
    });
    let malformed = malformed.into_values().map(|(problem, users)| Malformed {
        problem: problem.clone(),
        users: settled(users),
    });
    Images {
        images: images.collect(),
        malformed: malformed.collect(),
        ..Images::default()
    }
}

fn settled(mut users: Vec<&User>) -> Arc<[User]> {
    users.sort();
    users.dedup();
    users.into_iter().cloned().collect()
}

/// The credential as the kubelet finds it: every entry that matches, of every secret, in order.
fn puller(image_use: &ImageUse, reference: &Reference, source: &SourceState) -> Puller {
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

/// Sets of platforms: a handful, each kept once however many images need it.
#[derive(Debug, Default)]
pub struct PlatformSets(HashSet<Arc<[Platform]>>);

impl PlatformSets {
    fn share(&mut self, platforms: BTreeSet<Platform>) -> Needs {
        let platforms: Vec<Platform> = platforms.into_iter().collect();
        if let Some(known) = self.0.get(platforms.as_slice()) {
            return Needs::These(Arc::clone(known));
        }
        let new: Arc<[Platform]> = platforms.into();
        self.0.insert(Arc::clone(&new));
        Needs::These(new)
    }

    fn needs(
        &mut self,
        image_use: &ImageUse,
        source: &SourceState,
        choice: &PlatformChoice,
    ) -> Needs {
        match (choice, &source.platforms) {
            (PlatformChoice::All, _) | (PlatformChoice::Needed, None) => Needs::All,
            (PlatformChoice::These(platforms), _) => Needs::These(Arc::clone(platforms)),
            (PlatformChoice::Needed, Some(nodes)) => {
                let admitted: BTreeSet<Platform> = nodes
                    .iter()
                    .filter(|node| image_use.constraint.admits(node))
                    .cloned()
                    .collect();
                if admitted.is_empty() {
                    // No node fits now: a pool that is scaled to zero, perhaps. Who will pull is open.
                    return Needs::All;
                }
                self.share(admitted)
            }
        }
    }

    /// What both need.
    pub fn union(&mut self, ours: &Needs, theirs: Needs) -> Needs {
        match (ours, theirs) {
            (Needs::All, _) | (_, Needs::All) => Needs::All,
            (Needs::These(ours), Needs::These(theirs)) if *ours == theirs => Needs::These(theirs),
            (Needs::These(ours), Needs::These(theirs)) => {
                self.share(ours.iter().chain(theirs.iter()).cloned().collect())
            }
        }
    }
}

#[cfg(test)]
mod tests;
