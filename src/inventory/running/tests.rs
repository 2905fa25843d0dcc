use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::inventory::Class;
use crate::inventory::extract::{self, Account, Interner, Origin, Scope, Workload, image_uses};
use crate::oci::digest::Digest;

fn digest(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

#[test]
fn every_form_of_an_image_id_is_read() {
    let one = digest("one");
    let hex = one.hex();
    let read = |text: String, named: &str| {
        ImageId::of(&text, Some(&named.parse().unwrap())).map(|id| (id.digest, id.place))
    };
    for (text, named, place) in [
        (
            format!("docker-pullable://r.example/app@{one}"),
            "r.example/app:1",
            Place::Named,
        ),
        (
            format!("docker-pullable://nginx@{one}"),
            "nginx",
            Place::Named,
        ),
        (
            format!("docker.io/library/nginx@{one}"),
            "nginx:1.27",
            Place::Named,
        ),
        (
            format!("r.example:5000/a/b@{one}"),
            "r.example:5000/a/b",
            Place::Named,
        ),
        (
            format!("r.example/app:1@{one}"),
            "r.example/app:1",
            Place::Named,
        ),
        (
            format!("r.example/other@{one}"),
            "r.example/app:1",
            Place::Other,
        ),
        (
            format!("docker.io/library/import-2026-01-01@{one}"),
            "app:1",
            Place::Other,
        ),
        (format!("NOT A NAME@{one}"), "app:1", Place::Other),
        (format!("docker://{one}"), "app:1", Place::Nowhere),
        (one.to_string(), "app:1", Place::Nowhere),
        (hex.clone(), "app:1", Place::Nowhere),
    ] {
        assert_eq!(read(text.clone(), named), Some((one, place)), "{text}");
    }
    for text in [
        String::new(),
        "docker://".to_owned(),
        "r.example/app:1".to_owned(),
        hex[1..].to_owned(),
        hex.to_uppercase(),
        format!("r.example/app@sha512:{}", "0".repeat(128)),
        format!("{}@{one}", "a".repeat(2000)),
    ] {
        assert_eq!(read(text.clone(), "r.example/app:1"), None, "{text}");
    }
    // What names no image names no repository.
    let id = ImageId::of(&format!("r.example/app@{one}"), None);
    assert_eq!(id.map(|id| id.place), Some(Place::Other));
}

#[test]
fn a_nodes_own_reasons_are_told_from_the_registrys() {
    for (reason, message, blame) in [
        (
            "ErrImagePull",
            "rpc error: code = NotFound desc = failed to pull and unpack image \"r.example/app:1\": r.example/app:1: not found",
            Blame::Registry,
        ),
        (
            "ErrImagePull",
            "rpc error: 401 Unauthorized",
            Blame::Registry,
        ),
        (
            "ErrImagePull",
            "write /var/lib/containerd/x: no space left on device",
            Blame::Node,
        ),
        (
            "ErrImagePull",
            "failed to resolve image: no match for platform in manifest: not found",
            Blame::Node,
        ),
        (
            "ErrImagePull",
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            Blame::Node,
        ),
        ("ErrImagePull", "pull QPS exceeded", Blame::Node),
        (
            "ImagePullBackOff",
            "Back-off pulling image \"r.example/app:1\"",
            Blame::Untold,
        ),
        (
            "ImagePullBackOff",
            "Back-off pulling image \"r.example/app:1\": ErrImagePull: 404 Not Found",
            Blame::Registry,
        ),
        (
            "ImagePullBackOff",
            "Back-off pulling image \"r.example/app:1\": ErrImagePull: disk quota exceeded",
            Blame::Node,
        ),
        (
            "RegistryUnavailable",
            "r.example is not available",
            Blame::Registry,
        ),
        (
            "InvalidImageName",
            "couldn't parse image name",
            Blame::Registry,
        ),
        (
            "ErrImageNeverPull",
            "Container image \"app:1\" is not present with pull policy of Never",
            Blame::Node,
        ),
        ("SignatureValidationFailed", "policy", Blame::Node),
    ] {
        let refusal = Refusal {
            reason: Reason::of(reason).unwrap(),
            message: message.into(),
        };
        assert_eq!(refusal.blame(), blame, "{reason} {message}");
        assert_eq!(refusal.reason.to_string(), reason);
    }
    assert_eq!(Reason::of("ContainerCreating"), None);
    let long = refusal::told(&format!(" a\nb{}", "é".repeat(1000)));
    assert!(long.starts_with("a b") && long.ends_with('…'), "{long}");
    assert_eq!(long.chars().count(), 301);
}

fn pod(name: &str, replica_set: Option<&str>, statuses: &[Value]) -> Value {
    let owners = replica_set.map(|name| {
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "controller": true}])
    });
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "ownerReferences": owners},
        "spec": {
            "containers": [{"name": "app", "image": "r.example/app:1"}, {"name": "side", "image": "side:1"}],
            "initContainers": [{"name": "init", "image": "r.example/init:1"}],
            "ephemeralContainers": [{"name": "debug", "image": "debug"}]},
        "status": {"containerStatuses": statuses}})
}

fn replica_set(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": "shop", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": true}]},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [
            {"name": "app", "image": "r.example/app:1"}, {"name": "side", "image": "side:1"}]}}}})
}

fn runs(container: &str, id: &str) -> Value {
    json!({"name": container, "imageID": id, "image": "whatever", "state": {"running": {"startedAt": "2026-08-01T00:00:00Z"}}})
}

fn read(objects: &[Value], interner: &mut Interner) -> Vec<Workload> {
    let read = |object: &Value| extract::workloads(object.clone(), interner).unwrap();
    objects.iter().flat_map(read).collect()
}

fn told(objects: &[Value]) -> Vec<Arc<RunningUse>> {
    let workloads = read(objects, &mut Interner::default());
    let scope = Scope {
        cluster: Some("prod".into()),
        class: Class::Runtime,
    };
    let uses = image_uses(workloads.iter(), &scope, |_, _| Account::Known([].into()));
    let origin = |workload| (Origin::Kubernetes, workload);
    let running = running_uses(workloads.iter().map(origin), &uses, &Words::default());
    let users = running.iter().map(|of_use| &of_use.user);
    assert!(users.clone().is_sorted());
    assert!(
        users
            .clone()
            .all(|user| uses.iter().any(|one| one.user == *user))
    );
    running
}

#[test]
fn what_pods_run_is_told_of_the_workloads_use() {
    let [one, two, three] = ["one", "two", "three"].map(digest);
    let at = |digest: Digest| format!("r.example/app@{digest}");
    let running = told(&[
        pod("web-a-1", Some("web-a"), &[runs("app", &at(one))]),
        pod(
            "web-a-2",
            Some("web-a"),
            &[runs("app", &at(two)), runs("side", &three.to_string())],
        ),
        pod("web-b-1", Some("web-b"), &[runs("app", &at(one))]),
        pod(
            "lone",
            None,
            &[runs("app", &at(one)), runs("nobody", &at(one))],
        ),
        replica_set("web-a"),
        replica_set("web-b"),
    ]);
    let running: Vec<_> = running
        .iter()
        .map(|of_use| {
            let running = of_use.running.iter().map(|one| (one.id.digest, &*one.by));
            let user = &of_use.user;
            assert_eq!(user.cluster.as_deref(), Some("prod"));
            let owner = format!("{}/{} {}", user.kind, user.name, user.container);
            (owner, running.collect::<Vec<_>>())
        })
        .collect();
    let mut of_web = vec![
        (one, "ReplicaSet/web-a"),
        (one, "ReplicaSet/web-b"),
        (two, "ReplicaSet/web-a"),
    ];
    of_web.sort_unstable();
    assert_eq!(
        running,
        [
            ("Deployment/web app".to_owned(), of_web),
            (
                "Deployment/web side".to_owned(),
                vec![(three, "ReplicaSet/web-a")]
            ),
            ("Pod/lone app".to_owned(), vec![(one, "Pod/lone")]),
        ]
    );
}

#[test]
fn only_what_runs_or_will_again_or_waits_for_its_image_says_something() {
    let id = digest("one").to_string();
    let ended = json!({"name": "app", "imageID": id, "state": {"terminated": {"exitCode": 0}}});
    let running = |pod: &Value| told(std::slice::from_ref(pod)).len();
    let creating = json!({"name": "app", "imageID": "", "state": {"waiting": {"reason": "ContainerCreating"}}});
    let crashed =
        json!({"name": "app", "imageID": id, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    let silent = json!({"name": "app", "imageID": null, "state": null});
    let loaded = runs("app", "");
    for status in [&creating, &silent, &loaded] {
        let pod = pod("lone", None, std::slice::from_ref(status));
        assert_eq!(running(&pod), 0, "{status}");
    }
    // One that crashes over and over is either the one or the other when one looks.
    for status in [&ended, &crashed] {
        let mut pod = pod("lone", None, std::slice::from_ref(status));
        assert_eq!(running(&pod), 1, "{status}");
        // An init container that has ended, as it should.
        let mut init = pod.clone();
        init["status"]["containerStatuses"] = json!([]);
        init["status"]["initContainerStatuses"] = json!([ended.clone()]);
        assert_eq!(running(&init), 0);
        pod["status"]["phase"] = json!("Succeeded");
        assert_eq!(running(&pod), 0, "{status}");
    }
    // In all places where a Pod has containers.
    let mut everywhere = pod("lone", None, &[runs("app", &id)]);
    everywhere["status"]["initContainerStatuses"] = json!([runs("init", &id)]);
    everywhere["status"]["ephemeralContainerStatuses"] = json!([runs("debug", &id)]);
    let names: Vec<_> = told(&[everywhere])
        .iter()
        .map(|one| one.user.container.to_string())
        .collect();
    assert_eq!(names, ["app", "debug", "init"]);
    // Another kind's status of this name is not a Pod's.
    let mut set = replica_set("web-a");
    set["status"] = json!({"containerStatuses": [runs("app", &id)]});
    assert!(told(&[set]).is_empty());
}

#[test]
fn of_several_refusals_the_one_that_says_most_is_told() {
    let waits = |reason: &str, message: &str| json!({"name": "app", "imageID": "", "state": {"waiting": {"reason": reason, "message": message}}});
    let back_off = pod(
        "a",
        Some("web-a"),
        &[waits("ImagePullBackOff", "Back-off pulling image \"x\"")],
    );
    let full = pod(
        "b",
        Some("web-a"),
        &[waits("ErrImagePull", "no space left on device")],
    );
    let missing = pod(
        "c",
        Some("web-a"),
        &[waits("ErrImagePull", "404 Not Found")],
    );
    for pods in [
        [back_off.clone(), full.clone(), missing.clone()],
        [missing.clone(), back_off.clone(), full.clone()],
        [full, missing, back_off],
    ] {
        let told = told(&[&pods[..], &[replica_set("web-a")]].concat());
        assert_eq!(told.len(), 1);
        let refusal = told[0].refusal.as_deref().unwrap();
        assert_eq!(&*refusal.message, "404 Not Found");
    }
}

#[test]
fn pods_that_say_the_same_share_it() {
    let id = digest("one").to_string();
    let mut interner = Interner::default();
    let pods: Vec<_> = (0..100)
        .map(|number| pod(&format!("web-{number}"), Some("web-a"), &[runs("app", &id)]))
        .collect();
    let pods = read(&pods, &mut interner);
    let first = pods[0].status.clone().unwrap();
    let is_shared = |pod: &Workload| Arc::ptr_eq(pod.status.as_ref().unwrap(), &first);
    assert!(pods.iter().all(is_shared));
    assert_eq!(size_of::<Option<Arc<PodStatus>>>(), 8);
}
