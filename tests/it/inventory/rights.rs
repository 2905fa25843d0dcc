//! What pullproof may do in a cluster, on a real API server: how little is enough, and what each of the
//! manifests in `deploy/` grants.

use std::path::Path;

use jiff::Timestamp;
use pullproof::inventory::cluster::{self, Access, Beyond, ClusterOptions};
use pullproof::inventory::{Class, PullSecret, SourceState};
use serde_json::json;

use crate::cli::run::pullproof;
use crate::credentials::secrets::{by, deployment, secret};
use crate::credentials::with_password;
use crate::daemon::faults::reader;
use crate::daemon::shop::{SELDOM, namespace, of_namespace, require_shop};
use crate::support::cluster::{Cluster, Identity};
use crate::support::parts::{require, require_cluster};
use crate::support::registry::Version;

const ACCOUNT: &str = "system:serviceaccount:pullproof:pullproof";

async fn read(identity: &Identity, namespaces: &[&str]) -> SourceState {
    crate::support::http::install_crypto_provider();
    let options = ClusterOptions {
        name: None,
        source_name: "prod".to_owned(),
        access: Access::Kubeconfig {
            file: Some(identity.kubeconfig.clone()),
            context: None,
        },
        class: Class::Runtime,
        namespaces: namespaces.iter().map(|it| (*it).to_owned()).collect(),
        beyond: Beyond::default(),
        labels: [].into(),
    };
    let source = cluster::connect(&options).await.unwrap();
    source.read_once(Timestamp::UNIX_EPOCH).await
}

#[tokio::test]
async fn rights_on_workloads_alone_are_enough_and_what_they_hide_is_told() {
    require_shop!();
    require!("htpasswd");
    let stock = with_password(Version::V3).await;
    let (host, image) = (stock.host(), format!("{}/app:1", stock.host()));
    let (cluster, namespace) = namespace().await;
    secret(cluster, &namespace, "regcred", &host, "wonder").await;
    let yaml = deployment(&namespace, "own", &image, &by(&["regcred"]))
        + &deployment(&namespace, "account", &image, "");
    cluster.apply_yaml(&yaml).await;
    let identity = cluster.new_identity();
    cluster
        .apply_yaml(&reader(&namespace, &identity.user))
        .await;

    let state = read(&identity, &[&namespace]).await;
    assert_eq!(state.incomplete, None);
    assert_eq!((state.uses.len(), state.platforms), (2, None));
    let [namespaces, nodes, accounts, secrets] = state.absent.as_slice() else {
        panic!("{:?}", state.absent);
    };
    assert!(
        namespaces.starts_with("namespaces is forbidden: "),
        "{namespaces}"
    );
    assert!(nodes.starts_with("nodes is forbidden: "), "{nodes}");
    assert!(
        accounts.starts_with("serviceaccounts is forbidden: "),
        "{accounts}"
    );
    let expected =
        format!("pull secrets: 1 of 2 cannot be read, in {namespace}: secrets \"regcred\" is");
    assert!(secrets.starts_with(&expected), "{secrets}");

    // Complete, and each image that could not be checked says for want of what.
    let configuration = of_namespace(&identity.kubeconfig, &namespace, &[stock.entry(SELDOM)]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pullproof.yaml");
    let state = directory.path().join("state");
    let configuration = format!("{configuration}state: {{directory: {}}}\n", state.display());
    std::fs::write(&file, configuration).unwrap();
    let file = file.to_str().unwrap();
    let ended = pullproof(&["--config", file, "inventory"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for told in [
        "  without namespaces is forbidden: ",
        "  without nodes is forbidden: ",
        "  without pull secrets: 1 of 2 cannot be read, ",
        "  credential_unavailable: ",
    ] {
        assert!(ended.stdout.contains(told), "{told}: {ended:?}");
    }
    let ended = pullproof(&["--config", file, "verify", "-o", "json"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let verify = ended.json();
    assert_eq!(
        verify["summary"],
        json!({"images": 1, "pullable": 0, "broken": 0, "unknown": 1})
    );
    for (credential, lacking) in [
        ("regcred", "secrets \"regcred\" is forbidden"),
        ("serviceaccount:default", "serviceaccounts is forbidden"),
    ] {
        let images = verify["images"].as_array().unwrap().iter();
        let found: Vec<_> = images
            .flat_map(|image| image["findings"].as_array().unwrap())
            .filter(|it| it["code"] == "credential_unavailable")
            .filter(|it| it["message"].as_str().unwrap().contains(lacking))
            .collect();
        assert_eq!(found.len(), 1, "{credential}: {verify:#}");
    }
}

fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(file);
    std::fs::read_to_string(path).unwrap()
}

/// Whether pullproof's service account may read a secret.
async fn may_read(cluster: &Cluster, namespace: &str, name: &str) -> bool {
    let secret = format!("secrets/{name}");
    let account = format!("--as={ACCOUNT}");
    let arguments = ["auth", "can-i", "get", &secret, "-n", namespace, &account];
    match cluster.kubectl_as(&cluster.admin(), &arguments).await {
        Ok(answer) => {
            assert_eq!(answer.trim(), "yes");
            true
        }
        Err(answer) => {
            assert!(answer.contains("no"), "{answer}");
            false
        }
    }
}

/// Alone in its cluster, since what it grants holds everywhere.
#[tokio::test]
async fn the_shipped_rights_are_enough_and_each_choice_of_secrets_grants_what_it_says() {
    require_cluster!();
    let cluster = Cluster::start().await;
    for name in ["pullproof", "shop", "crm"] {
        cluster.kubectl(&["create", "namespace", name]).await;
    }
    for namespace in ["shop", "crm"] {
        for name in ["regcred", "other"] {
            secret(&cluster, namespace, name, "registry.example", "wonder").await;
        }
        let image = "registry.example/app:1";
        let with = by(&["regcred"]);
        let yaml = deployment(namespace, "web", image, &with);
        cluster.apply_yaml(&yaml).await;
    }
    let user = cluster.new_identity();
    let binding = |role: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: test-{role}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {}}}]
",
            user.user
        )
    };
    cluster.apply_yaml(&shipped("rbac.yaml")).await;
    cluster.apply_yaml(&binding("pullproof")).await;
    let state = read(&user, &[]).await;
    assert_eq!(state.incomplete, None);
    assert_eq!(state.absent.len(), 1, "{:?}", state.absent);
    assert!(state.absent[0].starts_with("pull secrets: 2 of 2 cannot be read, in crm, shop: "));

    let all = [("shop", "regcred"), ("shop", "other"), ("crm", "regcred")];
    for (choice, expected) in [
        ("", [false, false, false]),
        ("named", [true, false, false]),
        ("namespace", [true, true, false]),
        ("all", [true, true, true]),
        ("none", [false, false, false]),
    ] {
        let file = format!("pull-secrets/{choice}.yaml");
        if !choice.is_empty() {
            cluster.apply_yaml(&shipped(&file)).await;
        }
        for ((namespace, name), expected) in all.iter().zip(expected) {
            let is_granted = may_read(&cluster, namespace, name).await;
            assert_eq!(is_granted, expected, "{choice}: {namespace}/{name}");
        }
        if choice == "all" {
            cluster.apply_yaml(&binding("pullproof-pull-secrets")).await;
            let state = read(&user, &[]).await;
            assert!(state.absent.is_empty(), "{:?}", state.absent);
            let found = |it: &PullSecret| matches!(it, PullSecret::Found(_));
            assert!(state.pull_secrets.values().all(found));
        }
        if choice == "none" {
            let state = read(&user, &[]).await;
            assert_eq!(state.incomplete, None);
            assert!(state.absent[0].starts_with("serviceaccounts is forbidden"));
        } else if !choice.is_empty() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("deploy")
                .join(&file);
            let path = path.to_str().unwrap();
            cluster.kubectl(&["delete", "-f", path]).await;
        }
    }
}
