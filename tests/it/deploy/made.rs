//! What is made from something else: the chart's schema, its copies of alerts and dashboards, `install.yaml` and
//! what kustomize takes. `make deploy` writes it; here it has to be as it would be written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use pullproof::config;
use serde_json::{Value, json};

use super::chart::{Object, objects, path, read, rendered};
use crate::support::parts::{self, require};
use crate::support::process::run_well;

const CHART: &str = "deploy/helm/pullproof";
const OVERLAYS: [&str; 5] = [
    "collection",
    "monitoring",
    "namespaces",
    "persistent",
    "secrets-all",
];
const SAYS_SO: &str = "# Made from deploy/helm/pullproof by `make deploy`; change that.\n";

/// The namespace, and that nothing in it may be more than a pod may be at most.
const NAMESPACE: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: pullproof
  labels:
    pod-security.kubernetes.io/enforce: restricted
";

/// The values' schema, with the configuration's own for what is the configuration.
fn schema() -> String {
    let mut schema: Value =
        serde_json::from_str(&read("deploy/helm/values.base.schema.json")).unwrap();
    let mut own = config::schema();
    let own_map = own.as_object_mut().unwrap();
    own_map.remove("$schema");
    let mut definitions = own_map.remove("$defs").unwrap();
    definitions["Configuration"] = own;
    schema["$defs"] = definitions;
    format!("{}\n", serde_json::to_string_pretty(&schema).unwrap())
}

/// Without what only Helm says of it.
fn plain(objects: Vec<Object>) -> Vec<Object> {
    let is_helms = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("helm.sh/chart:") || line == "app.kubernetes.io/managed-by: Helm"
    };
    let plain = |object: Object| {
        let lines = object.text.lines().filter(|line| !is_helms(line));
        let lines: Vec<&str> = lines.collect();
        super::chart::objects(&lines.join("\n")).remove(0)
    };
    objects.into_iter().map(plain).collect()
}

fn joined<'a>(objects: impl IntoIterator<Item = &'a Object>) -> String {
    let texts: Vec<&str> = objects.into_iter().map(|it| it.text.as_str()).collect();
    texts.join("---\n")
}

fn by_key(objects: &[Object]) -> BTreeMap<String, &Object> {
    let by_key: BTreeMap<_, _> = objects.iter().map(|it| (it.key(), it)).collect();
    assert_eq!(by_key.len(), objects.len(), "two of one name");
    by_key
}

/// A patch that leaves nothing of what was there; rules and data are replaced anyhow.
fn replacing(text: &str) -> String {
    text.replace("\nspec:\n", "\nspec:\n  $patch: replace\n")
}

/// An overlay's files: what it has besides the base, and what of the base is another there.
fn overlay(base: &[Object], whole: &[Object]) -> [(&'static str, String); 3] {
    let (base, whole_by) = (by_key(base), by_key(whole));
    let added = whole.iter().filter(|it| !base.contains_key(&it.key()));
    let added = joined(added);
    let mut patches = Vec::new();
    for object in base.values() {
        match whole_by.get(&object.key()) {
            Some(other) if other.value == object.value => {}
            Some(other) => patches.push(replacing(&other.text)),
            None => {
                let value = &object.value;
                let of =
                    json!({"name": object.name(), "namespace": value["metadata"]["namespace"]});
                let of = of.as_object().unwrap().iter();
                let mut text = format!(
                    "$patch: delete\napiVersion: {}\nkind: {}\nmetadata:\n",
                    value["apiVersion"].as_str().unwrap(),
                    object.kind()
                );
                for (key, value) in of.filter(|(_, value)| !value.is_null()) {
                    writeln!(text, "  {key}: {}", value.as_str().unwrap()).unwrap();
                }
                patches.push(text);
            }
        }
    }
    let mut kustomization = format!(
        "{SAYS_SO}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - ../../base\n"
    );
    if !added.is_empty() {
        kustomization.push_str("  - added.yaml\n");
    }
    if !patches.is_empty() {
        kustomization.push_str("patches:\n  - path: changed.yaml\n");
    }
    let said = |text: String| {
        if text.is_empty() {
            text
        } else {
            format!("{SAYS_SO}{text}")
        }
    };
    [
        ("kustomization.yaml", kustomization),
        ("added.yaml", said(added)),
        ("changed.yaml", said(patches.join("---\n"))),
    ]
}

/// Every file that is made, and what has to be in it. An empty text: no such file.
async fn made() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    files.insert(format!("{CHART}/values.schema.json"), schema());
    let rules = read("alerts/pullproof.rules.yaml");
    files.insert(format!("{CHART}/files/pullproof.rules.yaml"), rules);
    for file in fs::read_dir(path("dashboards")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let text = read(&format!("dashboards/{name}"));
        files.insert(format!("{CHART}/files/dashboards/{name}"), text);
    }
    let base = plain(rendered(&super::chart::values_of("default")).await);
    let namespace = objects(NAMESPACE);
    let whole = joined(namespace.iter().chain(&base));
    let how = "#   kubectl apply -f deploy/install.yaml\n";
    files.insert(
        "deploy/install.yaml".into(),
        format!("{SAYS_SO}{how}{whole}"),
    );
    let kustomize = "deploy/kustomize";
    files.insert(
        format!("{kustomize}/base/pullproof.yaml"),
        format!("{SAYS_SO}{whole}"),
    );
    let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - pullproof.yaml\n";
    files.insert(
        format!("{kustomize}/base/kustomization.yaml"),
        format!("{SAYS_SO}{kustomization}"),
    );
    for name in OVERLAYS {
        let values = path(&format!("{kustomize}/overlays/{name}/values.yaml"));
        let whole = plain(rendered(&values).await);
        for (file, text) in overlay(&base, &whole) {
            files.insert(format!("{kustomize}/overlays/{name}/{file}"), text);
        }
    }
    files
}

#[tokio::test]
async fn what_is_made_is_what_would_be_made() {
    require!("helm");
    let is_to_write = std::env::var_os("PULLPROOF_WRITE").is_some();
    // Templates read the copies, so these come first.
    if is_to_write {
        write(&made().await);
    }
    let made = made().await;
    if is_to_write {
        write(&made);
    }
    for (name, text) in &made {
        let is_there = fs::read_to_string(path(name)).unwrap_or_default();
        assert!(
            is_there == *text,
            "{name} is not what it is made from: run `make deploy`"
        );
    }
    let directory = path(&format!("{CHART}/files/dashboards"));
    for file in fs::read_dir(directory).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let name = format!("{CHART}/files/dashboards/{name}");
        assert!(made.contains_key(&name), "{name} is no dashboard any more");
    }
}

fn write(made: &BTreeMap<String, String>) {
    for (name, text) in made {
        let path = path(name);
        if text.is_empty() {
            fs::remove_file(path).ok();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}

async fn kustomized(directory: &str) -> Vec<Object> {
    let mut command = Command::new(parts::path("kubectl"));
    let home = tempfile::tempdir().unwrap();
    command
        .env_clear()
        .env("HOME", home.path())
        .arg("kustomize")
        .arg(path(directory));
    objects(&run_well(command).await)
}

/// Values by what they are of, without what is as good as absent.
fn values(objects: Vec<Object>) -> BTreeMap<String, Value> {
    let namespace = super::chart::objects(NAMESPACE);
    let all = objects.into_iter().chain(namespace);
    all.map(|it| (it.key(), it.value)).collect()
}

#[tokio::test]
async fn kustomize_makes_of_each_overlay_what_helm_makes_of_its_values() {
    require!("helm", "kubectl");
    let base = plain(rendered(&super::chart::values_of("default")).await);
    let built = values(kustomized("deploy/kustomize/base").await);
    assert_eq!(built, values(base.clone()));
    assert_eq!(built, values(objects(&read("deploy/install.yaml"))));
    for name in OVERLAYS {
        let directory = format!("deploy/kustomize/overlays/{name}");
        let expected = plain(rendered(&path(&format!("{directory}/values.yaml"))).await);
        let built = values(kustomized(&directory).await);
        let expected = values(expected);
        assert_ne!(expected, values(base.clone()), "{name} changes something");
        let keys: Vec<_> = built.keys().collect();
        assert_eq!(keys, expected.keys().collect::<Vec<_>>(), "{name}");
        for (key, value) in &expected {
            assert_eq!(&built[key], value, "{name}: {key}");
        }
    }
}
