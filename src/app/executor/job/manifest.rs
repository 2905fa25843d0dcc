//! The Job that is made of a template: what an operator wrote, and what pullproof sees to. Pure.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use crate::config::Named;
use crate::oci::digest::Digest;
use crate::yaml;

/// Of whom a Job is made, and for which storage and run.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const STORAGE: &str = "pullproof.dev/storage";
const OF: &str = "pullproof.dev/run";
/// So long what has ended is left for people to look at, in seconds.
const KEPT: i32 = 7 * 24 * 3600;

/// A Job's manifest, as an operator wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    job: Job,
    namespace: String,
}

/// A Job to be started.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    pub named: Named,
    pub job: Job,
}

impl Template {
    /// The error says what is wrong with it, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value =
            serde_saphyr::from_str(text).map_err(|error| yaml::problem(&error, "a manifest"))?;
        let word = |key| value.get(key).and_then(Value::as_str);
        let kind = (word("apiVersion"), word("kind"));
        if kind != (Some("batch/v1"), Some("Job")) {
            return Err("it is no Job: expected `apiVersion: batch/v1` and `kind: Job`".to_owned());
        }
        let job: Job = serde_json::from_value(value)
            .map_err(|error| format!("it is not as a Job is: {error}"))?;
        let namespace = job.metadata.namespace.clone();
        let namespace = namespace
            .ok_or("its namespace is missing: write `metadata: {namespace: NAMESPACE}`")?;
        let pod = job.spec.as_ref().and_then(|it| it.template.spec.as_ref());
        if pod.is_none_or(|pod| pod.containers.is_empty()) {
            return Err("it has no container: write `spec.template.spec.containers`".to_owned());
        }
        Ok(Self { job, namespace })
    }

    /// The words of all its containers.
    pub fn argv(&self) -> Vec<String> {
        let pod = self
            .job
            .spec
            .as_ref()
            .and_then(|it| it.template.spec.as_ref());
        let containers = pod.into_iter().flat_map(|pod| {
            let first = pod.init_containers.iter().flatten();
            first.chain(&pod.containers)
        });
        let words = containers.flat_map(|it| it.command.iter().chain(&it.args).flatten());
        words.cloned().collect()
    }

    /// The one Job of a run, or of an opening, of a storage: its name says of which.
    pub fn make(&self, storage: &str, of: &str, lasts: Duration) -> Made {
        let mut job = self.job.clone();
        let id = Digest::of(format!("{storage}\n{of}").as_bytes()).hex();
        let name = format!("pullproof-gc-{}", id.get(..16).unwrap_or_default());
        job.metadata.name = Some(name.clone());
        job.metadata.generate_name = None;
        let labels = job.metadata.labels.get_or_insert_default();
        labels.insert(MANAGED_BY.to_owned(), "pullproof".to_owned());
        let annotations = job.metadata.annotations.get_or_insert_default();
        annotations.insert(STORAGE.to_owned(), storage.to_owned());
        annotations.insert(OF.to_owned(), of.to_owned());
        let spec = job.spec.get_or_insert_default();
        spec.backoff_limit = Some(0);
        spec.pod_failure_policy = None;
        spec.backoff_limit_per_index = None;
        spec.max_failed_indexes = None;
        spec.success_policy = None;
        spec.completion_mode = None;
        spec.completions = Some(1);
        spec.parallelism = Some(1);
        spec.suspend = None;
        let seconds = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
        spec.active_deadline_seconds = Some(seconds.max(1));
        spec.ttl_seconds_after_finished.get_or_insert(KEPT);
        spec.template.spec.get_or_insert_default().restart_policy = Some("Never".to_owned());
        job.status = None;
        Made {
            named: Named {
                namespace: self.namespace.clone(),
                name,
            },
            job,
        }
    }
}

impl Made {
    /// Whether a Job that is there is this one.
    pub fn is_same(&self, there: &Job) -> bool {
        let of = |job: &Job, key: &str| job.metadata.annotations.as_ref()?.get(key).cloned();
        [STORAGE, OF].iter().all(|key| {
            let there = of(there, key);
            there.is_some() && there == of(&self.job, key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
apiVersion: batch/v1
kind: Job
metadata: {generateName: gc-, namespace: registry, labels: {team: a}}
spec:
  backoffLimit: 6
  parallelism: 3
  template:
    spec:
      restartPolicy: OnFailure
      containers:
        - {name: gc, image: registry.example/registry:3, command: [registry], args: [garbage-collect, -m]}
";

    #[test]
    fn it_is_one_pod_once_by_a_name_that_says_of_what_it_is() {
        let template = Template::parse(TEXT).unwrap();
        assert_eq!(template.argv(), ["registry", "garbage-collect", "-m"]);
        let made = template.make("r.example", "sunday@1", Duration::from_mins(10));
        assert_eq!(
            made,
            template.make("r.example", "sunday@1", Duration::from_mins(10))
        );
        for (storage, of) in [("r.example", "sunday@2"), ("s.example", "sunday@1")] {
            let other = template.make(storage, of, Duration::from_mins(10));
            assert_ne!(other.named.name, made.named.name);
            assert!(!made.is_same(&other.job));
        }
        assert!(made.is_same(&made.job));
        assert!(!made.is_same(&Job::default()));
        assert_eq!(made.named.namespace, "registry");
        assert!(made.named.name.starts_with("pullproof-gc-"));
        assert_eq!(made.job.metadata.generate_name, None);
        let spec = made.job.spec.unwrap();
        assert_eq!(spec.backoff_limit, Some(0));
        assert_eq!((spec.parallelism, spec.completions), (Some(1), Some(1)));
        assert_eq!(spec.active_deadline_seconds, Some(600));
        assert_eq!(
            spec.template.spec.unwrap().restart_policy.as_deref(),
            Some("Never")
        );
    }

    #[test]
    fn what_is_no_job_says_what_to_write() {
        for (text, why) in [
            ("kind: Job", "it is no Job: expected `apiVersion: batch/v1`"),
            (
                "{apiVersion: batch/v1, kind: Job, metadata: {}}",
                "its namespace is missing",
            ),
            (
                "{apiVersion: batch/v1, kind: Job, metadata: {namespace: a}}",
                "it has no container",
            ),
            (
                "{apiVersion: batch/v1, kind: Job, spec: 5}",
                "it is not as a Job is",
            ),
            ("a: b: c", "mapping"),
        ] {
            let problem = Template::parse(text).unwrap_err();
            assert!(problem.contains(why), "{why}: {problem}");
        }
    }
}
