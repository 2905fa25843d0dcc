//! Mirrors and pull-through caches: which other names the same image has, and what its workload can
//! pull given that one of them answers.
//!
//! A node tries a mirror first and the registry that is written after it (containerd, `hosts.toml`). What a mirror
//! answers is never a proof for what it mirrors, nor the other way round: each endpoint has a verdict
//! of its own, and the workload's is made of those that its node would try. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::images::{Image, ImageKey, Images, PlatformSets, Puller, PullerKey};
use crate::oci::reference::{Reference, Sharing};
use crate::verify::finding::{Report, Verdict};
use crate::verify::target::Needs;

/// A host, and what stands before the repository there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub host: String,
    /// Empty, or path components without a slash at either end.
    pub prefix: String,
}

/// That one location serves what another has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub mirror: Location,
    pub of: Location,
}

/// What an endpoint is to the image that a workload names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// As it is written.
    Origin,
    /// The node would try it first.
    Mirror,
    /// What is written is a mirror of it: for information, since no node would ask it.
    Upstream,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Mirror => "mirror",
            Self::Upstream => "upstream",
        }
    }
}

/// Another endpoint of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    pub role: Role,
    pub key: Arc<ImageKey>,
}

impl Location {
    /// The repository below this location; `None` if it is elsewhere.
    fn below<'a>(&self, reference: &'a Reference) -> Option<&'a str> {
        if !self.host.eq_ignore_ascii_case(reference.host()) {
            return None;
        }
        let repository = reference.repository();
        if self.prefix.is_empty() {
            return Some(repository);
        }
        repository
            .strip_prefix(self.prefix.as_str())?
            .strip_prefix('/')
    }

    /// The same tag and digest of a repository below this location.
    fn reference(&self, repository: &str, like: &Reference) -> Option<Reference> {
        let Self { host, prefix } = self;
        let slash = if prefix.is_empty() { "" } else { "/" };
        let tag = like.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = like
            .digest()
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        format!("{host}/{prefix}{slash}{repository}{tag}{digest}")
            .parse()
            .ok()
    }
}

/// The other names of an image.
pub fn others(rules: &[Rule], reference: &Reference) -> Vec<(Role, Reference)> {
    let of_rule = |rule: &Rule| {
        if let Some(repository) = rule.of.below(reference) {
            return Some((Role::Mirror, rule.mirror.reference(repository, reference)?));
        }
        let repository = rule.mirror.below(reference)?;
        Some((Role::Upstream, rule.of.reference(repository, reference)?))
    };
    let mut found: Vec<_> = rules.iter().filter_map(of_rule).collect();
    found.dedup();
    found
}

/// Adds the other endpoints of all images. They are proven like any image, with the credential of
/// their own registry entry, and for the platforms of those who would pull through them.
pub fn with_endpoints(mut images: Images, rules: &[Rule]) -> Images {
    if rules.is_empty() {
        return images;
    }
    let mut added: BTreeMap<Arc<ImageKey>, Image> = BTreeMap::new();
    let mut more: BTreeMap<Arc<ImageKey>, Vec<Needs>> = BTreeMap::new();
    let mut links: HashMap<Arc<ImageKey>, Vec<Other>> = HashMap::new();
    let mut platforms = PlatformSets::default();
    let mut sharing = Sharing::default();
    let (own_key, own) = (Arc::new(PullerKey::Own), Arc::new(Puller::Own));
    for image in &images.images {
        for (role, reference) in others(rules, &image.key.reference) {
            let key = Arc::new(ImageKey {
                reference: sharing.share(reference),
                puller: Arc::clone(&own_key),
            });
            let key = if let Some(known) = images.get(&key) {
                let needs = more.entry(Arc::clone(&known.key)).or_default();
                needs.push(image.needs.clone());
                Arc::clone(&known.key)
            } else {
                let endpoint = added
                    .entry(Arc::clone(&key))
                    .or_insert_with(|| endpoint(Arc::clone(&key), image, &own));
                endpoint.needs = platforms.union(&endpoint.needs, image.needs.clone());
                Arc::clone(&endpoint.key)
            };
            let of_image = links.entry(Arc::clone(&image.key)).or_default();
            of_image.push(Other { role, key });
        }
    }
    for image in &mut images.images {
        if let Some(needs) = more.get(&image.key) {
            let all = needs.iter().cloned();
            let all = all.fold(image.needs.clone(), |all, one| platforms.union(&all, one));
            Arc::make_mut(image).needs = all;
        }
    }
    images.endpoints = added.into_values().map(Arc::new).collect();
    images.others = links;
    images
}

fn endpoint(key: Arc<ImageKey>, of: &Image, own: &Arc<Puller>) -> Image {
    Image {
        name: key.reference.to_string().into(),
        registry: key.reference.shared_host(),
        key,
        puller: Arc::clone(own),
        needs: of.needs.clone(),
        users: [].into(),
        running: None,
    }
}

/// What a workload can pull, by what the endpoint says that it names and what the mirrors say that its
/// node would try: pullable if one of them is, broken only if all of them are.
pub fn together(origin: &Arc<Report>, mirrors: &[Arc<Report>]) -> Arc<Report> {
    if origin.verdict == Verdict::Pullable {
        return Arc::clone(origin);
    }
    let is = |verdict: Verdict| move |report: &&Arc<Report>| report.verdict == verdict;
    if let Some(pullable) = mirrors.iter().find(is(Verdict::Pullable)) {
        return Arc::clone(pullable);
    }
    let doubts: Vec<_> = mirrors.iter().filter(is(Verdict::Unknown)).collect();
    if origin.verdict == Verdict::Unknown || doubts.is_empty() {
        return Arc::clone(origin);
    }
    // It is gone where it is written, and whether a mirror has it is not known.
    let mut report = Report::clone(origin);
    for finding in &mut report.findings {
        finding.needed = false;
    }
    let doubts = doubts.iter().flat_map(|report| &report.findings);
    let needed = doubts.filter(|finding| finding.needed).cloned();
    report.findings.extend(needed);
    report.settle();
    Arc::new(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::finding::Code;

    fn rule(mirror: (&str, &str), of: (&str, &str)) -> Rule {
        let location = |(host, prefix): (&str, &str)| Location {
            host: host.to_owned(),
            prefix: prefix.to_owned(),
        };
        Rule {
            mirror: location(mirror),
            of: location(of),
        }
    }

    #[test]
    fn names_are_rewritten_both_ways() {
        let rules = [
            rule(("mirror.example", ""), ("docker.io", "")),
            rule(("harbor.example", "hub"), ("docker.io", "")),
            rule(
                ("standby.example:5000", "copy/of"),
                ("registry.example", "team"),
            ),
        ];
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = format!("registry.example/team/app:v1@{digest}");
        let copied = format!("standby.example:5000/copy/of/app:v1@{digest}");
        for (text, expected) in [
            (
                "nginx:1",
                vec![
                    (Role::Mirror, "mirror.example/library/nginx:1".to_owned()),
                    (
                        Role::Mirror,
                        "harbor.example/hub/library/nginx:1".to_owned(),
                    ),
                ],
            ),
            (
                "harbor.example/hub/library/nginx:1",
                vec![(Role::Upstream, "docker.io/library/nginx:1".to_owned())],
            ),
            // A part of a word is no prefix.
            ("harbor.example/hubs/nginx:1", vec![]),
            ("registry.example/teams/app:v1", vec![]),
            (pinned.as_str(), vec![(Role::Mirror, copied.clone())]),
            (copied.as_str(), vec![(Role::Upstream, pinned.clone())]),
        ] {
            let found = others(&rules, &text.parse().unwrap());
            let found: Vec<_> = found
                .into_iter()
                .map(|(role, reference)| (role, reference.to_string()))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_workload_can_pull_what_one_of_its_endpoints_has() {
        let pullable = Arc::new(Report {
            verdict: Verdict::Pullable,
            findings: vec![].into(),
            ..Report::never_checked()
        });
        let broken = Arc::new(Report::only(Code::LayerMissing, "gone".to_owned()));
        let limited = Arc::new(Report::only(Code::RateLimited, "later".to_owned()));
        for (origin, mirrors, expected) in [
            (&pullable, vec![&broken], Verdict::Pullable),
            (&limited, vec![&broken, &pullable], Verdict::Pullable),
            (&broken, vec![&pullable], Verdict::Pullable),
            (&broken, vec![&broken], Verdict::Broken),
            (&broken, vec![], Verdict::Broken),
            (&broken, vec![&broken, &limited], Verdict::Unknown),
            (&limited, vec![&broken], Verdict::Unknown),
        ] {
            let mirrors: Vec<_> = mirrors.into_iter().cloned().collect();
            let report = together(origin, &mirrors);
            assert_eq!(report.verdict, expected, "{origin:?} {mirrors:?}");
        }
        // What is gone is still told, beside what decides.
        let report = together(&broken, &[limited]);
        let codes: Vec<_> = report
            .findings
            .iter()
            .map(|it| (it.code, it.needed))
            .collect();
        assert_eq!(
            codes,
            [(Code::LayerMissing, false), (Code::RateLimited, true)]
        );
    }
}
