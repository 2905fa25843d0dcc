//! The manifest of a Job, made of an operator's template. Pure.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Purpose, Start};

/// The storage of a Job, short: see [`of_storage`](super::of_storage).
pub const STORAGE: &str = "pullproof.dev/storage";
/// Which Job made a pod.
pub const JOB: &str = "pullproof.dev/job";
const PURPOSE: &str = "pullproof.dev/purpose";
const OPENING: &str = "pullproof.dev/opening";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const OURS: &str = "pullproof";

/// Where Kubernetes looks for what a container says last.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// So long a Job that ended is kept at least: until then its name says that it was started.
const KEPT_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Selects the Jobs of a storage.
pub fn selector(storage: &str) -> String {
    format!("{MANAGED_BY}={OURS},{STORAGE}={storage}")
}

/// Whether an object's labels say that it is ours, and this storage's.
pub fn is_ours(
    labels: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
    storage: &str,
) -> bool {
    let mut found = 0;
    for (key, value) in labels {
        let is_it = match key.as_ref() {
            MANAGED_BY => value.as_ref() == OURS,
            STORAGE => value.as_ref() == storage,
            _ => false,
        };
        found += usize::from(is_it);
    }
    found == 2
}

/// The Job: what the template says, with a name, a deadline and labels of ours, tried once. `host` is the
/// storage's registry, for people. The error says what is wrong with the template.
pub fn made(
    template: &Value,
    start: &Start,
    host: &str,
    namespace: &str,
    now: Timestamp,
) -> Result<Value, String> {
    let kind = (text(template, "/apiVersion"), text(template, "/kind"));
    if kind != (Some("batch/v1"), Some("Job")) {
        return Err("it is no Job: expected `apiVersion: batch/v1` and `kind: Job`".to_owned());
    }
    if let Some(other) = text(template, "/metadata/namespace").filter(|it| *it != namespace) {
        return Err(format!(
            "its namespace is `{other}`, and `gc.collector.job.namespace` says `{namespace}`: write the same, or \
             none here"
        ));
    }
    let mut job = template.clone();
    let name = start.name.to_string();
    let labels = [
        (MANAGED_BY, OURS.to_owned()),
        (STORAGE, start.name.storage.clone()),
        (PURPOSE, start.name.purpose.as_str().to_owned()),
    ];
    let metadata = object(&mut job, "metadata")?;
    metadata.remove("generateName");
    metadata.insert("name".to_owned(), json!(name));
    metadata.insert("namespace".to_owned(), json!(namespace));
    put(metadata, "labels", &labels)?;
    let mut annotations = vec![(STORAGE, host.to_owned())];
    if let Some(opening) = &start.opening {
        annotations.push((OPENING, opening.to_string()));
    }
    put(metadata, "annotations", &annotations)?;

    let spec = object(&mut job, "spec")?;
    for (key, value) in [("parallelism", 1), ("completions", 1), ("backoffLimit", 0)] {
        spec.insert(key.to_owned(), json!(value));
    }
    spec.remove("podFailurePolicy");
    spec.remove("suspend");
    let left = match start.until {
        Some(until) => {
            let left = until.duration_since(now).as_secs().max(1);
            spec.insert("activeDeadlineSeconds".to_owned(), json!(left));
            left
        }
        None => {
            spec.remove("activeDeadlineSeconds");
            0
        }
    };
    let kept = spec.get("ttlSecondsAfterFinished").and_then(Value::as_i64);
    // At least until the opening is over: one that is gone could be started again.
    let kept = kept.unwrap_or(KEPT_SECONDS).max(left.saturating_add(3600));
    spec.insert("ttlSecondsAfterFinished".to_owned(), json!(kept));

    let template = spec.entry("template").or_insert_with(|| json!({}));
    let mut labels = labels.to_vec();
    labels.push((JOB, name));
    put(object(template, "metadata")?, "labels", &labels)?;
    let pod = object(template, "spec")?;
    pod.insert("restartPolicy".to_owned(), json!("Never"));
    let containers = pod.get_mut("containers").and_then(Value::as_array_mut);
    let containers = containers.ok_or("`spec.template.spec.containers` is missing")?;
    let container = match containers.as_mut_slice() {
        [only] => only,
        several => several
            .iter_mut()
            .find(|it| text(it, "/name") == Some(OURS))
            .ok_or("it has several containers, and none is named `pullproof`")?,
    };
    let container = container
        .as_object_mut()
        .ok_or("its container is not a map")?;
    container.insert("terminationMessagePath".to_owned(), json!(TERMINATION_LOG));
    container.insert(
        "args".to_owned(),
        json!(arguments(container, start.name.purpose)?),
    );
    Ok(job)
}

/// What the container is to do, and where it says what came of it.
fn arguments(container: &Map<String, Value>, purpose: Purpose) -> Result<Vec<String>, String> {
    let written = container.get("args").and_then(Value::as_array);
    let written = written.into_iter().flatten().filter_map(Value::as_str);
    let written: Vec<&str> = written.collect();
    let ["gc", "run", rest @ ..] = written.as_slice() else {
        return Err(
            "the arguments of its container have to begin with `gc`, `run`: write `args: [gc, run, --config, \
             FILE]`"
                .to_owned(),
        );
    };
    let words: &[&str] = match purpose {
        Purpose::Collect => &["gc", "run"],
        Purpose::Restore => &["gc", "restore", "--all"],
    };
    let all = words.iter().chain(rest);
    let all = all.chain(&["--termination-log", TERMINATION_LOG]);
    Ok(all.map(ToString::to_string).collect())
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

/// A map in a map; one that is missing is made.
fn object<'a>(value: &'a mut Value, key: &str) -> Result<&'a mut Map<String, Value>, String> {
    let outer = value.as_object_mut().ok_or("it is not a map")?;
    let inner = outer.entry(key).or_insert_with(|| json!({}));
    inner
        .as_object_mut()
        .ok_or_else(|| format!("its `{key}` is not a map"))
}

/// Adds to the labels or annotations of an object.
fn put(metadata: &mut Map<String, Value>, key: &str, all: &[(&str, String)]) -> Result<(), String> {
    let inner = metadata.entry(key).or_insert_with(|| json!({}));
    let inner = inner.as_object_mut();
    let inner = inner.ok_or_else(|| format!("its `{key}` are not a map"))?;
    for (key, value) in all {
        inner.insert((*key).to_owned(), json!(value));
    }
    Ok(())
}
