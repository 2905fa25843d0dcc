//! Objects of a cluster that a collection needs: the Lease, and what runs the registry.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::Checker;
use super::problem::quoted;
use super::{Cache, Gc, Redis, raw};

/// An object of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// What runs the replicas of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub kind: WorkloadKind,
    pub named: Named,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
}

/// Whether replicas are restarted once something was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Restarts that happen anyway count.
    None,
    Rollout,
}

/// Whether the registry takes pushes while something is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnly {
    pub mode: ReadOnlyMode,
    /// What is switched; there is one where it is managed.
    pub deployment: Option<Named>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnlyMode {
    NotRequired,
    /// An operator sees to it.
    Required,
    /// pullproof makes it so, and back again.
    Managed,
}

impl Default for ReadOnly {
    fn default() -> Self {
        Self {
            mode: ReadOnlyMode::NotRequired,
            deployment: None,
        }
    }
}

/// What is written under `gc.settle`.
pub(super) struct Settled {
    pub(super) cache: Cache,
    pub(super) restart: Restart,
    pub(super) within: Duration,
    pub(super) workload: Option<Workload>,
    pub(super) redis: Option<Redis>,
}

impl Checker<'_, '_> {
    pub(super) fn lease(&mut self, raw: raw::LeaderElection) -> Option<Named> {
        let lease = raw.lease?;
        self.named("leaderElection.lease", lease.namespace, lease.name)
    }

    pub(super) fn read_only(&mut self, path: &str, raw: raw::ReadOnly) -> ReadOnly {
        let is_written = raw.deployment.is_some();
        let deployment = raw.deployment.and_then(|deployment| {
            let path = format!("{path}.deployment");
            self.named(&path, deployment.namespace, deployment.name)
        });
        let mode = match raw.mode {
            None | Some(raw::ReadOnlyMode::NotRequired) => ReadOnlyMode::NotRequired,
            Some(raw::ReadOnlyMode::Required) => ReadOnlyMode::Required,
            Some(raw::ReadOnlyMode::Managed) => ReadOnlyMode::Managed,
        };
        let mode_path = format!("{path}.mode");
        if mode == ReadOnlyMode::Managed && !is_written && !self.report.has(&mode_path) {
            let message =
                "what is switched is missing; add `deployment: {namespace: NAMESPACE, name: NAME}`";
            self.report.add(&mode_path, message);
        }
        ReadOnly { mode, deployment }
    }

    pub(super) fn settle(
        &mut self,
        path: &str,
        raw: raw::Settle,
        read_only: &ReadOnly,
        defaults: &Gc,
    ) -> Settled {
        let workload = match raw.workload {
            Some(workload) => {
                let path = format!("{path}.workload");
                let kind = match workload.kind {
                    None | Some(raw::WorkloadKind::Deployment) => WorkloadKind::Deployment,
                    Some(raw::WorkloadKind::StatefulSet) => WorkloadKind::StatefulSet,
                };
                let named = self.named(&path, workload.namespace, workload.name);
                named.map(|named| Workload { kind, named })
            }
            None => {
                let of_read_only = read_only.deployment.clone().map(|named| Workload {
                    kind: WorkloadKind::Deployment,
                    named,
                });
                of_read_only.or_else(|| defaults.workload.clone())
            }
        };
        let restart = match raw.restart {
            None => defaults.restart,
            Some(raw::SettleRestart::None) => Restart::None,
            Some(raw::SettleRestart::Rollout) => Restart::Rollout,
        };
        let restart_path = format!("{path}.restart");
        let is_whole = !self.report.has(&format!("{path}.workload"));
        if restart == Restart::Rollout && workload.is_none() && is_whole {
            let message =
                "what is restarted is missing; add `workload: {namespace: NAMESPACE, name: NAME}`";
            self.report.add(&restart_path, message);
        }
        let cache = match raw.cache {
            None => defaults.cache,
            Some(raw::SettleCache::Unknown) => Cache::Unknown,
            Some(raw::SettleCache::None) => Cache::None,
            Some(raw::SettleCache::SafePut) => Cache::SafePut,
        };
        if raw.redis.is_some() && cache == Cache::None {
            let message = "`cache` is `none`, and this is one; keep one of them";
            self.report.add(&format!("{path}.redis"), message);
        }
        let redis = match raw.redis {
            Some(raw) => self.redis(&format!("{path}.redis"), raw),
            None => defaults.redis.clone(),
        };
        Settled {
            cache,
            // One that says that it has none does not have that of all.
            redis: redis.filter(|_| cache != Cache::None),
            restart,
            within: raw.within.map_or(defaults.settle_within, |text| {
                self.duration(&format!("{path}.within"), &text)
            }),
            workload,
        }
    }

    pub(super) fn namespace(&mut self, path: &str, text: Option<String>) -> String {
        let text = text.unwrap_or_default();
        if !is_name(&text, 63, false) && !self.report.has(path) {
            let message = format!(
                "{} is no namespace of Kubernetes: expected lower-case letters, digits and dashes",
                quoted(&text)
            );
            self.report.add(path, message);
        }
        text
    }

    /// Both are part of a path, so they are checked to be what Kubernetes takes for a name.
    pub(super) fn named(
        &mut self,
        path: &str,
        namespace: Option<String>,
        name: Option<String>,
    ) -> Option<Named> {
        let mut is_good = true;
        let mut checked = |key: &str, text: Option<String>, most: usize, dots: bool| {
            let text = text.unwrap_or_default();
            let path = format!("{path}.{key}");
            if !is_name(&text, most, dots) {
                is_good = false;
                if !self.report.has(&path) {
                    let message = format!(
                        "{} is no {key} of Kubernetes: expected lower-case letters, digits and dashes",
                        quoted(&text)
                    );
                    self.report.add(&path, message);
                }
            }
            text
        };
        let namespace = checked("namespace", namespace, 63, false);
        let name = checked("name", name, 253, true);
        is_good.then_some(Named { namespace, name })
    }
}

/// RFC 1123, as Kubernetes asks for it.
fn is_name(text: &str, most: usize, dots: bool) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_outer = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_part = |part: &str| {
        part.bytes().all(is_inner)
            && part.as_bytes().first().is_some_and(is_outer)
            && part.as_bytes().last().is_some_and(is_outer)
    };
    (1..=most).contains(&text.len())
        && (dots || !text.contains('.'))
        && text.split('.').all(is_part)
}
