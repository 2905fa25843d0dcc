//! Whether a Job or a CronJob of the cluster may collect the same storage.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::cluster::{self, Failure, answer};
use crate::collection::conflicts::{JOB_NAME, Rule, Seen, at_work};
use crate::gc::refusal::{Code, Refusal};

/// What speaks against going on. What cannot be told speaks against it. It blocks.
pub(super) fn look(runtime: &Handle, rules: &[Rule]) -> Vec<Refusal> {
    let found = found(runtime, rules).into_iter();
    let refusals = found.map(|it| Refusal::new(Code::StorageUnsupported, it));
    refusals.collect()
}

fn found(runtime: &Handle, rules: &[Rule]) -> Vec<String> {
    if rules.is_empty() {
        return Vec::new();
    }
    let client = match cluster::client(runtime, "gc.conflicts") {
        Ok(client) => client,
        Err(problem) => return vec![unknown(&problem)],
    };
    let mut found = Vec::new();
    for rule in rules {
        match runtime.block_on(seen(&client, rule)) {
            Ok(seen) => found.extend(at_work(rule, &seen)),
            Err(failure) => found.push(unknown(&failure)),
        }
    }
    found.dedup();
    found
}

fn unknown(problem: &dyn std::fmt::Display) -> String {
    format!(
        "whether another collector is at work cannot be told (`gc.conflicts`): {problem}; whoever collects has to be \
         allowed to list cronjobs, jobs and pods there"
    )
}

async fn seen(client: &Client, rule: &Rule) -> Result<Seen, Failure> {
    let selected = rule.selector.as_deref();
    let cron_jobs = all(client, rule, selected).await?;
    let all_jobs: Vec<Job> = all(client, rule, None).await?;
    let jobs = match selected {
        Some(_) => all(client, rule, selected).await?,
        None => all_jobs.clone(),
    };
    Ok(Seen {
        cron_jobs,
        jobs,
        all_jobs,
        pods: all(client, rule, Some(JOB_NAME)).await?,
    })
}

async fn all<T>(client: &Client, rule: &Rule, selector: Option<&str>) -> Result<Vec<T>, Failure>
where
    T: k8s_openapi::Resource<Scope = NamespaceResourceScope>
        + k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<T> = Api::namespaced(client.clone(), &rule.namespace);
    let parameters = ListParams {
        label_selector: selector.map(str::to_owned),
        ..ListParams::default()
    };
    Ok(answer(api.list(&parameters)).await?.items)
}
