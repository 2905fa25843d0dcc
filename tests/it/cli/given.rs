//! Where references come from: lists, Kubernetes YAML, standard input, a kubeconfig's context.

use serde_json::{Value, json};

use super::run::{self, pullproof, pullproof_in, run as run_command, shape, with_input};
use crate::support::clients::Clients;
use crate::support::cluster::Cluster;
use crate::support::daemon;
use crate::support::images::push_image;
use crate::support::parts::{require, require_cluster};
use crate::support::process::free_port;
use crate::support::registry::{Options, Registry, Version};

/// Two workloads and what is none, in several documents.
fn manifests(host: &str) -> String {
    format!(
        "# what the shop runs
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      initContainers: [{{name: migrate, image: '{host}/app:1'}}]
      containers: [{{name: app, image: '{host}/app:1'}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: List
items:
- apiVersion: batch/v1
  kind: CronJob
  metadata: {{name: report, namespace: office}}
  spec:
    suspend: true
    schedule: '0 4 * * *'
    jobTemplate:
      spec:
        template:
          spec:
            restartPolicy: Never
            containers: [{{name: main, image: '{host}/lost:1'}}]
"
    )
}

#[tokio::test]
async fn lists_and_manifests_come_from_files_and_from_standard_input() {
    require!("docker-registry", "crane", "regctl");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V3, root.path())).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    push_image(&clients, &format!("{host}/app:1"), "one").await;
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    let list = format!("# keep these\n{host}/app:1  # for the rollback\n\n{host}/app:2\nA B\n");
    write("keep.txt", &list);
    std::fs::create_dir_all(home.path().join("deploy/base")).unwrap();
    write("deploy/base/shop.yaml", &manifests(&host));

    let verify = ["verify", "--plain-http", &host, "-o", "json"];
    let with = |more: &[&'static str]| {
        verify
            .iter()
            .copied()
            .chain(more.iter().copied())
            .collect::<Vec<_>>()
    };
    let outcome = |ended: &run::Ended| {
        assert_eq!(ended.code, 2, "{ended:?}");
        let view = ended.json();
        let images = view["images"].as_array().unwrap().iter();
        let images = images.map(|image| {
            let users = image["used_by"].as_array().unwrap().iter();
            let users = users.map(|by| {
                let text = |key: &str| by[key].as_str().unwrap().to_owned();
                [
                    text("namespace"),
                    text("kind"),
                    text("name"),
                    text("container"),
                ]
                .join("/")
            });
            let users = users.collect::<Vec<_>>().join(" ");
            let reference = image["reference"].as_str().unwrap().replace(&host, "HOST");
            format!(
                "{} {reference}: {users}",
                image["verdict"].as_str().unwrap()
            )
        });
        images.collect::<Vec<_>>()
    };

    let file = pullproof_in(home.path(), &with(&["--references", "keep.txt"])).await;
    let expected = |list: &str| {
        [
            format!("pullable HOST/app:1: /List/{list}/"),
            format!("broken HOST/app:2: /List/{list}/"),
            format!("broken A B: /List/{list}/"),
        ]
    };
    assert_eq!(outcome(&file), expected("keep.txt"));
    assert_eq!(file.codes("A B"), ["reference_invalid"]);
    let piped = with_input(&with(&["--references", "-"]), &list).await;
    assert_eq!(outcome(&piped), expected("stdin"));

    let expected = [
        "pullable HOST/app:1: shop/Deployment/web/app shop/Deployment/web/migrate",
        "broken HOST/lost:1: office/CronJob/report/main",
    ];
    for path in ["deploy", "deploy/base/shop.yaml"] {
        let arguments = [&verify[..], &["-f", path]].concat();
        let ended = pullproof_in(home.path(), &arguments).await;
        assert_eq!(outcome(&ended), expected, "{path}");
    }
    let piped = with_input(&with(&["-f", "-"]), &manifests(&host)).await;
    assert_eq!(outcome(&piped), expected);

    // Both at once are one inventory: the image that both name is one image.
    let both = pullproof_in(
        home.path(),
        &with(&["-f", "deploy", "--references", "keep.txt"]),
    )
    .await;
    assert_eq!(
        outcome(&both)[0],
        "pullable HOST/app:1: /List/keep.txt/ shop/Deployment/web/app shop/Deployment/web/migrate"
    );
    assert_eq!(both.json()["images"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn what_cannot_be_read_leaves_the_answer_open() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(
        home.path().join("bad.yaml"),
        "kind: Deployment\n  name: [\n",
    )
    .unwrap();
    for (arguments, told) in [
        (
            ["--references", "nowhere.txt"],
            "source nowhere.txt is incomplete: nowhere.txt: ",
        ),
        (["-f", "nowhere"], "source nowhere is incomplete: nowhere: "),
        (
            ["-f", "bad.yaml"],
            "source bad.yaml is incomplete: bad.yaml: ",
        ),
        (["--context", "nowhere"], "source nowhere is incomplete: "),
    ] {
        let verify = [&["verify"], &arguments[..]].concat();
        let ended = pullproof_in(home.path(), &verify).await;
        // An empty inventory that may not be all of it proves nothing.
        assert_eq!(ended.code, 3, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
        let inventory = [&["inventory"], &arguments[..]].concat();
        let ended = pullproof_in(home.path(), &inventory).await;
        assert_eq!(ended.code, 3, "{arguments:?}: {ended:?}");
        assert!(
            ended.stdout.contains("incomplete: this is only a part"),
            "{ended:?}"
        );
    }
}

/// What a command before the pipe said when it failed, or nothing: an error is never an empty list.
#[tokio::test]
async fn where_no_image_is_named_nothing_is_proven() {
    for text in ["", "# nothing\n", "---\n---\n", "Error: chart not found\n"] {
        for source in [["-f", "-"], ["--references", "-"]] {
            if source[0] == "--references" && text.contains(['E', '-']) {
                continue;
            }
            for (more, code) in [
                (&[][..], 3),
                (&["--fail-on", "broken"], 3),
                (&["--fail-on", "never"], 0),
                (&["--allow-empty"], 0),
            ] {
                let arguments = [&["verify"], &source[..], more].concat();
                let ended = with_input(&arguments, text).await;
                assert_eq!(ended.code, code, "{arguments:?} {text:?}: {ended:?}");
                let is_told = ended
                    .stderr
                    .contains("source stdin is incomplete: it names no image");
                assert_eq!(is_told, more != ["--allow-empty"], "{ended:?}");
            }
        }
    }
    let ended = with_input(&["verify", "-f", "-", "-o", "junit"], "").await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.contains("errors=\"1\""), "{ended:?}");
    // A path that is another one than was meant passes no pipeline, whatever it is to fail on.
    let ended = with_input(&["verify", "-f", "nowhere", "--fail-on", "broken"], "").await;
    assert_eq!(ended.code, 3, "{ended:?}");
}

#[tokio::test]
async fn what_is_asked_for_by_a_name_that_is_not_whole_is_told_where_it_is() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(
        home.path().join("shop.yaml"),
        manifests("registry.example/team"),
    )
    .unwrap();
    let ended = pullproof_in(home.path(), &["inventory", "shop.yaml"]).await;
    let told = "shop.yaml is a file; did you mean -f shop.yaml?";
    assert_eq!((ended.code, ended.stderr.trim()), (64, told), "{ended:?}");
    let ended = pullproof_in(home.path(), &["inventory", "-f", "shop.yaml", "app"]).await;
    let told =
        "docker.io/library/app:latest: no source names it; there are registry.example/team/app:1\n";
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains(told), "{ended:?}");
}

#[tokio::test]
async fn what_manifests_have_that_is_not_read_is_told() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write(
        "task.yaml",
        "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: build}\n\
         spec: {steps: [{image: 'registry.example/go:1'}]}\n",
    );
    let ended = pullproof_in(home.path(), &["inventory", "-f", "task.yaml"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = "without Task/build: .spec.steps[0].image: an image that no configured path reads; customResources reads it";
    assert!(ended.stdout.contains(told), "{ended:?}");
    let config = |path: &str| {
        let text = format!(
            "inventory:\n  customResources: [{{apiVersion: tekton.dev/v1, kind: Task, images: ['{path}']}}]\n  \
             manifests: [{{name: git, path: task.yaml}}]\n"
        );
        write("pullproof.yaml", &text);
    };
    config(".spec.steps[*].image");
    // By name, and by the configuration.
    for more in [&["-f", "task.yaml"][..], &[]] {
        let arguments = [&["--config", "pullproof.yaml", "inventory"], more].concat();
        let ended = pullproof_in(home.path(), &arguments).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains("registry.example/go:1"), "{ended:?}");
        assert!(!ended.stdout.contains("without"), "{ended:?}");
    }
    config(".spec.step[*].image");
    let ended = pullproof_in(home.path(), &["--config", "pullproof.yaml", "inventory"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let told = "Task.tekton.dev: .spec.step[*].image leads to nothing in its only object";
    assert!(ended.stdout.contains(told), "{ended:?}");
}

#[tokio::test]
async fn the_inventory_lists_who_uses_what_and_which_source_is_a_part() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("shop.yaml"), manifests("registry.example")).unwrap();
    let list = "registry.example/app:1\nnginx@sha256:12\n";
    std::fs::write(home.path().join("keep.txt"), list).unwrap();
    let whole = ["inventory", "-f", "shop.yaml", "--references", "keep.txt"];
    let ended = pullproof_in(home.path(), &whole).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    insta::assert_snapshot!("inventory_table", ended.stdout);

    let part = [&whole[..], &["-f", "gone.yaml", "-o", "json"]].concat();
    let ended = pullproof_in(home.path(), &part).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let view = ended.json();
    assert_eq!(
        (&view["schema"], &view["complete"]),
        (&json!("pullproof.dev/inventory/v1"), &json!(false))
    );
    let sources = view["sources"].as_array().unwrap().iter();
    let sources: Vec<_> = sources
        .map(|source| (&source["name"], &source["complete"]))
        .collect();
    assert_eq!(
        json!(sources),
        json!([
            ["keep.txt", true],
            ["shop.yaml", true],
            ["gone.yaml", false]
        ])
    );
    assert!(
        view["sources"][2]["reason"]
            .as_str()
            .unwrap()
            .starts_with("gone.yaml: ")
    );
    let words = |keys: &[&str]| -> Value {
        keys.iter()
            .map(|key| ((*key).to_owned(), json!("string")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let mut user = words(&["namespace", "kind", "name", "container", "image", "class"]);
    user["cluster"] = json!("null");
    let shapes = shape(&view["images"]);
    let every = |key: &str| {
        shapes
            .as_array()
            .unwrap()
            .iter()
            .all(|image| image.get(key).is_some())
    };
    assert!(
        [
            "reference",
            "invalid",
            "classes",
            "running",
            "unavailable",
            "used_by"
        ]
        .into_iter()
        .all(every),
        "{shapes:#}"
    );
    for user_shape in shapes[0]["used_by"].as_array().unwrap() {
        for (key, kind) in user.as_object().unwrap() {
            assert_eq!(&user_shape[key], kind, "{key}");
        }
        for key in ["via", "since", "idle"] {
            assert!(user_shape.get(key).is_some(), "{user_shape}");
        }
    }
    assert_eq!(view["images"][1]["classes"], json!(["runtime", "listed"]));
}

#[tokio::test]
async fn a_context_of_the_kubeconfig_is_a_source() {
    require_cluster!("docker-registry", "crane", "regctl");
    // Its own, since a context means every namespace, and those of others hold others' images.
    let cluster = Cluster::start().await;
    let namespace = cluster.new_namespace().await;
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    push_image(&clients, &format!("{host}/app:1"), "one").await;
    cluster
        .apply_yaml(
            &manifests(&host)
                .replace("shop", &namespace)
                .replace("office", &namespace),
        )
        .await;

    let home = tempfile::tempdir().unwrap();
    let kubeconfig = cluster.admin().kubeconfig;
    let with_cluster = async |arguments: &[&str]| {
        let mut command = daemon::command(home.path());
        command.env("KUBECONFIG", &kubeconfig).args(arguments);
        run_command(command, "").await
    };
    let verify = ["verify", "--plain-http", &host, "-o", "json"];
    for more in [&["--context", "test"][..], &[]] {
        // Without any, the current context, which is the same.
        let ended = with_cluster(&[&verify[..], more].concat()).await;
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.codes("/app:1").is_empty(), "{ended:?}");
        assert_eq!(ended.codes("/lost:1"), ["tag_missing"]);
        let clusters = ended.json()["images"][0]["used_by"][0]["cluster"].clone();
        assert_eq!(
            clusters,
            if more.is_empty() {
                Value::Null
            } else {
                json!("test")
            }
        );
    }
    let ended = with_cluster(&["inventory", "--context", "test"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stdout.contains("source test: complete, 3 uses"),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains(&format!(
            "test:{namespace}/Deployment/web (app, scaled to zero)"
        )),
        "{ended:?}"
    );

    let ended = with_cluster(&["verify", "--context", "nowhere"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("its contexts are: test"), "{ended:?}");
}

#[tokio::test]
async fn plain_http_is_spoken_only_to_the_host_that_is_said_to() {
    require!("docker-registry", "crane", "regctl");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let clients = Clients::of(&registry).await;
    let reference = format!("{}/app:1", registry.host());
    push_image(&clients, &reference, "one").await;
    let other = format!("127.0.0.1:{}", free_port());
    let ended = pullproof(&["verify", "--plain-http", &other, "-o", "json", &reference]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_eq!(ended.codes("/app:1"), ["tls"]);
    let ended = pullproof(&["verify", "--plain-http", &registry.host(), &reference]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}
