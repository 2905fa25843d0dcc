//! Jobs and CronJobs that may collect the same storage. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::pattern::Pattern;

/// Whose Job a pod is, as Kubernetes labels it.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Which of them do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub namespace: String,
    /// `None`: of any name.
    pub name: Option<Pattern>,
    /// As the API takes it; `None`: whatever their labels are.
    pub selector: Option<String>,
}

impl Rule {
    fn fits(&self, name: &str) -> bool {
        self.name.as_ref().is_none_or(|it| it.matches(name))
    }
}

/// What is in a rule's namespace.
#[derive(Debug, Default)]
pub struct Seen {
    /// Those that its selector selects.
    pub cron_jobs: Vec<CronJob>,
    pub jobs: Vec<Job>,
    /// All.
    pub all_jobs: Vec<Job>,
    /// All that a Job made.
    pub pods: Vec<Pod>,
}

/// Each that is at work, or may begin at any time, with the way out. What pullproof itself made is none.
pub fn at_work(rule: &Rule, seen: &Seen) -> Vec<String> {
    let namespace = &rule.namespace;
    let mut found = Vec::new();
    let mut crons = BTreeSet::new();
    for cron in seen
        .cron_jobs
        .iter()
        .filter(|it| rule.fits(name(&it.metadata)))
    {
        let name = name(&cron.metadata);
        crons.insert(name);
        if cron.spec.as_ref().and_then(|it| it.suspend) != Some(true) {
            found.push(format!(
                "the CronJob {namespace}/{name} may begin to collect this storage at any time: suspend it (`kubectl \
                 patch cronjob {name} -n {namespace} -p '{{\"spec\":{{\"suspend\":true}}}}'`), or take it out of \
                 `gc.conflicts`"
            ));
        }
    }
    let selected = seen.jobs.iter().filter(|it| rule.fits(name(&it.metadata)));
    let started = seen.all_jobs.iter().filter(|it| is_of(it, &crons));
    let mut jobs = BTreeSet::new();
    for job in selected.chain(started).filter(|it| !is_ours(it)) {
        let name = name(&job.metadata);
        if jobs.insert(name) && is_under_way(job) {
            found.push(format!(
                "the Job {namespace}/{name} may be collecting this storage: wait for its end or delete it, or take it \
                 out of `gc.conflicts`"
            ));
        }
    }
    // One whose Job is gone has its name in a label still.
    let known: BTreeSet<&str> = seen.all_jobs.iter().map(|it| name(&it.metadata)).collect();
    for pod in seen.pods.iter().filter(|it| !has_ended(it)) {
        let labels = pod.metadata.labels.as_ref();
        let Some(job) = labels.and_then(|it| it.get(JOB_NAME)) else {
            continue;
        };
        let is_left = rule.selector.is_none() && !known.contains(&**job) && rule.fits(job);
        if jobs.contains(&**job) || is_left {
            let pod = name(&pod.metadata);
            found.push(format!(
                "the Pod {namespace}/{pod} of the Job {job} has not ended, and may be collecting this storage: wait for \
                 its end or delete it, or take it out of `gc.conflicts`"
            ));
        }
    }
    found
}

fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

fn is_of(job: &Job, crons: &BTreeSet<&str>) -> bool {
    let mut owners = job.metadata.owner_references.iter().flatten();
    owners.any(|it| it.kind == "CronJob" && crons.contains(&*it.name))
}

fn is_ours(job: &Job) -> bool {
    let labels = job.metadata.labels.as_ref();
    labels.is_some_and(|it| it.get(MANAGED_BY).is_some_and(|by| by == "pullproof"))
}

/// One that is suspended does nothing but by its pods.
fn is_under_way(job: &Job) -> bool {
    let status = job.status.as_ref();
    let mut conditions = status
        .and_then(|it| it.conditions.as_ref())
        .into_iter()
        .flatten();
    let has_ended =
        conditions.any(|it| matches!(&*it.type_, "Complete" | "Failed") && it.status == "True");
    let is_suspended = job.spec.as_ref().and_then(|it| it.suspend) == Some(true);
    let active = status.and_then(|it| it.active).unwrap_or_default();
    active > 0 || !has_ended && !is_suspended
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn of<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn rule(name: &str) -> Rule {
        Rule {
            namespace: "r".to_owned(),
            name: Some(name.parse().unwrap()),
            selector: None,
        }
    }

    fn job(name: &str, more: &Value) -> Job {
        let mut job = json!({"metadata": {"name": name}, "spec": {"template": {}}});
        for (key, value) in more.as_object().unwrap() {
            job[key] = value.clone();
        }
        job["metadata"]["name"] = json!(name);
        of(job)
    }

    fn of_jobs(rule: &Rule, jobs: Vec<Job>) -> usize {
        let seen = Seen {
            jobs: jobs.clone(),
            all_jobs: jobs,
            ..Seen::default()
        };
        at_work(rule, &seen).len()
    }

    #[test]
    fn a_cron_job_may_begin_at_any_time_unless_it_is_suspended() {
        let cron = |name: &str, suspend: Value| -> CronJob {
            of(json!({
                "metadata": {"name": name},
                "spec": {"suspend": suspend, "schedule": "* * * * *", "jobTemplate": {}},
            }))
        };
        let told = |crons: Vec<CronJob>| {
            let seen = Seen {
                cron_jobs: crons,
                ..Seen::default()
            };
            at_work(&rule("gc*"), &seen)
        };
        assert_eq!(
            told(vec![cron("gc", json!(true)), cron("web", json!(false))]).len(),
            0
        );
        for suspend in [json!(false), Value::Null] {
            let told = told(vec![cron("gc-a", suspend)]);
            assert!(
                told[0].contains("kubectl patch cronjob gc-a -n r -p '{\"spec\""),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_job_is_at_work_until_it_says_that_it_ended() {
        let ended = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
        for (more, expected) in [
            (json!({}), 1),
            (json!({"status": {"active": 1}}), 1),
            (ended("Complete", "True"), 0),
            (ended("Failed", "True"), 0),
            (ended("Complete", "False"), 1),
            (ended("SuccessCriteriaMet", "True"), 1),
            (json!({"spec": {"suspend": true, "template": {}}}), 0),
            (
                json!({"spec": {"suspend": true, "template": {}}, "status": {"active": 1}}),
                1,
            ),
            (
                json!({"metadata": {"labels": {MANAGED_BY: "pullproof"}}}),
                0,
            ),
            (json!({"metadata": {"labels": {MANAGED_BY: "helm"}}}), 1),
        ] {
            assert_eq!(
                of_jobs(&rule("gc*"), vec![job("gc-1", &more)]),
                expected,
                "{more}"
            );
            assert_eq!(of_jobs(&rule("other"), vec![job("gc-1", &more)]), 0);
        }
    }

    #[test]
    fn what_a_cron_job_of_the_name_started_counts_whatever_it_is_called() {
        let owner = |name: &str| {
            let owner =
                json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": "1"});
            json!({"metadata": {"ownerReferences": [owner]}})
        };
        let seen = |cron: &str| Seen {
            cron_jobs: vec![of(json!({
                "metadata": {"name": "gc"}, "spec": {"suspend": true, "schedule": "", "jobTemplate": {}},
            }))],
            all_jobs: vec![job("gc-28391", &owner(cron))],
            ..Seen::default()
        };
        assert_eq!(at_work(&rule("gc"), &seen("gc")).len(), 1);
        assert_eq!(at_work(&rule("gc"), &seen("web")).len(), 0);
    }

    #[test]
    fn a_pod_that_has_not_ended_counts_also_when_its_job_is_gone() {
        let pod = |job: &str, phase: &str| -> Pod {
            of(json!({
                "metadata": {"name": format!("{job}-x"), "labels": {JOB_NAME: job}}, "status": {"phase": phase},
            }))
        };
        let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}});
        for (phase, expected) in [
            ("Running", 2),
            ("Pending", 2),
            ("Unknown", 2),
            ("Succeeded", 0),
            ("Failed", 0),
        ] {
            let seen = Seen {
                jobs: vec![job("gc-1", &failed)],
                all_jobs: vec![job("gc-1", &failed), job("web-1", &failed)],
                pods: vec![
                    pod("gc-1", phase),
                    pod("gc-2", phase),
                    pod("web-1", phase),
                    pod("web-2", phase),
                ],
                ..Seen::default()
            };
            assert_eq!(at_work(&rule("gc*"), &seen).len(), expected, "{phase}");
        }
    }
}
