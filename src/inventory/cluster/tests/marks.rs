//! What people say of alerts: read with the workloads, and never a part of what is kept.

use super::*;
use crate::inventory::marks::AllMarks;

const NAMESPACES: &str = "/api/v1/namespaces";

fn labels() -> ClusterOptions {
    let chosen = |key: &str, name: &str| Chosen {
        key: key.into(),
        name: name.into(),
    };
    ClusterOptions {
        labels: [
            chosen("team", "team"),
            chosen("app.kubernetes.io/part-of", "app_kubernetes_io_part_of"),
        ]
        .into(),
        ..options()
    }
}

fn with(mut object: Value, metadata: &Value) -> Value {
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    object
}

fn ignoring(object: Value, reason: &str) -> Value {
    with(
        object,
        &json!({"annotations": {"pullproof.dev/ignore": reason, "other": "x"}}),
    )
}

fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "1"}})
}

fn owned(object: Value, kind: &str, name: &str) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "controller": true});
    with(object, &json!({"ownerReferences": [owner]}))
}

/// Of each workload: `Kind/name`, why it is silenced, and its labels.
fn said(state: &SourceState) -> Vec<String> {
    let marks: AllMarks = [state.marks.clone()].into_iter().collect();
    let mut said: Vec<String> = state
        .uses
        .iter()
        .map(|it| {
            let of = marks.of(&it.user);
            let ignored = of.ignored().map_or("-", |reason| &**reason);
            let labels = of.labels().map(|(name, value)| format!(" {name}={value}"));
            let labels: String = labels.collect();
            format!("{}/{} {ignored}{labels}", it.user.kind, it.user.name)
        })
        .collect();
    said.dedup();
    said
}

#[tokio::test(start_paused = true)]
async fn the_top_owners_word_counts_and_its_namespaces_behind_it() {
    let server = Server::default();
    let deployment = |name: &str| object(name, "1", &format!("{name}:v1"));
    server.set(
        DEPLOYMENTS,
        vec![
            ignoring(deployment("silenced"), " moving \n"),
            ignoring(deployment("unsaid"), "  "),
            with(
                deployment("labelled"),
                &json!({"labels": {"team": "web", "app.kubernetes.io/part-of": "shop", "app": "x"}}),
            ),
            // No label at all to Prometheus.
            with(deployment("blank"), &json!({"labels": {"team": ""}})),
            deployment("plain"),
        ],
    );
    // Annotations are copied to what a Deployment owns, and stay there: they are not its word.
    server.set(
        "/apis/apps/v1/replicasets",
        vec![ignoring(
            owned(object("plain-1", "1", "plain:v0"), "Deployment", "plain"),
            "copied",
        )],
    );
    server.set(
        PODS,
        vec![
            ignoring(pod("bare", "bare:v1"), "only tried"),
            ignoring(
                owned(pod("plain-1-x", "plain:v1"), "ReplicaSet", "plain-1"),
                "copied",
            ),
        ],
    );
    server.set(
        NAMESPACES,
        vec![
            with(
                namespace("shop"),
                &json!({"labels": {"team": "shop"}, "annotations": {"pullproof.dev/ignore": ""}}),
            ),
            ignoring(namespace("crm"), "another's"),
        ],
    );
    let state = source(&server, labels())
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(state.incomplete, None);
    assert_eq!(
        said(&state),
        [
            "Deployment/blank - team=shop",
            "Deployment/labelled - team=web app_kubernetes_io_part_of=shop",
            "Deployment/plain - team=shop",
            "Deployment/silenced moving team=shop",
            "Deployment/unsaid - team=shop",
            "Pod/bare only tried team=shop",
        ]
    );
    assert_eq!(
        state.absent,
        [
            "a reason in pullproof.dev/ignore of Namespace shop and 1 more: it silences nothing until it says why"
        ]
    );
    // Nothing else hangs on it: the uses are those of a cluster where nobody says anything.
    let silent = Server::default();
    silent.set(
        DEPLOYMENTS,
        ["silenced", "unsaid", "labelled", "blank", "plain"]
            .map(deployment)
            .to_vec(),
    );
    let set = [owned(
        object("plain-1", "1", "plain:v0"),
        "Deployment",
        "plain",
    )];
    silent.set("/apis/apps/v1/replicasets", set.to_vec());
    let pods = [
        pod("bare", "bare:v1"),
        owned(pod("plain-1-x", "plain:v1"), "ReplicaSet", "plain-1"),
    ];
    silent.set(PODS, pods.to_vec());
    assert_eq!(read(&silent).await.uses, state.uses);
}

#[tokio::test(start_paused = true)]
async fn an_annotation_that_comes_or_goes_is_published_at_once() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["api", "web"]));
    server.set(NAMESPACES, vec![namespace("shop")]);
    let running = run(&server, options());
    let before = running.until_complete().await;
    assert_eq!(said(&before), ["Deployment/api -", "Deployment/web -"]);
    let begun = Instant::now();
    let web = |version: &str| object("web", version, "web:v1");
    let shop = |version: &str| with(namespace("shop"), &json!({"resourceVersion": version}));
    for (path, object, expected) in [
        (
            DEPLOYMENTS,
            ignoring(web("1001"), "moving"),
            ["-", "moving"],
        ),
        (
            NAMESPACES,
            ignoring(shop("1002"), "freeze"),
            ["freeze", "moving"],
        ),
        (DEPLOYMENTS, web("1003"), ["freeze", "freeze"]),
        (NAMESPACES, shop("1004"), ["-", "-"]),
    ] {
        server.emit(path, &event("MODIFIED", &object));
        let [api, web] = expected;
        let expected = [
            format!("Deployment/api {api}"),
            format!("Deployment/web {web}"),
        ];
        let state = running.until(|state| said(state) == expected).await;
        assert!(Arc::ptr_eq(&state.uses, &before.uses));
        assert_eq!(state.incomplete, None);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    // A namespace that is gone says nothing more.
    server.emit(
        NAMESPACES,
        &event("MODIFIED", &ignoring(shop("1005"), "freeze")),
    );
    running
        .until(|state| said(state)[0].contains("freeze"))
        .await;
    server.emit(NAMESPACES, &event("DELETED", &shop("1006")));
    running.until(|state| said(state)[0].ends_with('-')).await;
}

#[tokio::test(start_paused = true)]
async fn namespaces_that_cannot_be_read_are_told_and_make_nothing_incomplete() {
    for (answer, told) in [
        (
            Answer::Status(403, "namespaces is forbidden: not for you"),
            "namespaces is forbidden: not for you",
        ),
        (Answer::Status(500, "boom"), "namespaces: boom"),
    ] {
        let server = Server::default();
        server.set(
            DEPLOYMENTS,
            vec![ignoring(object("web", "1", "web:v1"), "mine")],
        );
        server.always(NAMESPACES, answer);
        let state = read(&server).await;
        assert_eq!(state.incomplete, None, "{told}");
        assert_eq!(state.complete_at, Some(Timestamp::UNIX_EPOCH), "{told}");
        assert_eq!(state.absent, [told]);
        assert_eq!(said(&state), ["Deployment/web mine"], "{told}");
    }
    // Those of a source of some namespaces stand nowhere else either.
    let server = Server::default();
    server.set(NAMESPACES, vec![ignoring(namespace("shop"), "freeze")]);
    let path = "/apis/apps/v1/namespaces/shop/deployments";
    server.set(path, deployments(&["web"]));
    let options = ClusterOptions {
        namespaces: vec!["shop".to_owned()],
        ..options()
    };
    let state = source(&server, options)
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(said(&state), ["Deployment/web freeze"]);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_lost_silences_nothing_any_more() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    server.set(NAMESPACES, vec![ignoring(namespace("shop"), "freeze")]);
    let running = run(&server, options());
    running
        .until(|state| said(state) == ["Deployment/web freeze"])
        .await;
    let refused = || Answer::Status(403, "namespaces is forbidden: revoked");
    server.always(NAMESPACES, refused());
    server.always("/api/v1/namespaces?watch", refused());
    sleep(Duration::from_secs(30)).await;
    server.close(NAMESPACES);
    let state = running
        .until(|state| said(state) == ["Deployment/web -"])
        .await;
    assert_eq!(state.incomplete, None);
    assert_eq!(state.absent, ["namespaces is forbidden: revoked"]);
}
