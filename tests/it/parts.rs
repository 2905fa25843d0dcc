//! Each real part does what the other tests lean on. When one of these fails, look here first.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::alertmanager::{Alertmanager, Webhook};
use crate::support::certificates::{Authority, Key};
use crate::support::clients::Clients;
use crate::support::cluster::Cluster;
use crate::support::http;
use crate::support::images::{Format, PLATFORMS, push_image, push_index};
use crate::support::parts::{self, require, require_cluster};
use crate::support::process::run_well;
use crate::support::prometheus::Prometheus;
use crate::support::registry::{Options, Registry, Request, Version};
use crate::support::server::Server;
use crate::support::tokens::{Issued, TokenServer};
use crate::support::toxiproxy::Toxiproxy;
use crate::support::wait::wait_until;

/// For what a real part does within a second or two when the machine has nothing else to do.
const BOUND: Duration = Duration::from_mins(1);

#[tokio::test]
async fn both_registries_take_an_image_from_crane_and_give_it_to_regctl() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    for version in Version::ALL {
        let root = tempfile::tempdir().unwrap();
        let mut registry = Registry::start(Options::new(version, root.path())).await;
        let clients = Clients::of(&registry).await;
        let reference = format!("{}/team/app:1", registry.host());
        let digest = push_image(&clients, &reference, "one").await;

        // What it holds, it holds across a restart, in the tree that the test gave it.
        registry.start_again().await;
        assert_eq!(
            clients
                .regctl(&["image", "digest", &reference])
                .await
                .trim(),
            digest
        );
        let manifest = clients
            .regctl(&["manifest", "get", "--format", "raw-body", &reference])
            .await;
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        let repositories = registry.root().join("docker/registry/v2/repositories");
        assert!(repositories.join("team/app/_manifests/tags/1").is_dir());
    }
}

#[tokio::test]
async fn the_access_log_tells_what_a_registry_was_asked() {
    require!("docker-registry", "registry-3.1");
    for version in Version::ALL {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::start(Options::new(version, root.path())).await;
        let url = format!("{}/v2/team/app/manifests/1", registry.url());
        http::client().head(url).send().await.unwrap();
        wait_until("the log has the request", BOUND, async || {
            (!registry.requests().is_empty()).then_some(())
        })
        .await;
        let expected = Request {
            method: "HEAD".into(),
            path: "/v2/team/app/manifests/1".into(),
            status: 404,
        };
        assert_eq!(registry.requests(), [expected], "{version:?}");
    }
}

#[tokio::test]
async fn a_registry_with_a_descriptor_cache_answers_for_a_blob_that_is_gone() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    for version in Version::ALL {
        for (cache, expected) in [(false, 404), (true, 200)] {
            let root = tempfile::tempdir().unwrap();
            let options = Options::new(version, root.path());
            let options = if cache {
                options.with_descriptor_cache()
            } else {
                options
            };
            let registry = Registry::start(options).await;
            let clients = Clients::of(&registry).await;
            let reference = format!("{}/app:1", registry.host());
            push_image(&clients, &reference, "one").await;
            let manifest: Value =
                serde_json::from_str(&clients.crane(&["manifest", &reference]).await).unwrap();
            let layer = manifest["layers"][0]["digest"].as_str().unwrap();
            let hash = layer.strip_prefix("sha256:").unwrap();
            let data = registry
                .root()
                .join("docker/registry/v2/blobs/sha256")
                .join(&hash[..2])
                .join(hash)
                .join("data");
            std::fs::remove_file(data).unwrap();
            let url = format!("{}/v2/app/blobs/{layer}", registry.url());
            let status = http::client().head(url).send().await.unwrap().status();
            assert_eq!(status.as_u16(), expected, "{version:?}, cache {cache}");
        }
    }
}

#[tokio::test]
async fn a_registry_can_be_read_only_for_a_while_and_then_take_deletes() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    for version in Version::ALL {
        let root = tempfile::tempdir().unwrap();
        let mut registry = Registry::start(Options::new(version, root.path())).await;
        let clients = Clients::of(&registry).await;
        let reference = format!("{}/app:1", registry.host());
        let digest = push_image(&clients, &reference, "one").await;
        let manifest = format!("{}/app@{digest}", registry.host());
        let delete = ["delete", manifest.as_str()];
        clients.attempt("crane", &delete).await.unwrap_err();

        registry.start_again_with(Options::read_only).await;
        let other = format!("{}/app:2", registry.host());
        clients
            .attempt("crane", &["copy", &reference, &other])
            .await
            .unwrap_err();

        registry.start_again_with(Options::with_deletes).await;
        clients.crane(&["copy", &reference, &other]).await;
        clients.crane(&delete).await;
        clients
            .attempt("crane", &["manifest", &manifest])
            .await
            .unwrap_err();
    }
}

#[tokio::test]
async fn a_paused_registry_answers_when_it_goes_on_and_a_stopped_one_refuses() {
    require!("docker-registry");
    let root = tempfile::tempdir().unwrap();
    let mut registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let url = format!("{}/v2/", registry.url());

    registry.pause().await;
    let client = http::client();
    let mut answer = std::pin::pin!(client.get(&url).send());
    // Long against the millisecond that it needs otherwise.
    let patience = Duration::from_millis(500);
    tokio::time::timeout(patience, &mut answer)
        .await
        .expect_err("it is paused");
    registry.resume();
    assert!(answer.await.unwrap().status().is_success());

    registry.stop();
    assert!(
        http::client()
            .get(&url)
            .send()
            .await
            .unwrap_err()
            .is_connect()
    );
}

#[tokio::test]
async fn passwords_are_refused_and_accepted() {
    require!(
        "docker-registry",
        "registry-3.1",
        "htpasswd",
        "crane",
        "regctl",
        "skopeo"
    );
    for version in Version::ALL {
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(version, root.path()).with_passwords(&[("alice", "wonder")]);
        let registry = Registry::start(options).await;
        let clients = Clients::of(&registry).await;
        let host = registry.host();
        let reference = format!("{host}/app:1");

        let anonymous = clients
            .attempt("crane", &["ls", &format!("{host}/app")])
            .await;
        assert!(anonymous.unwrap_err().contains("UNAUTHORIZED"));
        clients.login(&host, "alice", "wrong").await;
        let wrong = clients
            .attempt("crane", &["ls", &format!("{host}/app")])
            .await;
        assert!(wrong.unwrap_err().contains("UNAUTHORIZED"));

        clients.login(&host, "alice", "wonder").await;
        assert!(clients.credentials().is_file());
        let digest = push_image(&clients, &reference, "one").await;
        assert_eq!(
            clients
                .regctl(&["image", "digest", &reference])
                .await
                .trim(),
            digest
        );
        let inspected = clients
            .skopeo(&["inspect", &format!("docker://{reference}")])
            .await;
        assert!(inspected.contains(&digest));
    }
}

#[tokio::test]
async fn tokens_are_believed_when_the_registrys_authority_signed_them() {
    require!(
        "docker-registry",
        "registry-3.1",
        "openssl",
        "crane",
        "regctl",
        "skopeo"
    );
    for version in Version::ALL {
        let scratch = tempfile::tempdir().unwrap();
        let authority = Authority::new(scratch.path()).await;
        let tokens = TokenServer::start(&authority, &[("alice", "wonder")], BOUND).await;
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(version, root.path()).with_tokens(&tokens);
        let registry = Registry::start(options).await;
        let clients = Clients::of(&registry).await;
        let host = registry.host();

        clients.login(&host, "alice", "wonder").await;
        for name in ["private/app", "public/app"] {
            push_image(&clients, &format!("{host}/{name}:1"), name).await;
        }
        for reader in ["regctl", "skopeo"] {
            let private = format!("{host}/private/app:1");
            let image = format!("docker://{private}");
            let arguments = if reader == "regctl" {
                ["manifest", "get", &private]
            } else {
                ["inspect", "--raw", &image]
            };
            clients.attempt(reader, &arguments).await.unwrap();
        }
        let pull = "repository:private/app:pull";
        let asked = |issued: &Issued| {
            issued.user == "alice" && issued.scopes.iter().any(|scope| scope == pull)
        };
        assert!(tokens.issued().iter().any(asked), "{:?}", tokens.issued());

        let anonymous = Clients::of(&registry).await;
        anonymous
            .crane(&["manifest", &format!("{host}/public/app:1")])
            .await;
        let private = format!("{host}/private/app:1");
        anonymous
            .attempt("crane", &["manifest", &private])
            .await
            .unwrap_err();

        // Signed by somebody else, the same claims are worth nothing.
        let elsewhere = tempfile::tempdir().unwrap();
        let stranger = Authority::new(elsewhere.path()).await;
        let impostor = TokenServer::start(&stranger, &[], BOUND).await;
        let url = format!("{}?scope=repository:public/app:pull", impostor.realm());
        let forged = http::get_json(&http::client(), &url).await.unwrap();
        let status = http::client()
            .get(format!("{}/v2/public/app/tags/list", registry.url()))
            .bearer_auth(forged["token"].as_str().unwrap())
            .send()
            .await
            .unwrap()
            .status();
        assert_eq!(status.as_u16(), 401, "{version:?}");
    }
}

#[tokio::test]
async fn tls_is_believed_when_the_authority_is() {
    require!(
        "docker-registry",
        "registry-3.1",
        "openssl",
        "crane",
        "regctl",
        "skopeo"
    );
    for version in Version::ALL {
        let scratch = tempfile::tempdir().unwrap();
        let authority = Authority::new(scratch.path()).await;
        let certificate = authority.issue("registry", Key::Elliptic).await;
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(version, root.path()).with_certificate(&certificate);
        let registry = Registry::start(options).await;
        let reference = format!("{}/app:1", registry.host());

        let mut clients = Clients::of(&registry).await;
        let url = format!("{}/v2/", registry.url());
        http::client().get(&url).send().await.unwrap_err();
        let answer = http::client_trusting(authority.certificate())
            .get(&url)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success());

        clients.trust(&authority);
        let digest = push_image(&clients, &reference, "one").await;
        assert_eq!(
            clients
                .regctl(&["image", "digest", &reference])
                .await
                .trim(),
            digest
        );
        clients
            .skopeo(&["inspect", &format!("docker://{reference}")])
            .await;
    }
}

#[tokio::test]
async fn buildah_pushes_an_index_in_both_formats_with_untagged_children() {
    require!("docker-registry", "crane", "regctl", "buildah");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let clients = Clients::of(&registry).await;
    let types = [
        (
            Format::Oci,
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.manifest.v1+json",
        ),
        (
            Format::Docker,
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        ),
    ];
    for (format, index_type, child_type) in types {
        let repository = format!("{}/{format:?}", registry.host()).to_lowercase();
        let reference = format!("{repository}:1");
        push_index(&clients, &reference, "content", format).await;
        let index: Value =
            serde_json::from_str(&clients.crane(&["manifest", &reference]).await).unwrap();
        assert_eq!(index["mediaType"], index_type);
        let children = index["manifests"].as_array().unwrap();
        let platforms: Vec<&str> = children
            .iter()
            .filter_map(|child| child["platform"]["architecture"].as_str())
            .collect();
        assert_eq!(platforms, PLATFORMS);
        let mut layers = Vec::new();
        for child in children {
            assert_eq!(child["mediaType"], child_type);
            let child = format!("{repository}@{}", child["digest"].as_str().unwrap());
            let child: Value =
                serde_json::from_str(&clients.crane(&["manifest", &child]).await).unwrap();
            layers.push(child["layers"].as_array().unwrap().clone());
        }
        assert_eq!((layers[0].len(), layers[1].len()), (2, 2));
        assert_eq!(layers[0][0], layers[1][0], "the first layer is shared");
        assert_ne!(layers[0][1], layers[1][1], "the second one is not");
        assert_eq!(clients.crane(&["ls", &repository]).await.trim(), "1");
    }
}

#[tokio::test]
async fn the_collector_of_2_8_2_removes_the_children_of_a_tagged_index() {
    require!(
        "docker-registry",
        "registry-3.1",
        "crane",
        "regctl",
        "buildah"
    );
    for (version, is_whole) in [(Version::V2, false), (Version::V3, true)] {
        let root = tempfile::tempdir().unwrap();
        let mut registry = Registry::start(Options::new(version, root.path())).await;
        let clients = Clients::of(&registry).await;
        let reference = format!("{}/app:1", registry.host());
        push_index(&clients, &reference, "content", Format::Oci).await;
        let validate = ["validate", "--remote", reference.as_str()];
        clients.crane(&validate).await;

        registry.stop();
        let dry = registry.garbage_collect(&["--dry-run"]).await;
        assert!(dry.contains("app"), "{dry}");
        registry.start_again().await;
        clients.crane(&validate).await;

        registry.stop();
        registry.garbage_collect(&[]).await;
        registry.start_again().await;
        assert_eq!(
            clients.attempt("crane", &validate).await.is_ok(),
            is_whole,
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn a_deployment_becomes_replica_sets_and_pods() {
    require_cluster!();
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    cluster
        .apply_yaml(&format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {namespace}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: 'registry.test/web:1'}}]}}
"
        ))
        .await;
    let pods: Api<Pod> = Api::namespaced(cluster.client(&cluster.admin()).await, &namespace);
    let pods = wait_until("the Deployment has its Pods", BOUND, async || {
        let list = pods.list(&ListParams::default()).await.unwrap().items;
        (list.len() == 2).then_some(list)
    })
    .await;
    let owner = &pods[0].metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(owner.kind, "ReplicaSet");
    let sets = cluster
        .kubectl(&["-n", &namespace, "get", "replicasets", "-o", "name"])
        .await;
    assert!(sets.contains(&owner.name));
}

#[tokio::test]
async fn an_identity_may_do_what_a_test_binds_and_no_more() {
    require_cluster!();
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    let identity = cluster.new_identity();
    assert_ne!(identity, cluster.new_identity());
    let list = ["-n", namespace.as_str(), "get", "pods"];
    let refused = cluster.kubectl_as(&identity, &list).await.unwrap_err();
    assert!(
        refused.contains(&identity.user) && refused.contains("Forbidden"),
        "{refused}"
    );

    let user = format!("--user={}", identity.user);
    cluster
        .kubectl(&[
            "-n",
            &namespace,
            "create",
            "rolebinding",
            "view",
            "--clusterrole=view",
            &user,
        ])
        .await;
    wait_until("the binding is seen", BOUND, async || {
        cluster.kubectl_as(&identity, &list).await.ok()
    })
    .await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(&identity).await, &namespace);
    maps.list(&ListParams::default()).await.unwrap();
    let map = ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some("a".into()),
            ..Default::default()
        },
        ..Default::default()
    };
    let refused = maps.create(&PostParams::default(), &map).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
}

#[tokio::test]
async fn an_api_server_can_hang_and_go_away_and_come_back() {
    require_cluster!();
    let mut cluster = Cluster::start().await;
    let namespace = cluster.new_namespace().await;
    let admin = cluster.admin();
    let get = [
        "get",
        "namespace",
        namespace.as_str(),
        "--request-timeout=2s",
    ];

    cluster.pause_server().await;
    let hung = cluster.kubectl_as(&admin, &get).await.unwrap_err();
    assert!(hung.contains("imeout"), "{hung}");
    cluster.resume_server();
    wait_until("it answers again", BOUND, async || {
        cluster.kubectl_as(&admin, &get).await.ok()
    })
    .await;

    cluster.stop_server();
    let gone = cluster.kubectl_as(&admin, &get).await.unwrap_err();
    assert!(gone.contains("refused"), "{gone}");
    cluster.start_server().await;
    cluster.kubectl(&get).await;
}

#[tokio::test]
async fn an_alert_reaches_the_webhook_and_is_resolved() {
    require!("prometheus", "prometheus-alertmanager");
    let level = std::sync::Arc::new(std::sync::atomic::AtomicU8::new(1));
    let shown = std::sync::Arc::clone(&level);
    let metrics = move || {
        let level = shown.load(std::sync::atomic::Ordering::Relaxed);
        std::future::ready(format!("test_level{{job=\"theirs\"}} {level}\n"))
    };
    let exporter = Server::start(Router::new().route("/metrics", get(metrics)));
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yaml");
    let text = json!({"groups": [{"name": "test", "rules": [
        {"alert": "LevelIsHigh", "expr": "test_level > 0", "labels": {"severity": "page"}},
    ]}]});
    std::fs::write(&rules, text.to_string()).unwrap();

    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(&webhook).await;
    let prometheus =
        Prometheus::start(&[("ours", exporter.host())], &[rules], Some(&alertmanager)).await;
    let samples = prometheus
        .process()
        .wait_until("the target is scraped", BOUND, async || {
            let samples = prometheus.query("test_level").await;
            (!samples.is_empty()).then_some(samples)
        })
        .await;
    assert_eq!(
        samples[0].labels["job"], "theirs",
        "labels of the target are honoured"
    );
    assert!((samples[0].value - 1.0).abs() < f64::EPSILON);

    alertmanager
        .process()
        .wait_until("the webhook is told", BOUND, async || {
            (webhook.count("LevelIsHigh", "firing") > 0).then_some(())
        })
        .await;
    let notification = &webhook.notifications()[0];
    assert_eq!(
        notification["commonLabels"]["severity"], "page",
        "{notification}"
    );

    assert_eq!(webhook.count("LevelIsHigh", "resolved"), 0);
    level.store(0, std::sync::atomic::Ordering::Relaxed);
    alertmanager
        .process()
        .wait_until("the webhook is told of the end", BOUND, async || {
            (webhook.count("LevelIsHigh", "resolved") > 0).then_some(())
        })
        .await;
}

#[tokio::test]
async fn toxiproxy_delays_and_cuts_and_heals() {
    require!("toxiproxy-server", "docker-registry");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let toxiproxy = Toxiproxy::start().await;
    let host = toxiproxy.proxy("registry", &registry.host()).await;
    let url = format!("http://{host}/v2/");
    let ask = async || http::client().get(&url).send().await;
    toxiproxy
        .process()
        .wait_until("the proxy serves", BOUND, async || ask().await.ok())
        .await;

    toxiproxy
        .poison("registry", "latency", &json!({"latency": 300}))
        .await;
    let begun = Instant::now();
    ask().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    toxiproxy.heal("registry", "latency").await;

    toxiproxy
        .poison("registry", "reset_peer", &json!({"timeout": 0}))
        .await;
    ask().await.unwrap_err();
    toxiproxy.heal("registry", "reset_peer").await;
    ask().await.unwrap();
}

#[tokio::test]
async fn hey_measures_heads() {
    require!("hey", "docker-registry");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let mut hey = std::process::Command::new(parts::path("hey"));
    hey.args(["-m", "HEAD", "-n", "200", "-c", "8"])
        .arg(format!("{}/v2/", registry.url()));
    let report = run_well(hey).await;
    assert!(report.contains("[200]\t200 responses"), "{report}");
    wait_until("the log has them all", BOUND, async || {
        (registry.requests().len() == 200).then_some(())
    })
    .await;
}
