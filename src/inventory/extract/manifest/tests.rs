use serde_json::json;

use super::*;

fn read(manifests: &[Value], customs: &[Arc<CustomResource>]) -> Manifests {
    let mut found = Manifests::default();
    let mut interner = Interner::default();
    for manifest in manifests {
        found
            .read(manifest.clone(), customs, &mut interner)
            .unwrap();
    }
    found
}

/// `Kind/name image`
fn told(workloads: &[Workload]) -> Vec<String> {
    let images = workloads.iter().flat_map(|workload| {
        let images = workload.images.containers.iter();
        images.map(move |it| format!("{}/{} {}", workload.kind, workload.name, it.image))
    });
    images.collect()
}

fn object(api_version: &str, kind: &str, spec: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "shop"}});
    object["spec"] = spec;
    object
}

fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"name": "app", "image": image}]}})
}

fn task() -> Arc<CustomResource> {
    Arc::new(CustomResource {
        group: "tekton.dev".to_owned(),
        version: "v1".to_owned(),
        kind: "Task".to_owned(),
        pod_template: None,
        images: vec![".spec.steps[*].image".parse().unwrap()],
        pull_secrets: Vec::new(),
        may_be_empty: false,
    })
}

#[test]
fn a_kind_is_known_by_its_group_too() {
    let tasks = json!({"tasks": [{"template": template("volcano:1")}]});
    let mut without = object("", "Job", json!({"template": template("bare:1")}));
    without.as_object_mut().unwrap().remove("apiVersion");
    let found = read(
        &[
            object("batch.volcano.sh/v1alpha1", "Job", tasks),
            object("batch/v1", "Job", json!({"template": template("job:1")})),
            without,
            // As it was before Kubernetes 1.16.
            object(
                "extensions/v1beta1",
                "Deployment",
                json!({"template": template("old:1")}),
            ),
            object("v1", "Pod", template("pod:1")["spec"].clone()),
            object("other.example/v1", "Pod", json!({"containers": 5})),
        ],
        &[],
    );
    let expected = [
        "Job/x job:1",
        "Job/x bare:1",
        "Deployment/x old:1",
        "Pod/x pod:1",
    ];
    assert_eq!(told(&found.workloads), expected);
    let unread: Vec<String> = found.unread().collect();
    let volcano = "Job/shop/x: .spec.tasks[0].template.spec.containers[0].image: an image that no \
                   configured path reads; customResources reads it";
    assert_eq!(unread, [volcano]);
}

#[test]
fn a_configured_custom_resource_is_read_as_in_a_cluster() {
    let steps = |image: &str| json!({"steps": [{"image": image}]});
    let mut item = object("", "", steps("listed:1"));
    let fields = item.as_object_mut().unwrap();
    fields.remove("apiVersion");
    fields.remove("kind");
    let manifests = [
        object("tekton.dev/v1", "Task", steps("step:1")),
        // Its paths hold for every version.
        object("tekton.dev/v1beta1", "Task", steps("beta:1")),
        json!({"apiVersion": "tekton.dev/v1", "kind": "TaskList", "items": [item]}),
        object("other.example/v1", "Task", steps("other:1")),
        object("tekton.dev/v1", "Task", json!({"steps": [{"image": 5}]})),
    ];
    let found = read(&manifests, &[task()]);
    assert_eq!(
        told(&found.custom),
        ["Task/x step:1", "Task/x beta:1", "Task/x listed:1"]
    );
    assert_eq!(
        found.problems,
        ["Task shop/x: .spec.steps[0].image: it is not text"]
    );
    assert_eq!(found.unread().count(), 1);
    assert_eq!(found.misses(&[task()]), [""; 0]);
    assert_eq!(told(&found.workloads), [""; 0]);

    let misspelt = object(
        "tekton.dev/v1",
        "Task",
        json!({"step": [{"image": "step:1"}]}),
    );
    let found = read(&[misspelt], &[task()]);
    let [miss] = found.misses(&[task()]).try_into().unwrap();
    let expected = "Task.tekton.dev: .spec.steps[*].image leads to nothing in its only object; ";
    assert!(miss.starts_with(expected), "{miss}");
}

#[test]
fn what_looks_like_an_image_in_an_unknown_kind_is_told_once_for_a_kind() {
    let workflow = json!({"templates": [{"container": {"image": "build:1"}}]});
    let scaled = json!({"jobTargetRef": {"template": template("scaled:1")}});
    let mut openshift = object("template.openshift.io/v1", "Template", Value::Null);
    openshift["objects"] = json!([{"spec": {"template": template("${IMAGE}")}}]);
    let mut config_map = object("v1", "ConfigMap", Value::Null);
    config_map["data"] = json!({"image": "web:1"});
    let mut annotated = object("x.example/v1", "Odd", json!({"image": {"tag": "v1"}}));
    annotated["status"] = json!({"image": "was:1"});
    let rollout = json!({"template": template("web:1"), "extra": {"image": ""}});
    let found = read(
        &[
            object("argoproj.io/v1alpha1", "Workflow", workflow.clone()),
            object("argoproj.io/v1alpha1", "Workflow", workflow),
            object("keda.sh/v1alpha1", "ScaledJob", scaled),
            openshift,
            config_map,
            annotated,
            object("argoproj.io/v1alpha1", "Rollout", rollout),
            json!({"image": {"tag": "v1"}, "sidecar": {"image": "a chart's values:1"}}),
        ],
        &[],
    );
    let unread: Vec<String> = found.unread().collect();
    let end = "an image that no configured path reads";
    assert_eq!(
        unread,
        [
            format!(
                "Workflow/shop/x: .spec.templates[0].container.image: {end} (and 1 more of its kind); customResources reads it"
            ),
            format!(
                "ScaledJob/shop/x: .spec.jobTargetRef.template.spec.containers[0].image: {end}; customResources reads it"
            ),
            format!(
                "Template/shop/x: .objects[0].spec.template.spec.containers[0].image: {end}; customResources reads it"
            ),
        ]
    );
    assert_eq!(told(&found.workloads), ["Rollout/x web:1"]);
}
