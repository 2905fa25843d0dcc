//! The inventory's part of the check.

use std::collections::HashMap;
use std::time::Duration;

use crate::inventory::extract::Releases;
use crate::inventory::ledger;

use super::amount;
use super::check::Checker;
use super::problem::quoted;
use super::{
    Cluster, ClusterAccess, Manifests, ReferenceList, Role, Scope, Sources, custom, peer, raw,
};

const NAME_BYTES_MAX: usize = 128;
const MAXIMUM_LOSS: f64 = 0.5;
const KEEP_SEEN: Duration = Duration::from_hours(90 * 24);

pub(super) fn check(checker: &mut Checker<'_, '_>, raw: raw::Inventory) -> Sources {
    let mut names = HashMap::new();
    let mut sources = Sources {
        clusters: Vec::new(),
        peers: Vec::new(),
        references: Vec::new(),
        manifests: Vec::new(),
        custom_resources: Vec::new(),
        mentions: false,
        releases: Releases::default(),
        maximum_loss: checker.maximum_loss(raw.maximum_loss),
        keep_seen: raw.keep_seen.map_or(KEEP_SEEN, |text| {
            checker.duration("inventory.keepSeen", &text)
        }),
    };
    for (index, cluster) in raw.clusters.into_iter().flatten().enumerate() {
        let path = format!("inventory.clusters[{index}]");
        let name = checker.name(&path, cluster.name.clone(), &mut names);
        sources.clusters.push(checker.cluster(&path, name, cluster));
    }
    for (index, peer) in raw.peers.into_iter().flatten().enumerate() {
        let path = format!("inventory.peers[{index}]");
        let name = checker.name(&path, peer.name.clone(), &mut names);
        let peer = peer::check(checker, &path, name, peer);
        sources.peers.extend(peer);
    }
    for (index, list) in raw.references.into_iter().flatten().enumerate() {
        let path = format!("inventory.references[{index}]");
        sources.references.push(ReferenceList {
            name: checker.name(&path, list.name, &mut names),
            file: checker.file(&format!("{path}.file"), list.file.unwrap_or_default()),
        });
    }
    for (index, manifests) in raw.manifests.into_iter().flatten().enumerate() {
        let path = format!("inventory.manifests[{index}]");
        sources.manifests.push(Manifests {
            name: checker.name(&path, manifests.name, &mut names),
            path: checker.file(&format!("{path}.path"), manifests.path.unwrap_or_default()),
        });
    }
    sources.mentions = raw.mentions.unwrap_or(false);
    let releases = raw.releases.unwrap_or_default();
    sources.releases = Releases {
        argocd: releases.argocd.unwrap_or(false),
        flux: releases.flux.unwrap_or(false),
        helm: releases.helm.unwrap_or(false),
    };
    sources.custom_resources = custom::check(checker, raw.custom_resources.unwrap_or_default());
    sources
}

impl Checker<'_, '_> {
    fn maximum_loss(&mut self, text: Option<String>) -> f64 {
        let loss = text.map(|text| self.amount("inventory.maximumLoss", &text, amount::percent));
        loss.flatten().unwrap_or(MAXIMUM_LOSS)
    }

    /// A source's name; it becomes a label, so it stays one short word.
    fn name(
        &mut self,
        path: &str,
        name: Option<String>,
        names: &mut HashMap<String, String>,
    ) -> String {
        let path = format!("{path}.name");
        let name = name.unwrap_or_default();
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.chars().any(|c| c.is_whitespace() || c.is_control())
        {
            let message = format!(
                "{} is not a name: expected 1 to {NAME_BYTES_MAX} characters without white space",
                quoted(&name)
            );
            self.report.add(&path, message);
        } else if name == ledger::SOURCE {
            let message = format!(
                "{} is the name of what pullproof remembers itself; take another",
                quoted(&name)
            );
            self.report.add(&path, message);
        } else if let Some(first) = names.get(&name) {
            let message = format!(
                "{} is already the name of {first}; every source has its own",
                quoted(&name)
            );
            self.report.add(&path, message);
        } else {
            let source = path.trim_end_matches(".name");
            names.insert(name.clone(), source.to_owned());
        }
        name
    }

    fn cluster(&mut self, path: &str, name: String, raw: raw::Cluster) -> Cluster {
        let in_cluster = raw.in_cluster.unwrap_or(false);
        let is_kubeconfig = raw.context.is_some() || raw.kubeconfig.is_some();
        let has = |key: &str| self.report.has(&format!("{path}.{key}"));
        if in_cluster && is_kubeconfig {
            let message =
                "inCluster and a kubeconfig's context are two clusters; write one of them";
            self.report.add(&format!("{path}.inCluster"), message);
        } else if !in_cluster
            && !is_kubeconfig
            && !has("context")
            && !has("kubeconfig")
            && !has("inCluster")
        {
            // Not the current context by default: that is whatever was last used in a shell.
            let message = "how to reach it is missing; add `context: NAME`, `kubeconfig: FILE` or \
                           `inCluster: true`";
            self.report.add(path, message);
        }
        for (key, value) in [("context", &raw.context), ("kubeconfig", &raw.kubeconfig)] {
            if value.as_ref().is_some_and(String::is_empty) {
                self.report.add(&format!("{path}.{key}"), "it is empty");
            }
        }
        Cluster {
            name,
            access: if in_cluster {
                ClusterAccess::InCluster
            } else {
                ClusterAccess::Kubeconfig {
                    file: raw
                        .kubeconfig
                        .map(|file| self.file(&format!("{path}.kubeconfig"), file)),
                    context: raw.context,
                }
            },
            role: match raw.role {
                None | Some(raw::Role::Active) => Role::Active,
                Some(raw::Role::Failover) => Role::Failover,
            },
            required: raw.required.unwrap_or(true),
            max_age: raw
                .max_age
                .map(|text| self.duration(&format!("{path}.maxAge"), &text)),
            platforms: self.platforms(
                &format!("{path}.platforms"),
                raw.platforms.unwrap_or_default(),
            ),
            scope: self.scope(path, raw.namespaces, raw.scope_is_all),
        }
    }

    fn scope(
        &mut self,
        path: &str,
        namespaces: Option<Vec<String>>,
        is_all: Option<bool>,
    ) -> Scope {
        let list = format!("{path}.namespaces");
        let Some(names) = namespaces else {
            if is_all == Some(true) && !self.report.has(&list) {
                let message = "it says something about `namespaces`, which is not written";
                self.report.add(&format!("{path}.scopeIsAll"), message);
            }
            return Scope::Everything;
        };
        if names.is_empty() {
            let message = "no namespace is in it; leave it out for all namespaces";
            self.report.add(&list, message);
        }
        for (index, name) in names.iter().enumerate() {
            let is_valid = (1..=63).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !name.starts_with('-')
                && !name.ends_with('-');
            if !is_valid {
                let message = format!(
                    "{} is not a namespace: expected lower-case letters, digits and dashes",
                    quoted(name)
                );
                self.report.add(&format!("{list}[{index}]"), message);
            }
        }
        Scope::Namespaces {
            names,
            is_all: is_all.unwrap_or(false),
        }
    }
}
