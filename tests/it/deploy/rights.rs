//! The rights that the chart grants are those of the manifests in `deploy/`, no fewer and no more; and those are
//! what a run needs (`src/inventory/cluster/tests/rights.rs`, `tests/it/collection`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::chart::{Object, helm, objects, path, read, rendered, template, values_of};
use crate::support::parts::require;

const DAEMON: &str = "pullproof/pullproof";
const COLLECTOR: &str = "registry/pullproof-collector";

/// A right: where (empty: everywhere), group, resource, name (empty: any), verb.
type Right = [String; 5];

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().map(Vec::as_slice).unwrap_or_default();
    texts
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

fn of_rules(role: &Object, place: &str, to: &mut BTreeSet<Right>) {
    for rule in role.value["rules"].as_array().unwrap() {
        let mut names = texts(&rule["resourceNames"]);
        if names.is_empty() {
            names.push(String::new());
        }
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for name in &names {
                    for verb in texts(&rule["verbs"]) {
                        to.insert([
                            place.into(),
                            group.clone(),
                            resource.clone(),
                            name.clone(),
                            verb,
                        ]);
                    }
                }
            }
        }
    }
}

/// What these objects grant to a service account, `NAMESPACE/NAME`. A later object is in place of an earlier one.
fn granted(objects: &[Object], account: &str) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    let bindings = objects
        .iter()
        .filter(|it| it.kind().ends_with("RoleBinding"));
    for binding in bindings {
        let subjects = binding.value["subjects"].as_array().unwrap().iter();
        let mut subjects = subjects.map(|it| {
            assert_eq!(it["kind"], "ServiceAccount");
            format!(
                "{}/{}",
                it["namespace"].as_str().unwrap(),
                it["name"].as_str().unwrap()
            )
        });
        if !subjects.any(|it| it == account) {
            continue;
        }
        let of = &binding.value["roleRef"];
        let role = objects.iter().rev().find(|it| {
            let is_near = it.kind() == "ClusterRole" || it.namespace() == binding.namespace();
            it.kind() == of["kind"] && it.name() == of["name"] && is_near
        });
        let role = role.unwrap_or_else(|| panic!("{} is of no role", binding.key()));
        of_rules(role, binding.namespace(), &mut rights);
    }
    rights
}

/// The manifests of these files of `deploy/`.
fn shipped(files: &[&str]) -> Vec<Object> {
    let files = files.iter().map(|file| read(&format!("deploy/{file}")));
    files.flat_map(|text| objects(&text)).collect()
}

/// The binding of a Role of the registry's namespace that its file leaves to whoever wants it.
fn bound(role: &str, account: &str) -> Object {
    let (namespace, name) = account.split_once('/').unwrap();
    let text = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {role}, namespace: registry}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role}}}
subjects: [{{kind: ServiceAccount, name: {name}, namespace: {namespace}}}]
"
    );
    objects(&text).remove(0)
}

async fn chart(values: &[&str]) -> Vec<Object> {
    objects(&template(values).await.unwrap())
}

#[tokio::test]
async fn each_choice_of_secrets_is_the_manifest_of_that_name() {
    require!("helm");
    for (values, file) in [
        ("none", "none"),
        ("named,rbac.secrets.named.shop={regcred}", "named"),
        ("namespaces,rbac.secrets.namespaces={shop}", "namespace"),
        ("all", "all"),
    ] {
        let made = chart(&["--set", &format!("rbac.secrets.access={values}")]).await;
        let file = format!("pull-secrets/{file}.yaml");
        let expected = shipped(&["rbac.yaml", &file]);
        assert_eq!(
            granted(&made, DAEMON),
            granted(&expected, DAEMON),
            "{values}"
        );
    }
}

#[tokio::test]
async fn another_releases_rights_are_its_own() {
    require!("helm");
    let chart = path("deploy/helm/pullproof");
    let values = values_of("collection");
    let words = [
        "template",
        "two",
        chart.to_str().unwrap(),
        "--namespace",
        "ops",
        "--values",
        values.to_str().unwrap(),
    ];
    let other = objects(&helm(&words).await.unwrap());
    let of_first = rendered(&values).await;
    let daemon = granted(&other, "ops/two-pullproof");
    assert_eq!(daemon, granted(&of_first, DAEMON));
    assert!(!daemon.is_empty());
    // But for the Lease, which has its name.
    let without = |rights: BTreeSet<Right>| -> BTreeSet<Right> {
        rights.into_iter().filter(|it| it[2] != "leases").collect()
    };
    let collector = granted(&other, "registry/two-pullproof-collector");
    assert!(
        collector.contains(
            &[
                "registry",
                "coordination.k8s.io",
                "leases",
                "two-pullproof-collector",
                "get"
            ]
            .map(ToOwned::to_owned)
        )
    );
    assert_eq!(without(collector), without(granted(&of_first, COLLECTOR)));
    assert_eq!(granted(&other, DAEMON), BTreeSet::new());
    // Beside each other: nothing of the one has the name of something of the other.
    let keys: BTreeSet<String> = of_first.iter().map(Object::key).collect();
    assert!(other.iter().all(|it| !keys.contains(&it.key())));
}

#[tokio::test]
async fn the_rights_of_the_options_are_those_of_their_manifests_and_follow_the_configuration() {
    require!("helm");
    let lease = |verb: &str, name: &str| {
        ["pullproof", "coordination.k8s.io", "leases", name, verb].map(ToOwned::to_owned)
    };
    let made = rendered(&values_of("full")).await;
    let files = [
        "rbac.yaml",
        "pull-secrets/all.yaml",
        "events-rbac.yaml",
        "write-events-rbac.yaml",
        "mentions-rbac.yaml",
        "releases-rbac.yaml",
        "custom-resources-rbac.yaml",
    ];
    let mut expected = granted(&shipped(&files), DAEMON);
    expected.extend([
        lease("create", ""),
        lease("get", "pullproof"),
        lease("update", "pullproof"),
        lease("get", "pullproof-events"),
        lease("update", "pullproof-events"),
    ]);
    assert_eq!(granted(&made, DAEMON), expected);

    // One at a time.
    let none = granted(&shipped(&["rbac.yaml", "pull-secrets/none.yaml"]), DAEMON);
    for (values, file, is_of) in [
        ("rbac.events=true", "events-rbac.yaml", ""),
        ("config.inventory.mentions=true", "mentions-rbac.yaml", ""),
        (
            "config.kubernetesEvents.write=true",
            "write-events-rbac.yaml",
            "",
        ),
        (
            "config.inventory.releases.argocd=true",
            "releases-rbac.yaml",
            "argoproj.io",
        ),
        (
            "config.inventory.releases.helm=true",
            "releases-rbac.yaml",
            "secrets",
        ),
    ] {
        let more: BTreeSet<Right> = granted(&chart(&["--set", values]).await, DAEMON);
        let more: BTreeSet<Right> = more.difference(&none).cloned().collect();
        let of_file = granted(&shipped(&[file]), DAEMON);
        let expected = of_file
            .into_iter()
            .filter(|it| is_of.is_empty() || it.contains(&is_of.to_owned()));
        assert_eq!(more, expected.collect(), "{values}");
    }
}

#[tokio::test]
async fn with_namespaces_nothing_is_granted_outside_them() {
    require!("helm");
    let made = rendered(&values_of("namespaces")).await;
    assert!(made.iter().all(|it| !it.kind().starts_with("Cluster")));
    let rights = granted(&made, DAEMON);
    let places: BTreeSet<&str> = rights.iter().map(|it| it[0].as_str()).collect();
    assert_eq!(places, BTreeSet::from(["crm", "shop"]));
    // In each what is granted everywhere else, but for nodes and namespaces, which are nowhere.
    let everywhere = granted(&shipped(&["rbac.yaml"]), DAEMON);
    let everywhere: BTreeSet<Right> = everywhere
        .into_iter()
        .filter(|it| it[2] != "nodes" && it[2] != "namespaces")
        .collect();
    for place in ["crm", "shop"] {
        let here = rights
            .iter()
            .filter(|it| it[0] == place && it[2] != "secrets")
            .cloned();
        let here: BTreeSet<Right> = here
            .map(|mut it| {
                it[0].clear();
                it
            })
            .collect();
        assert_eq!(here, everywhere, "{place}");
    }
    let nodes = "config.inventory.clusters[0].name=a,config.inventory.clusters[0].inCluster=true,config.inventory.clusters[0].namespaces={shop}";
    let rights = granted(&chart(&["--set", nodes]).await, DAEMON);
    let outside: Vec<&Right> = rights.iter().filter(|it| it[0] != "shop").collect();
    let of = |resource: &str, verb: &str| ["", "", resource, "", verb].map(ToOwned::to_owned);
    assert_eq!(
        outside,
        [
            &of("namespaces", "list"),
            &of("namespaces", "watch"),
            &of("nodes", "list"),
            &of("nodes", "watch")
        ]
    );
}

#[tokio::test]
async fn who_reads_other_clusters_only_may_do_nothing_in_this_one() {
    require!("helm");
    for elsewhere in [
        "config.inventory.clusters[0].name=a,config.inventory.clusters[0].kubeconfig=a",
        "config.inventory.references[0].name=a,config.inventory.references[0].file=a",
    ] {
        let made = chart(&["--set", elsewhere]).await;
        assert_eq!(granted(&made, DAEMON), BTreeSet::new(), "{elsewhere}");
    }
    let made = chart(&["--set", "rbac.create=false"]).await;
    assert_eq!(granted(&made, DAEMON), BTreeSet::new());
}

#[tokio::test]
async fn a_collector_has_the_rights_of_its_manifests_and_the_daemon_none_of_them() {
    require!("helm");
    let made = rendered(&values_of("collection")).await;
    let mut of_collector = shipped(&["collector-rbac.yaml"]);
    let optional = ["pullproof-collector-switch", "pullproof-collector-look"];
    of_collector.extend(optional.map(|role| bound(role, COLLECTOR)));
    assert_eq!(granted(&made, COLLECTOR), granted(&of_collector, COLLECTOR));
    let of_daemon = shipped(&[
        "rbac.yaml",
        "pull-secrets/none.yaml",
        "collector-start-rbac.yaml",
    ]);
    assert_eq!(granted(&made, DAEMON), granted(&of_daemon, DAEMON));

    // What is not configured is not granted: a bucket's collector has its Lease.
    let made = rendered(&values_of("schedule")).await;
    let of_lease = granted(&shipped(&["collector-rbac.yaml"]), COLLECTOR);
    let of_lease: BTreeSet<Right> = of_lease
        .into_iter()
        .filter(|it| it[2] == "leases")
        .collect();
    assert_eq!(granted(&made, COLLECTOR), of_lease);
    let of_daemon = shipped(&["rbac.yaml", "pull-secrets/none.yaml"]);
    assert_eq!(granted(&made, DAEMON), granted(&of_daemon, DAEMON));
}

#[tokio::test]
async fn a_registrys_own_collector_needs_its_manifest_and_whoever_collects_has_it() {
    require!("helm");
    let job = "collection.config.gc.executor.kubernetesJob.template=/etc/pullproof/gc-job.yaml,\
               collection.config.gc.executor.kubernetesJob.undo=none";
    let values = values_of("schedule");
    let made = chart(&["--values", values.to_str().unwrap(), "--set", job]).await;
    let mut expected = shipped(&["executor-job-rbac.yaml"]);
    expected.push(bound("pullproof-executor-job", COLLECTOR));
    let more = granted(&made, COLLECTOR)
        .into_iter()
        .filter(|it| it[2] != "leases");
    assert_eq!(
        more.collect::<BTreeSet<Right>>(),
        granted(&expected, COLLECTOR)
    );

    // The same where the daemon collects.
    let own = "persistence.enabled=true,collection.enabled=true,collection.by=daemon,config.gc.mode=purge,\
               config.gc.executor.kubernetesJob.template=/etc/pullproof/gc-job.yaml,\
               config.gc.executor.kubernetesJob.undo=none";
    let made = chart(&["--set", own]).await;
    let expected = shipped(&[
        "rbac.yaml",
        "pull-secrets/none.yaml",
        "executor-job-rbac.yaml",
    ]);
    assert_eq!(granted(&made, DAEMON), granted(&expected, DAEMON));
}
