use serde_json::json;

use super::*;
use crate::inventory::extract::{Account, Origin, Scope, Tally, image_uses_of};
use crate::inventory::{Class, ImageUse};

fn resource(kind: &str, pod_template: Option<&str>, images: &[&str]) -> CustomResource {
    let parse = |path: &str| path.parse().unwrap();
    CustomResource {
        group: "x.example".to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        pod_template: pod_template.map(parse),
        images: images.iter().map(|path| parse(path)).collect(),
        pull_secrets: Vec::new(),
        may_be_empty: false,
    }
}

fn object(name: &str, spec: Value) -> Value {
    let mut object = json!({"metadata": {"namespace": "shop", "name": name}});
    object["spec"] = spec;
    object
}

fn owned(mut object: Value, api_version: &str, kind: &str, name: &str) -> Value {
    object["metadata"]["ownerReferences"] =
        json!([{"apiVersion": api_version, "kind": kind, "name": name, "controller": true}]);
    object
}

fn pod_template(image: &str) -> Value {
    json!({"spec": {"containers": [{"name": "app", "image": image}]}})
}

fn images(extracted: &Extracted) -> Vec<String> {
    let workloads = extracted.workloads.iter();
    workloads
        .flat_map(|workload| workload.images.containers.iter())
        .map(|container| format!("{} {}", container.container, container.image))
        .collect()
}

#[track_caller]
fn check(resource: &CustomResource, object: &Value, expected: &[&str], problem: Option<&str>) {
    let extracted = resource.extract(object, &mut Interner::default());
    assert_eq!(images(&extracted), expected);
    assert_eq!(extracted.problem.as_deref(), problem);
}

#[test]
fn a_pod_template_is_read_like_a_deployments() {
    let rollout = resource("Rollout", Some(".spec.template"), &[]);
    check(
        &rollout,
        &object("web", json!({"template": pod_template("web:v1")})),
        &["app web:v1"],
        None,
    );
    // It refers to a Deployment's.
    let refers = object("web", json!({"workloadRef": {"name": "web"}}));
    check(&rollout, &refers, &[], None);
    let revision = resource("Revision", Some(".spec"), &[]);
    let spec = json!({"containers": [{"name": "app", "image": "web:v1"}]});
    check(&revision, &object("web-1", spec), &["app web:v1"], None);
    let many = resource("Many", Some(".spec.roles[*].template"), &[]);
    let roles = json!({"roles": [{"template": pod_template("a:1")}, {}, {"template": pod_template("b:1")}]});
    check(&many, &object("m", roles), &["app a:1", "app b:1"], None);
}

#[test]
fn what_does_not_fit_is_told_by_object_and_place_and_the_rest_counts() {
    let rollout = resource("Rollout", Some(".spec.template"), &[".spec.extra[*].image"]);
    let told = |spec: Value, expected: &[&str], problem: &str| {
        let problem = format!("Rollout shop/web: {problem}");
        check(&rollout, &object("web", spec), expected, Some(&problem));
    };
    told(Value::Null, &[], ".spec: it is missing");
    told(json!("x"), &[], ".spec: it is not a map");
    told(
        json!({"template": {}}),
        &[],
        ".spec.template: it is not a pod template: it has no spec",
    );
    told(
        json!({"template": {"spec": {"containers": "app"}}}),
        &[],
        ".spec.template: it is a pod template that cannot be read: invalid type: string \\\"app\\\", expected a sequence",
    );
    told(
        json!({"template": pod_template("web:v1"), "extra": {"image": "x"}}),
        &["app web:v1"],
        ".spec.extra: it is not a list",
    );
    told(
        json!({"template": pod_template("web:v1"), "extra": [{"image": {"name": "x"}}, {"image": "y:1"}]}),
        &["app web:v1", "spec.extra[1].image y:1"],
        ".spec.extra[0].image: it is not text",
    );
    let unreadable = rollout.extract(&json!({"metadata": {"name": 5}}), &mut Interner::default());
    assert!(
        unreadable
            .problem
            .unwrap()
            .starts_with("a Rollout whose metadata cannot be read")
    );
}

#[test]
fn images_outside_templates_have_the_pull_secrets_that_are_named_beside_them() {
    let mut machine = resource(
        "VirtualMachine",
        None,
        &[".spec.volumes[*].containerDisk?.image"],
    );
    machine.pull_secrets = vec![
        ".spec.volumes[*].containerDisk?.imagePullSecret"
            .parse()
            .unwrap(),
    ];
    let spec = json!({"volumes": [{"name": "a", "containerDisk": {"image": "disk:1", "imagePullSecret": "regcred"}},
        {"name": "b", "emptyDisk": {}}, {"name": "c", "containerDisk": {"image": ""}}]});
    let extracted = machine.extract(&object("vm", spec), &mut Interner::default());
    assert_eq!(
        images(&extracted),
        ["spec.volumes[0].containerDisk.image disk:1"]
    );
    assert_eq!(
        *extracted.workloads[0].images.pull_secrets,
        ["regcred".into()]
    );
    assert_eq!(extracted.problem, None);
    // What is filled in at run time is no image yet.
    let task = resource("Task", None, &[".spec.steps[*].image"]);
    let spec = json!({"steps": [{"image": "$(params.builder)"}, {"ref": {"name": "x"}}, {"image": "go:1"}]});
    check(
        &task,
        &object("t", spec),
        &["spec.steps[2].image go:1"],
        None,
    );
}

#[test]
fn a_path_that_leads_to_nothing_in_any_object_is_told() {
    let many = resource(
        "Many",
        Some(".spec.template"),
        &[".spec.list[*].image", ".spec.extra"],
    );
    let problem = |resource: &CustomResource, specs: &[Value]| {
        let mut tally = Tally::default();
        for spec in specs {
            let object = object("m", spec.clone());
            let extracted = resource.extract(&object, &mut Interner::default());
            tally.add(extracted.hits);
        }
        let told = tally.problem(resource, "manies.x.example");
        told.map(|it| it.split("; ").next().unwrap().to_owned())
    };
    let whole =
        json!({"template": pod_template("a:1"), "list": [{"image": "$(x)"}], "extra": "b:1"});
    let of = |key: &str| json!({key: whole[key]});
    assert_eq!(problem(&many, &[]), None);
    assert_eq!(problem(&many, &[whole.clone(), json!({})]), None);
    // Each in an object of its own.
    let each = [of("template"), of("list"), of("extra")];
    assert_eq!(problem(&many, &each), None);
    let template = "manies.x.example: .spec.template leads to nothing in any of its 2 objects";
    assert_eq!(problem(&many, &each[1..]).as_deref(), Some(template));
    let others = "manies.x.example: .spec.list[*].image (and 1 more of its paths) leads to nothing in its only object";
    assert_eq!(problem(&many, &each[..1]).as_deref(), Some(others));
    let refers = json!({"workloadRef": {"name": "x"}, "list": whole["list"], "extra": "b:1"});
    assert_eq!(problem(&many, &[refers]), None);
    let mut may_be_empty = many;
    may_be_empty.may_be_empty = true;
    assert_eq!(problem(&may_be_empty, &each[1..]), None);
}

/// `Kind/name image class [via]`
fn told(customs: &[(&CustomResource, Value)], natives: &[Value]) -> Vec<String> {
    let mut interner = Interner::default();
    let customs: Vec<Workload> = customs
        .iter()
        .flat_map(|(resource, object)| resource.extract(object, &mut interner).workloads)
        .collect();
    let natives: Vec<Workload> = natives
        .iter()
        .flat_map(|object| super::super::workloads(object.clone(), &mut interner).unwrap())
        .collect();
    let all = natives.iter().map(|it| (Origin::Kubernetes, it));
    let all = all.chain(customs.iter().map(|it| (Origin::Custom, it)));
    let scope = Scope {
        cluster: None,
        class: Class::Runtime,
    };
    let uses = image_uses_of(all, &scope, |_, _| Account::Known([].into()));
    let line = |it: &ImageUse| {
        let by = &it.user;
        let via = by.via.as_ref().map(|via| format!(" {via}"));
        let via = via.unwrap_or_default();
        format!("{}/{} {} {}{via}", by.kind, by.name, by.image, by.class)
    };
    uses.iter().map(line).collect()
}

fn native(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = object(name, spec);
    object["kind"] = json!(kind);
    object
}

#[test]
fn history_is_the_rollouts_where_its_template_is_read() {
    let rollout = resource("Rollout", Some(".spec.template"), &[]);
    let replica_set = |name: &str, image: &str| {
        let set = native("ReplicaSet", name, json!({"template": pod_template(image)}));
        owned(set, "x.example/v1", "Rollout", "web")
    };
    let pod = native("Pod", "web-1-a", pod_template("web:v1")["spec"].clone());
    let natives = [
        owned(pod, "apps/v1", "ReplicaSet", "web-1"),
        replica_set("web-0", "web:v0"),
        replica_set("web-1", "web:v1"),
        replica_set("web-2", "web:v2"),
    ];
    let spec = json!({"template": pod_template("web:v2")});
    assert_eq!(
        told(&[(&rollout, object("web", spec))], &natives),
        [
            "Rollout/web web:v0 rollback ReplicaSet/web-0",
            "Rollout/web web:v1 runtime Pod/web-1-a",
            "Rollout/web web:v2 runtime",
        ]
    );
    // One that leaves its template elsewhere does not tell which of them it runs.
    let spec = json!({"workloadRef": {"name": "web"}});
    let told = told(&[(&rollout, object("web", spec))], &natives);
    assert!(told.iter().all(|line| line.contains("runtime")), "{told:?}");
}

#[test]
fn an_owner_chain_is_climbed_as_far_as_it_is_configured() {
    let service = resource("Service", Some(".spec.template"), &[]);
    let configuration = resource("Configuration", Some(".spec.template"), &[]);
    let revision = resource("Revision", Some(".spec"), &[]);
    let template = json!({"template": pod_template("web:v1")});
    let api = "x.example/v1";
    let deployment = native("Deployment", "web-1-deployment", template.clone());
    let natives = [owned(deployment, api, "Revision", "web-1")];
    let spec = pod_template("web:v1")["spec"].clone();
    let customs = [
        (&service, object("web", template.clone())),
        (
            &configuration,
            owned(object("web", template), api, "Service", "web"),
        ),
        (
            &revision,
            owned(object("web-1", spec), api, "Configuration", "web"),
        ),
    ];
    assert_eq!(told(&customs, &natives), ["Service/web web:v1 runtime"]);
    assert_eq!(
        told(&customs[2..], &natives),
        ["Revision/web-1 web:v1 runtime"]
    );
    assert_eq!(
        told(&[], &natives),
        ["Deployment/web-1-deployment web:v1 runtime"]
    );
}
