use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::inventory::{Class, ImageUse};

fn scope() -> Scope {
    Scope {
        cluster: None,
        class: Class::Runtime,
    }
}

fn read(objects: &[Value]) -> Vec<Workload> {
    let mut interner = Interner::default();
    objects
        .iter()
        .flat_map(|object| workloads(object.clone(), &mut interner).unwrap())
        .collect()
}

fn uses(objects: &[Value]) -> Vec<ImageUse> {
    let nobody = |_: &str, _: &str| Account::Known([].into());
    image_uses(read(objects).iter(), &scope(), nobody)
}

/// `Kind/name container image class [via]`
fn told(uses: &[ImageUse]) -> Vec<String> {
    uses.iter()
        .map(|image_use| {
            let by = &image_use.user;
            let via = by.via.as_ref().map(|via| format!(" {via}"));
            format!(
                "{}/{} {} {} {}{}",
                by.kind,
                by.name,
                by.container,
                by.image,
                by.class,
                via.unwrap_or_default()
            )
        })
        .collect()
}

fn pod_spec(image: &str) -> Value {
    json!({"containers": [{"name": "app", "image": image}]})
}

fn object(kind: &str, name: &str, image: &str) -> Value {
    json!({"kind": kind, "metadata": {"namespace": "shop", "name": name},
           "spec": {"template": {"spec": pod_spec(image)}}})
}

fn pod(name: &str, image: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": name}, "spec": pod_spec(image)})
}

fn owned(mut object: Value, api_version: &str, kind: &str, name: &str) -> Value {
    object["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "v1", "kind": "Other", "name": "not-the-controller"},
        {"apiVersion": api_version, "kind": kind, "name": name, "controller": true},
    ]);
    object
}

#[test]
fn every_kind_gives_its_images() {
    for kind in [
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "ReplicationController",
        "Job",
    ] {
        let expected = format!("{kind}/web app web:v1 runtime");
        assert_eq!(told(&uses(&[object(kind, "web", "web:v1")])), [expected]);
    }
    let metadata = json!({"namespace": "shop", "name": "x"});
    let cron_job = json!({"kind": "CronJob", "metadata": metadata, "spec": {"suspend": true,
        "jobTemplate": {"spec": {"template": {"spec": pod_spec("web:v1")}}}}});
    let pod_template = json!({"kind": "PodTemplate", "metadata": metadata, "template": {"spec": pod_spec("web:v1")}});
    assert_eq!(told(&uses(&[cron_job])), ["CronJob/x app web:v1 runtime"]);
    assert_eq!(
        told(&uses(&[pod_template])),
        ["PodTemplate/x app web:v1 runtime"]
    );
    assert_eq!(
        told(&uses(&[pod("x", "web:v1")])),
        ["Pod/x app web:v1 runtime"]
    );
}

#[test]
fn every_place_of_a_pod_that_names_an_image_is_read() {
    let mut pod = pod("x", "web:v1");
    pod["spec"]["initContainers"] = json!([{"name": "init", "image": "init:v1"}]);
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "debug:v1"}]);
    pod["spec"]["volumes"] = json!([
        {"name": "models", "image": {"reference": "models:v1", "pullPolicy": "Always"}},
        {"name": "tmp", "emptyDir": {}},
    ]);
    pod["spec"]["imagePullSecrets"] = json!([{"name": "one"}, {}, {"name": "two"}]);
    pod["spec"]["nodeSelector"] =
        json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64", "x": "y"});
    let uses = uses(&[pod]);
    assert_eq!(
        told(&uses),
        [
            "Pod/x app web:v1 runtime",
            "Pod/x debug debug:v1 runtime",
            "Pod/x init init:v1 runtime",
            "Pod/x volume:models models:v1 runtime",
        ]
    );
    for image_use in &uses {
        assert_eq!(*image_use.pull_secrets, ["one".into(), "two".into()]);
        assert_eq!(image_use.constraint.os.as_deref(), Some("linux"));
        assert_eq!(image_use.constraint.architecture.as_deref(), Some("arm64"));
    }
}

#[test]
fn a_malformed_image_stays_visible_as_it_was_written() {
    let mut object = object("Deployment", "web", "Web:V1");
    object["spec"]["template"]["spec"]["initContainers"] = json!([
        {"name": "empty", "image": ""},
        {"name": "missing"},
        {"name": "long", "image": "é".repeat(1 << 20)},
        {"image": "\"><script>"},
    ]);
    let uses = uses(&[object]);
    assert_eq!(uses.len(), 5);
    for image_use in &uses {
        assert!(image_use.reference.is_err(), "{image_use:?}");
        assert!(image_use.user.image.len() <= TEXT_BYTES_MAX + '…'.len_utf8());
    }
    let written: Vec<&str> = uses
        .iter()
        .map(|image_use| &*image_use.user.image)
        .collect();
    assert!(
        written.contains(&"Web:V1") && written.contains(&"\"><script>"),
        "{written:?}"
    );
}

#[test]
fn a_pod_is_its_top_owners() {
    let replica_set = owned(
        object("ReplicaSet", "web-1", "web:v1"),
        "apps/v1",
        "Deployment",
        "web",
    );
    let job = owned(
        object("Job", "nightly-1", "job:v1"),
        "batch/v1",
        "CronJob",
        "nightly",
    );
    let told = told(&uses(&[
        owned(
            pod("web-1-a", "injected:v1"),
            "apps/v1",
            "ReplicaSet",
            "web-1",
        ),
        owned(
            pod("web-1-b", "injected:v1"),
            "apps/v1",
            "ReplicaSet",
            "web-1",
        ),
        replica_set,
        owned(pod("nightly-1-a", "job:v1"), "batch/v1", "Job", "nightly-1"),
        job,
        owned(
            pod("gone-1-a", "gone:v1"),
            "apps/v1",
            "ReplicaSet",
            "gone-1",
        ),
        owned(
            pod("kafka-0", "kafka:v1"),
            "kafka.example/v1",
            "Kafka",
            "kafka",
        ),
        owned(
            pod("volcano-0", "volcano:v1"),
            "volcano.example/v1",
            "Job",
            "nightly-1",
        ),
        owned(
            pod("kube-apiserver-node-1", "apiserver:v1"),
            "v1",
            "Node",
            "node-1",
        ),
    ]));
    assert_eq!(
        told,
        [
            "CronJob/nightly app job:v1 runtime Job/nightly-1",
            "Deployment/web app injected:v1 runtime Pod/web-1-a",
            "Deployment/web app web:v1 rollback ReplicaSet/web-1",
            "Job/nightly-1 app volcano:v1 runtime Pod/volcano-0",
            "Kafka/kafka app kafka:v1 runtime Pod/kafka-0",
            "Pod/kube-apiserver-node-1 app apiserver:v1 runtime",
            "ReplicaSet/gone-1 app gone:v1 runtime Pod/gone-1-a",
        ]
    );
}

#[test]
fn history_is_the_workloads_rollback_and_what_it_still_names_is_not_repeated() {
    let revision = |name: &str, image: &str| {
        json!({"kind": "ControllerRevision", "metadata": {"namespace": "shop", "name": name},
            "data": {"spec": {"template": {"$patch": "replace", "spec": pod_spec(image)}}}})
    };
    let mut objects = vec![
        owned(
            object("ReplicaSet", "web-2", "web:v2"),
            "apps/v1",
            "Deployment",
            "web",
        ),
        owned(
            object("ReplicaSet", "web-1", "web:v1"),
            "apps/v1",
            "Deployment",
            "web",
        ),
        owned(
            object("ReplicaSet", "web-0", "web:v0"),
            "apps/v1",
            "Deployment",
            "web",
        ),
        owned(pod("web-1-a", "web:v1"), "apps/v1", "ReplicaSet", "web-1"),
        object("Deployment", "web", "web:v2"),
        owned(revision("db-1", "db:v1"), "apps/v1", "StatefulSet", "db"),
        owned(revision("db-2", "db:v2"), "apps/v1", "StatefulSet", "db"),
        object("StatefulSet", "db", "db:v2"),
        owned(
            object("ReplicaSet", "roll-1", "roll:v1"),
            "argoproj.io/v1alpha1",
            "Rollout",
            "roll",
        ),
    ];
    let expected = [
        "Deployment/web app web:v0 rollback ReplicaSet/web-0",
        "Deployment/web app web:v1 runtime Pod/web-1-a",
        "Deployment/web app web:v2 runtime",
        "Rollout/roll app roll:v1 runtime ReplicaSet/roll-1",
        "StatefulSet/db app db:v1 rollback ControllerRevision/db-1",
        "StatefulSet/db app db:v2 runtime",
    ];
    assert_eq!(told(&uses(&objects)), expected);
    objects.reverse();
    assert_eq!(told(&uses(&objects)), expected);
}

#[test]
fn what_nothing_runs_of_says_why() {
    let told = |kind: &str, more: Value| {
        let mut object = object(kind, "web", "a:1");
        if kind == "Pod" {
            object = pod("web", "a:1");
        }
        for part in ["spec", "status"] {
            for (key, value) in more[part].as_object().into_iter().flatten() {
                object[part][key] = value.clone();
            }
        }
        uses(&[object])[0].user.idle
    };
    for kind in [
        "Deployment",
        "StatefulSet",
        "ReplicaSet",
        "ReplicationController",
    ] {
        let zero = told(kind, json!({"spec": {"replicas": 0}}));
        assert_eq!(zero, Some(Idle::ScaledToZero), "{kind}");
        for some in [json!(1), json!(null), json!("0")] {
            let some = told(kind, json!({"spec": {"replicas": some}}));
            assert_eq!(some, None, "{kind}");
        }
    }
    let suspended = json!({"spec": {"suspend": true}});
    assert_eq!(told("CronJob", suspended.clone()), Some(Idle::Suspended));
    assert_eq!(told("Job", suspended), Some(Idle::Suspended));
    assert_eq!(told("Job", json!({"spec": {"suspend": false}})), None);
    for end in ["Complete", "Failed"] {
        let with = |status: &str| {
            json!({"status": {"conditions": [{"type": "Suspended", "status": "False"},
                                             {"type": end, "status": status}]}})
        };
        assert_eq!(told("Job", with("True")), Some(Idle::Done));
        assert_eq!(told("Job", with("False")), None);
    }
    assert_eq!(
        told("Pod", json!({"status": {"phase": "Succeeded"}})),
        Some(Idle::Done)
    );
    assert_eq!(told("Pod", json!({"status": {"phase": "Running"}})), None);
    assert_eq!(told("DaemonSet", json!({"spec": {"replicas": 0}})), None);
}

#[test]
fn since_is_when_the_first_of_its_templates_with_the_image_was_made() {
    let made = |mut object: Value, second: i64| {
        let at = Timestamp::from_second(second).unwrap();
        object["metadata"]["creationTimestamp"] = json!(at.to_string());
        object
    };
    let set = |name: &str, image: &str| {
        owned(
            object("ReplicaSet", name, image),
            "apps/v1",
            "Deployment",
            "web",
        )
    };
    let objects = [
        made(object("Deployment", "web", "a:3"), 100),
        made(set("web-1", "a:1"), 100),
        made(set("web-2", "a:2"), 200),
        // The same image in two templates.
        made(set("web-4", "a:3"), 400),
        made(set("web-3", "a:3"), 300),
        made(
            owned(pod("web-4-x", "a:3"), "apps/v1", "ReplicaSet", "web-4"),
            450,
        ),
        made(object("CronJob", "report", "r:1"), 500),
        made(
            owned(
                object("Job", "report-9", "r:1"),
                "batch/v1",
                "CronJob",
                "report",
            ),
            900,
        ),
        made(pod("alone", "p:1"), 600),
        pod("unknown", "u:1"),
    ];
    let since = |objects: &[Value]| {
        let uses = uses(objects).into_iter();
        let told = uses.map(|it| (it.user.image.to_string(), it.user.since.map(Second::get)));
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    };
    let expected = [
        ("a:1", Some(100)),
        ("a:2", Some(200)),
        ("a:3", Some(300)),
        ("p:1", Some(600)),
        ("r:1", Some(500)),
        ("u:1", None),
    ];
    let expected = expected.map(|(image, at)| (image.to_owned(), at));
    assert_eq!(since(&objects), expected);
    let backwards: Vec<Value> = objects.into_iter().rev().collect();
    assert_eq!(since(&backwards), expected);
}

#[test]
fn in_a_standby_cluster_runtime_is_failover_and_rollback_stays() {
    let objects = [
        object("Deployment", "web", "web:v2"),
        owned(
            object("ReplicaSet", "web-1", "web:v1"),
            "apps/v1",
            "Deployment",
            "web",
        ),
    ];
    let scope = Scope {
        cluster: Some("standby".into()),
        class: Class::Failover,
    };
    let nobody = |_: &str, _: &str| Account::Known([].into());
    let uses = image_uses(read(&objects).iter(), &scope, nobody);
    let classes: Vec<Class> = uses.iter().map(|image_use| image_use.user.class).collect();
    assert_eq!(classes, [Class::Rollback, Class::Failover]);
    assert_eq!(uses[0].user.cluster.as_deref(), Some("standby"));
}

#[test]
fn an_accounts_secrets_are_for_templates_without_their_own() {
    let mut own = object("Deployment", "own", "web:v1");
    own["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "mine"}]);
    let mut named = object("Deployment", "named", "web:v1");
    named["spec"]["template"]["spec"]["serviceAccountName"] = json!("robot");
    let objects = [
        own,
        named,
        object("Deployment", "plain", "web:v1"),
        pod("bare", "web:v1"),
    ];
    let secrets = |account: &dyn Fn(&str, &str) -> Account| -> Vec<String> {
        image_uses(read(&objects).iter(), &scope(), account)
            .iter()
            .map(|image_use| {
                format!(
                    "{} {}",
                    image_use.user.name,
                    image_use.pull_secrets.join(",")
                )
            })
            .collect()
    };
    let known = |namespace: &str, name: &str| {
        assert_eq!(namespace, "shop");
        Account::Known([format!("of-{name}").into()].into())
    };
    assert_eq!(
        secrets(&known),
        ["named of-robot", "own mine", "plain of-default", "bare "]
    );
    let unknown = |_: &str, name: &str| Account::Unknown(format!("serviceaccount:{name}").into());
    assert_eq!(
        secrets(&unknown),
        [
            "named serviceaccount:robot",
            "own mine",
            "plain serviceaccount:default",
            "bare "
        ]
    );
}

#[test]
fn a_pod_tells_the_secrets_of_an_account_that_cannot_be_read() {
    let mut pod = owned(pod("web-1-a", "web:v1"), "apps/v1", "ReplicaSet", "web-1");
    pod["spec"]["imagePullSecrets"] = json!([{"name": "injected"}]);
    let objects = [
        pod,
        owned(
            object("ReplicaSet", "web-1", "web:v1"),
            "apps/v1",
            "Deployment",
            "web",
        ),
        object("Deployment", "web", "web:v1"),
    ];
    let unknown = |_: &str, name: &str| Account::Unknown(format!("serviceaccount:{name}").into());
    let mut workloads = read(&objects);
    for _ in 0..2 {
        let uses = image_uses(workloads.iter(), &scope(), unknown);
        assert_eq!(told(&uses), ["Deployment/web app web:v1 runtime"]);
        assert_eq!(*uses[0].pull_secrets, ["injected".into()]);
        workloads.reverse();
    }
}

#[test]
fn lists_are_opened_and_unknown_kinds_count_when_they_have_a_pod_template() {
    let rollout = object("Rollout", "roll", "roll:v1");
    let service = json!({"kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": []}});
    let odd = json!({"kind": "Odd", "metadata": {"name": "o"}, "spec": {"volumes": "none",
        "template": {"spec": pod_spec("odd:v1")}}, "data": 5});
    let mut without_kind = object("", "web", "web:v1");
    without_kind.as_object_mut().unwrap().remove("kind");
    let typed = json!({"kind": "DeploymentList", "items": [without_kind]});
    let list = json!({"kind": "List", "items": [rollout, service, odd, typed, {"values": 1}]});
    assert_eq!(
        told(&uses(&[list])),
        [
            "Odd/o app odd:v1 runtime",
            "Deployment/web app web:v1 runtime",
            "Rollout/roll app roll:v1 runtime",
        ]
    );
    let mut deep = json!({"kind": "List", "items": []});
    for _ in 0..5 {
        deep = json!({"kind": "List", "items": [deep]});
    }
    assert!(workloads(deep, &mut Interner::default()).is_err());
    let broken = json!({"kind": "Pod", "spec": {"containers": "app"}});
    assert!(workloads(broken, &mut Interner::default()).is_err());
}

#[test]
fn nulls_are_as_absent() {
    let pod = json!({"kind": "Pod", "metadata": {"name": "x", "ownerReferences": null},
        "spec": {"containers": null, "volumes": null, "nodeSelector": null, "imagePullSecrets": null}});
    assert!(
        uses(&[
            pod,
            json!({"kind": "Deployment", "metadata": null, "spec": null})
        ])
        .is_empty()
    );
}

#[test]
fn what_nobody_uses_is_forgotten() {
    let mut interner = Interner::default();
    let kept = workloads(object("Deployment", "kept", "kept:v1"), &mut interner).unwrap();
    let weak = {
        let gone = workloads(object("Deployment", "gone", "gone:v1"), &mut interner).unwrap();
        Arc::downgrade(&gone[0].images)
    };
    for index in 0..5000 {
        interner.text(&index.to_string());
    }
    interner.prune();
    assert!(weak.upgrade().is_none());
    let again = workloads(object("Deployment", "kept", "kept:v1"), &mut interner).unwrap();
    assert!(Arc::ptr_eq(&kept[0].images, &again[0].images));
}

proptest! {
    #[test]
    fn hostile_objects_never_panic(kind in "Pod|Deployment|List|PodList|.{0,8}", image in ".{0,40}", name in ".{0,20}") {
        let mut interner = Interner::default();
        for object in [object(&kind, &name, &image), pod(&name, &image), json!({"kind": kind, "items": [name, image]})] {
            if let Ok(workloads) = workloads(object, &mut interner) {
                let unknown = |_: &str, name: &str| Account::Unknown(name.into());
                prop_assert!(image_uses(workloads.iter(), &scope(), unknown).len() <= 1);
            }
        }
    }
}

#[test]
fn only_the_top_owner_itself_and_as_it_is_now_says_something_of_alerts() {
    let annotated = |mut object: Value| {
        object["metadata"]["annotations"] = json!({"pullproof.dev/ignore": "moving"});
        object
    };
    let rollout = object("Rollout", "web", "a:1");
    let below = annotated(object("Deployment", "web", "a:1"));
    let of_rollout = owned(below, "argoproj.io/v1alpha1", "Rollout", "web");
    let plain = annotated(object("Deployment", "plain", "a:1"));
    let read = read(&[rollout, of_rollout, plain]);
    let [rollout, of_rollout, plain] = read.as_slice() else {
        panic!("{read:?}");
    };
    let names = |all: &[(Origin<'_>, &Workload)]| -> Vec<String> {
        let marked = marked(all.iter().copied(), &scope());
        marked.iter().map(|it| it.owner.name.to_string()).collect()
    };
    assert_eq!(names(&[(Origin::Kubernetes, plain)]), ["plain"]);
    // What a release once was says nothing of now.
    assert!(names(&[(Origin::History(None), plain)]).is_empty());
    // Whose people look for the custom resource, say it there.
    let both = [(Origin::Custom, rollout), (Origin::Kubernetes, of_rollout)];
    assert!(names(&both).is_empty());
    assert_eq!(names(&[(Origin::Kubernetes, of_rollout)]), ["web"]);
}
