//! From the table of objects to the verdict of one image. Pure, and total: whatever the table lacks
//! is `unknown`, never fine.
//!
//! Fail closed: an image is `pullable` only if every object below it, for every platform that is
//! needed, was proven, and `broken` only if one of those has a confirmed fault.

use jiff::{SignedDuration, Timestamp};

use super::finding::{Code, Finding, PlatformReport, Report, Verdict};
use super::node::{BlobEdge, ChildEdge, Shape};
use super::round::{DEPTH_MAX, NODES_MAX, Resolved, TagState};
use super::table::{Fact, ObjectKey, ObjectKind, RepositoryId, Table};
use super::target::{Cadence, Needs, Root, STALE_AFTER_INTERVALS, Target};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::second::Second;

/// The verdict of one image.
pub fn judge(
    target: &Target,
    table: &Table,
    resolved: &Resolved,
    cadence: Cadence,
    now: Timestamp,
) -> Report {
    if resolved.untrusted {
        let message = "the registry answers 200 for a digest that cannot exist, so no answer of it proves anything";
        return Report::only(Code::Untrusted, message.to_owned());
    }
    let Some(repository) = table.known_repository(&target.repository) else {
        return Report::never_checked();
    };
    if resolved.untrusted_repositories.contains(&repository) {
        let message = format!(
            "something answers 200 for a digest that cannot exist in {}",
            target.repository
        );
        return Report::only(Code::Untrusted, message);
    }
    let mut proof = Proof {
        oldest: None,
        newest: None,
        fresh_until: None,
    };
    let root = match &target.root {
        Root::Digest(digest) => *digest,
        Root::Tag(tag) => match resolved.tag(table, &(target.content, repository, tag.clone())) {
            None => return Report::never_checked(),
            Some(TagState::Missing { at }) => {
                let message = format!(
                    "the registry does not have the tag `{tag}` in {}",
                    target.repository
                );
                return Report {
                    checked_at: Some((*at).into()),
                    ..Report::only(Code::TagMissing, message)
                };
            }
            Some(TagState::Unknown { code, message }) => {
                return Report::only(*code, format!("tag `{tag}`: {message}"));
            }
            Some(TagState::Resolved { digest, at }) => {
                proof.include(*at, cadence.interval);
                *digest
            }
        },
    };
    let mut walk = Walk {
        target,
        table,
        repository,
        cadence,
        proof,
        platforms: Vec::new(),
        findings: Vec::new(),
        nodes: 0,
        is_over_budget: false,
    };
    walk.root(root, resolved);
    walk.access(root, resolved);
    let mut report = walk.report(root, now);
    if let Some((code, message)) = resolved.doubted_repositories.get(&repository) {
        doubt_mismatches(&mut report, *code, message);
    }
    match &resolved.unasked {
        Some((code, message)) if report.verdict == Verdict::Pullable => Report {
            digest: report.digest,
            checked_at: report.checked_at,
            ..Report::only(
                *code,
                format!(
                    "whether the registry tells the truth is not known: it could not be asked for a digest that cannot exist: {message}"
                ),
            )
        },
        Some(_) | None => report,
    }
}

/// Makes of what does not match what it is worth while nobody knows who says so.
fn doubt_mismatches(report: &mut Report, code: Code, reason: &str) {
    let mut platforms = Vec::new();
    for finding in &mut report.findings {
        if finding.code.is_mismatch() {
            finding.code = code;
            finding.message = format!(
                "{}, and whether the registry itself says so is not known: it could not be asked for a digest that cannot exist: {reason}",
                finding.message
            );
            platforms.push(finding.platform.clone());
        }
    }
    let is_broken = |platform: &Option<Platform>, findings: &[Finding]| {
        findings.iter().any(|finding| {
            finding.platform == *platform && finding.code.verdict() == Verdict::Broken
        })
    };
    for platform in report.platforms.iter_mut() {
        if platforms.contains(&platform.platform)
            && !is_broken(&platform.platform, &report.findings)
        {
            platform.verdict = Verdict::Unknown;
        }
    }
    report.settle();
}

/// The times of a proof.
#[derive(Debug)]
struct Proof {
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
    fresh_until: Option<Timestamp>,
}

impl Proof {
    fn include(&mut self, at: Timestamp, due_every: SignedDuration) {
        let until = at
            .saturating_add(due_every * STALE_AFTER_INTERVALS)
            .unwrap_or(Timestamp::MAX);
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
        self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        self.fresh_until = Some(
            self.fresh_until
                .map_or(until, |earliest| earliest.min(until)),
        );
    }
}

struct Walk<'a> {
    target: &'a Target,
    table: &'a Table,
    repository: RepositoryId,
    cadence: Cadence,
    proof: Proof,
    platforms: Vec<PlatformReport>,
    findings: Vec<Finding>,
    nodes: u32,
    is_over_budget: bool,
}

/// Where the walk stands: what the objects below belong to.
#[derive(Clone)]
struct Place {
    platform: Option<Platform>,
    needed: bool,
    path: Vec<Digest>,
}

impl Walk<'_> {
    fn root(&mut self, root: Digest, resolved: &Resolved) {
        let is_index = self.table.is_index(&root);
        let platform = if is_index {
            None
        } else {
            self.config_platform(root)
        };
        let place = Place {
            platform: platform.clone(),
            needed: true,
            path: Vec::new(),
        };
        let verdict = self.manifest(root, None, &place, Code::ManifestMissing);
        if !is_index {
            self.platforms.push(PlatformReport {
                platform,
                digest: Some(root),
                verdict,
                needed: true,
            });
        }
        // Only of an index whose children were looked at: what was not asked is not lacking.
        if is_index && (verdict == Verdict::Pullable || !self.platforms.is_empty()) {
            self.missing_platforms(root);
            self.nobodys_index(root, &place);
        }
        if resolved.over_budget.contains(&root) {
            self.over_budget(root, &place);
        }
    }

    /// Said once for an image: what was not followed is not proven.
    fn over_budget(&mut self, subject: Digest, place: &Place) {
        if !std::mem::replace(&mut self.is_over_budget, true) {
            let message = format!(
                "it has more than {NODES_MAX} objects or {DEPTH_MAX} levels below it; the rest was not followed"
            );
            let place = Place {
                platform: None,
                needed: true,
                path: place.path.clone(),
            };
            self.find(Code::Unsupported, subject, &place, message);
        }
    }

    /// The platform that the config of a manifest tells, where it could be read.
    fn config_platform(&self, root: Digest) -> Option<Platform> {
        match self.table.node(&root)?.shape {
            Shape::Image { config, .. } => self.table.configs.get(&config.digest)?.clone(),
            Shape::Index(_) | Shape::Unsupported(_) | Shape::Invalid(_) => None,
        }
    }

    /// The verdict of a manifest's own bytes and of all below it.
    fn manifest(
        &mut self,
        digest: Digest,
        size: Option<u64>,
        place: &Place,
        missing: Code,
    ) -> Verdict {
        let own = self.object(digest, ObjectKind::Manifest, size, place, missing);
        if own != Verdict::Pullable {
            return own;
        }
        let Some(node) = self.table.node(&digest) else {
            let message = format!("the manifest {digest} was not read yet");
            return self.find(Code::NeverChecked, digest, place, message);
        };
        // The bytes that were hashed are this long: a descriptor that says otherwise makes clients
        // refuse the pull, also where the registry's HEAD tells no length.
        if let Some(size) = size.filter(|size| *size != node.size) {
            let message = format!(
                "{digest} has {} bytes where its descriptor says {size}",
                node.size
            );
            return self.find(Code::SizeMismatch, digest, place, message);
        }
        if place.path.len() >= usize::from(DEPTH_MAX) {
            let message =
                format!("{digest} is more than {DEPTH_MAX} levels deep and was not followed");
            return self.find(Code::Unsupported, digest, place, message);
        }
        let below = Place {
            path: [place.path.as_slice(), &[digest]].concat(),
            ..place.clone()
        };
        match &node.shape {
            Shape::Index(children) => self.children(children, &below),
            Shape::Image { config, layers } => {
                let mut worst = self.blob(config, &below, Code::ConfigMissing);
                for layer in layers {
                    worst = worst.max(self.blob(layer, &below, Code::LayerMissing));
                }
                worst
            }
            Shape::Unsupported(kind) => {
                let message =
                    format!("{digest} is of a kind whose content cannot be followed: {kind}");
                self.find(Code::Unsupported, digest, place, message)
            }
            Shape::Invalid(problem) => {
                let message = format!("{digest} is not a manifest: {problem}");
                self.find(Code::ManifestInvalid, digest, place, message)
            }
        }
    }

    fn children(&mut self, children: &[ChildEdge], place: &Place) -> Verdict {
        let mut worst = Verdict::Pullable;
        let offered: Vec<Option<Platform>> = children
            .iter()
            .map(|child| child.platform.clone().or_else(|| place.platform.clone()))
            .collect();
        let offered: Vec<Option<&Platform>> = offered.iter().map(Option::as_ref).collect();
        let taken = self.target.needs.of(&offered);
        for (child, taken) in children.iter().zip(taken) {
            self.nodes += 1;
            if self.nodes > NODES_MAX {
                self.over_budget(child.digest, place);
                return worst.max(Verdict::Unknown);
            }
            let platform = child.platform.clone().or_else(|| place.platform.clone());
            let needed = place.needed && taken;
            let below = Place {
                platform: platform.clone(),
                needed,
                path: place.path.clone(),
            };
            let verdict = if child.is_blob {
                let edge = BlobEdge {
                    digest: child.digest,
                    size: child.size,
                    is_distributable: true,
                };
                self.blob(&edge, &below, Code::LayerMissing)
            } else {
                self.manifest(child.digest, Some(child.size), &below, Code::ChildMissing)
            };
            let is_index = self.table.is_index(&child.digest);
            // An index among the children has reported its own platforms, unless it never got so far.
            if !is_index || verdict != Verdict::Pullable && !self.has_platform_below(child.digest) {
                let digest = Some(child.digest);
                self.platforms.push(PlatformReport {
                    platform,
                    digest,
                    verdict,
                    needed,
                });
            }
            if needed {
                worst = worst.max(verdict);
            }
        }
        worst
    }

    fn has_platform_below(&self, digest: Digest) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.path.contains(&digest))
    }

    fn blob(&mut self, edge: &BlobEdge, place: &Place, missing: Code) -> Verdict {
        if edge.is_distributable {
            self.object(
                edge.digest,
                ObjectKind::Blob,
                Some(edge.size),
                place,
                missing,
            )
        } else {
            Verdict::Pullable
        }
    }

    /// The verdict of one object's own bytes.
    fn object(
        &mut self,
        digest: Digest,
        kind: ObjectKind,
        size: Option<u64>,
        place: &Place,
        missing: Code,
    ) -> Verdict {
        let key = ObjectKey {
            auth: self.target.content,
            repository: self.repository,
            digest,
            kind,
        };
        let state = self
            .table
            .objects
            .get(&key)
            .filter(|state| state.fact != Fact::Unasked);
        let Some(state) = state else {
            let message = format!("{digest} was not checked yet");
            return self.find(Code::NeverChecked, digest, place, message);
        };
        let named_by = place
            .path
            .last()
            .map_or_else(String::new, |parent| format!(" that {parent} names"));
        match (&state.fact, size) {
            (Fact::Present { size: Some(actual) }, Some(expected)) if *actual != expected => {
                let message = format!(
                    "the registry's {digest} has {actual} bytes where its descriptor says {expected}"
                );
                self.find(Code::SizeMismatch, digest, place, message)
            }
            (Fact::Present { .. }, _) => {
                let due_every = match kind {
                    ObjectKind::Manifest | ObjectKind::Access => self.cadence.interval,
                    ObjectKind::Blob => self.cadence.blob_interval,
                };
                if let Some(at) = state.proven_at.filter(|_| place.needed) {
                    self.proof.include(at, due_every);
                }
                Verdict::Pullable
            }
            (Fact::Missing, _) => {
                let what = match kind {
                    ObjectKind::Manifest | ObjectKind::Access => "manifest",
                    ObjectKind::Blob => "blob",
                };
                let message = format!("the registry does not have the {what} {digest}{named_by}");
                self.find(missing, digest, place, message)
            }
            (Fact::WrongDigest, _) => {
                let message = format!("the registry answers {digest}{named_by} with other content");
                self.find(Code::DigestMismatch, digest, place, message)
            }
            (Fact::Short { read: 0 }, _) => {
                let message = format!(
                    "the registry says that it has {digest}{named_by}, and not a byte of it can be read"
                );
                self.find(missing, digest, place, message)
            }
            (Fact::Short { read }, _) => {
                let message = format!(
                    "the registry says that it has {digest}{named_by} whole, and it ends too early: {read} bytes could be read"
                );
                self.find(Code::SizeMismatch, digest, place, message)
            }
            (Fact::Unknown { code, message }, _) => {
                let message = format!("{digest}: {message}");
                self.find(*code, digest, place, message)
            }
            (Fact::Unasked, _) => Verdict::Unknown,
        }
    }

    fn find(&mut self, code: Code, subject: Digest, place: &Place, message: String) -> Verdict {
        self.findings.push(Finding {
            code,
            subject: Some(subject),
            platform: place.platform.clone(),
            needed: place.needed,
            path: place.path.clone(),
            message,
        });
        code.verdict()
    }

    /// An index without any image that somebody could run: nothing of it is needed, and nothing of it
    /// can be pulled.
    fn nobodys_index(&mut self, root: Digest, place: &Place) {
        let has_finding = self.findings.iter().any(|finding| finding.needed);
        if !has_finding && !self.platforms.iter().any(|platform| platform.needed) {
            let message = "the index has no image that any node could run".to_owned();
            self.find(Code::PlatformMissing, root, place, message);
        }
    }

    /// Needed platforms for which the index has no child at all.
    fn missing_platforms(&mut self, root: Digest) {
        let Needs::These(nodes) = &self.target.needs else {
            return;
        };
        let has = |node: &Platform| {
            self.platforms.iter().any(|report| {
                report
                    .platform
                    .as_ref()
                    .is_none_or(|platform| platform.suits(node))
            })
        };
        let lacking: Vec<Platform> = nodes.iter().filter(|node| !has(node)).cloned().collect();
        for platform in lacking {
            let message =
                format!("nodes of {platform} may run it, and the index has no image for them");
            let place = Place {
                platform: Some(platform.clone()),
                needed: true,
                path: Vec::new(),
            };
            let verdict = self.find(Code::PlatformMissing, root, &place, message);
            let platform = Some(platform);
            self.platforms.push(PlatformReport {
                platform,
                digest: None,
                verdict,
                needed: true,
            });
        }
    }

    /// Whether the workload itself may pull what is there.
    fn access(&mut self, root: Digest, resolved: &Resolved) {
        let Some(auth) = self.target.access else {
            return;
        };
        let refusal = match &self.target.root {
            Root::Tag(tag) => match resolved.tag(self.table, &(auth, self.repository, tag.clone()))
            {
                Some(TagState::Resolved { .. }) => None,
                Some(TagState::Missing { .. }) => Some((Code::Forbidden, HIDDEN.to_owned())),
                Some(TagState::Unknown { code, message }) => Some((*code, message.to_string())),
                None => Some((
                    Code::NeverChecked,
                    "not asked with its pull secret yet".to_owned(),
                )),
            },
            Root::Digest(digest) => {
                let kind = ObjectKind::Access;
                let key = ObjectKey {
                    auth,
                    repository: self.repository,
                    digest: *digest,
                    kind,
                };
                match self.table.objects.get(&key).map(|state| state.fact) {
                    Some(Fact::Present { .. }) => None,
                    Some(Fact::Missing | Fact::WrongDigest | Fact::Short { .. }) => {
                        Some((Code::Forbidden, HIDDEN.to_owned()))
                    }
                    Some(Fact::Unknown { code, message }) => Some((code, message.to_string())),
                    Some(Fact::Unasked) | None => Some((
                        Code::NeverChecked,
                        "not asked with its pull secret yet".to_owned(),
                    )),
                }
            }
        };
        if let Some((code, message)) = refusal {
            let place = Place {
                platform: None,
                needed: true,
                path: Vec::new(),
            };
            self.find(
                code,
                root,
                &place,
                format!("with the workload's pull secret: {message}"),
            );
        }
    }

    fn report(self, root: Digest, now: Timestamp) -> Report {
        let Self {
            proof,
            platforms,
            findings,
            ..
        } = self;
        let mut report = Report {
            digest: Some(root),
            verdict: Verdict::Unknown,
            platforms: platforms.into(),
            findings: findings.into(),
            proven_at: proof.oldest.map(Second::from),
            fresh_until: proof.fresh_until.map(Second::from),
            checked_at: Some(proof.newest.unwrap_or(now).into()),
        };
        report.settle();
        report
    }
}

const HIDDEN: &str = "the registry has the image and does not show it to this credential";
