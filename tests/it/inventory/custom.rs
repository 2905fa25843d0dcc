//! Kinds that Kubernetes does not know, on a real API server: the shipped examples, and a kind that goes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pullproof::clock::SystemClock;
use pullproof::inventory::cluster::{self, Access, Beyond, ClusterOptions};
use pullproof::inventory::extract::CustomResource;
use pullproof::inventory::{Class, SourceState};
use serde_json::Value;
use tokio::sync::watch;

use crate::cli::run::pullproof;
use crate::daemon::shop::namespace;
use crate::support::cluster::Cluster;
use crate::support::parts::require_cluster;
use crate::support::wait::wait_until;

/// Discovery is asked twice, half a minute apart.
const GONE_BOUND: Duration = Duration::from_mins(3);

/// A definition without a schema of its own.
fn definition(group: &str, version: &str, kind: &str, plural: &str) -> String {
    let singular = kind.to_lowercase();
    format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: {kind}, plural: {plural}, singular: {singular}}}
  versions:
  - name: {version}
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
---
"
    )
}

pub(crate) async fn define(cluster: &Cluster, definitions: &[(&str, &str, &str, &str)]) {
    let yaml: String = definitions
        .iter()
        .map(|(group, version, kind, plural)| definition(group, version, kind, plural))
        .collect();
    cluster.apply_yaml(&yaml).await;
    for (group, _, _, plural) in definitions {
        let name = format!("crd/{plural}.{group}");
        let arguments = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            &name,
        ];
        cluster.kubectl(&arguments).await;
    }
}

/// `Kind/name image class`
fn told(inventory: &Value) -> Vec<String> {
    let images = inventory["images"].as_array().unwrap();
    let mut lines: Vec<String> = images
        .iter()
        .flat_map(|image| image["used_by"].as_array().unwrap())
        .map(|by| {
            let text = |key: &str| by[key].as_str().unwrap().to_owned();
            let (kind, name) = (text("kind"), text("name"));
            format!("{kind}/{name} {} {}", text("image"), text("class"))
        })
        .collect();
    lines.sort();
    lines
}

const OBJECTS: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web, namespace: NAMESPACE}
spec: {template: {spec: {containers: [{name: app, image: 'web:v2'}]}}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: refers, namespace: NAMESPACE}
spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello, namespace: NAMESPACE}
spec: {template: {spec: {containers: [{image: 'hello:v1'}]}}}
---
apiVersion: serving.knative.dev/v1
kind: Revision
metadata: {name: hello-00001, namespace: NAMESPACE}
spec: {containers: [{image: 'hello:v0'}], containerConcurrency: 0}
---
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: build, namespace: NAMESPACE}
spec:
  params: [{name: builder}]
  stepTemplate: {image: 'base:v1'}
  steps: [{name: a, image: 'step:v1'}, {name: b, image: $(params.builder)}, {name: c, ref: {name: x}}]
  sidecars: [{name: d, image: 'docker:dind'}]
---
apiVersion: tekton.dev/v1
kind: Pipeline
metadata: {name: release, namespace: NAMESPACE}
spec:
  tasks:
  - {name: named, taskRef: {name: build}}
  - {name: inline, taskSpec: {steps: [{name: a, image: 'inline:v1'}]}}
  finally: [{name: last, taskSpec: {steps: [{name: a, image: 'last:v1'}]}}]
---
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: release-1, namespace: NAMESPACE}
spec:
  pipelineSpec: {tasks: [{name: inline, taskSpec: {steps: [{name: a, image: 'run:v1'}]}}]}
---
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: release-2, namespace: NAMESPACE}
spec: {pipelineRef: {name: release}}
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: vm, namespace: NAMESPACE}
spec:
  runStrategy: Halted
  template:
    spec:
      domain: {devices: {}, firmware: {kernelBoot: {container: {image: 'kernel:v1', kernelPath: /vmlinuz}}}}
      volumes: [{name: root, containerDisk: {image: 'disk:v1'}}, {name: data, emptyDisk: {capacity: 1Gi}}]
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: bare, namespace: NAMESPACE}
spec: {template: {spec: {domain: {devices: {}}}}}
---
apiVersion: tekton.dev/v1beta1
kind: StepAction
metadata: {name: clone, namespace: NAMESPACE}
spec: {image: 'git:v1', script: git clone}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: smoke, namespace: NAMESPACE}
spec:
  metrics:
  - {name: rate, provider: {prometheus: {query: up}}}
  - name: test
    provider:
      job: {spec: {backoffLimit: 1, template: {spec: {restartPolicy: Never, containers: [{name: test, image: 'smoke:v1'}]}}}}
";

#[tokio::test]
async fn the_shipped_examples_read_what_people_run() {
    require_cluster!();
    let (cluster, namespace) = namespace().await;
    let knative = "serving.knative.dev";
    define(
        cluster,
        &[
            ("argoproj.io", "v1alpha1", "Rollout", "rollouts"),
            (
                "argoproj.io",
                "v1alpha1",
                "AnalysisTemplate",
                "analysistemplates",
            ),
            ("tekton.dev", "v1beta1", "StepAction", "stepactions"),
            (knative, "v1", "Service", "services"),
            (knative, "v1", "Revision", "revisions"),
            ("tekton.dev", "v1", "Task", "tasks"),
            ("tekton.dev", "v1", "Pipeline", "pipelines"),
            ("tekton.dev", "v1", "PipelineRun", "pipelineruns"),
            ("kubevirt.io", "v1", "VirtualMachine", "virtualmachines"),
        ],
    )
    .await;
    cluster
        .apply_yaml(&OBJECTS.replace("NAMESPACE", &namespace))
        .await;
    let uid = [
        "-n",
        &namespace,
        "get",
        "rollout",
        "web",
        "-o",
        "jsonpath={.metadata.uid}",
    ];
    let uid = cluster.kubectl(&uid).await;
    // What the Rollout's controller keeps of its history.
    let replica_set = format!(
        "apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: web-1
  namespace: {namespace}
  ownerReferences:
  - {{apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web, uid: {uid}, controller: true}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: app, image: 'web:v1'}}]}}
"
    );
    cluster.apply_yaml(&replica_set).await;

    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/custom-resources.yaml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pullproof.yaml");
    let kubeconfig = cluster.admin().kubeconfig;
    let source = format!(
        "  clusters: [{{name: prod, kubeconfig: {}, namespaces: [{namespace}]}}]\n",
        kubeconfig.display()
    );
    std::fs::write(&file, shipped + &source).unwrap();
    let file = file.to_str().unwrap();
    let ended = pullproof(&["--config", file, "inventory", "-o", "json"]).await;
    // Kinds of the example that are not installed make nothing incomplete.
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        told(&ended.json()),
        [
            "AnalysisTemplate/smoke smoke:v1 runtime",
            "Pipeline/release inline:v1 runtime",
            "Pipeline/release last:v1 runtime",
            "PipelineRun/release-1 run:v1 runtime",
            "Revision/hello-00001 hello:v0 runtime",
            "Rollout/web web:v1 rollback",
            "Rollout/web web:v2 runtime",
            "Service/hello hello:v1 runtime",
            "StepAction/clone git:v1 runtime",
            "Task/build base:v1 runtime",
            "Task/build docker:dind runtime",
            "Task/build step:v1 runtime",
            "VirtualMachine/vm disk:v1 runtime",
            "VirtualMachine/vm kernel:v1 runtime",
        ]
    );

    // One object that does not fit is named with its place, and nothing else is lost.
    let broken = format!(
        "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {{name: odd, namespace: {namespace}}}\n\
         spec: {{steps: [{{name: a, image: {{name: x}}}}]}}\n"
    );
    cluster.apply_yaml(&broken).await;
    let ended = pullproof(&["--config", file, "inventory", "-o", "json"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let inventory = ended.json();
    let reason = format!("Task {namespace}/odd: .spec.steps[0].image: it is not text");
    assert_eq!(inventory["sources"][0]["reason"], *reason);
    assert_eq!(told(&inventory).len(), 14);
}

fn options(cluster: &Cluster, namespace: &str, group: &str) -> ClusterOptions {
    let resource = CustomResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: "Fleet".to_owned(),
        pod_template: None,
        images: vec![".spec.image".parse().unwrap()],
        pull_secrets: Vec::new(),
        may_be_empty: false,
    };
    ClusterOptions {
        name: None,
        source_name: "prod".to_owned(),
        access: Access::Kubeconfig {
            file: Some(cluster.admin().kubeconfig),
            context: None,
        },
        class: Class::Runtime,
        namespaces: vec![namespace.to_owned()],
        beyond: Beyond {
            custom_resources: vec![Arc::new(resource)],
            ..Beyond::default()
        },
        labels: [].into(),
    }
}

fn images(state: &SourceState) -> Vec<&str> {
    state.uses.iter().map(|it| &*it.user.image).collect()
}

#[tokio::test]
async fn a_kind_comes_and_goes() {
    require_cluster!();
    let (cluster, namespace) = namespace().await;
    let group = "gone.example";
    crate::support::http::install_crypto_provider();
    let source = cluster::connect(&options(cluster, &namespace, group))
        .await
        .unwrap();
    let (publish, states) = watch::channel(Arc::new(SourceState::unread("prod")));
    let clock = Arc::new(SystemClock);
    let until = async |what: &str, claim: &dyn Fn(&SourceState) -> bool| {
        let mut states = states.clone();
        let found = tokio::time::timeout(GONE_BOUND, states.wait_for(|it| claim(it))).await;
        let state = found.unwrap_or_else(|_elapsed| panic!("in vain: {what}"));
        Arc::clone(&state.unwrap())
    };
    let story = async {
        let absent = format!("Fleet.{group}: {group}/v1 has no such kind");
        until("it is not there", &|it| {
            it.incomplete.is_none() && it.absent == [absent.as_str()]
        })
        .await;

        define(cluster, &[(group, "v1", "Fleet", "fleets")]).await;
        let fleet = format!(
            "apiVersion: {group}/v1\nkind: Fleet\nmetadata: {{name: one, namespace: {namespace}}}\n\
             spec: {{image: 'fleet:v1'}}\n"
        );
        cluster.apply_yaml(&fleet).await;
        until("it came", &|it| {
            it.incomplete.is_none() && images(it) == ["fleet:v1"]
        })
        .await;

        let name = format!("fleets.{group}");
        cluster.kubectl(&["delete", "crd", &name]).await;
        until("it is missed", &|it| {
            let reason = it.incomplete.as_deref().unwrap_or_default();
            reason.contains("it was installed and is gone")
        })
        .await;
        until("it is gone", &|it| {
            it.incomplete.is_none() && it.absent.len() == 1 && images(it).is_empty()
        })
        .await;
    };
    tokio::select! {
        () = source.run(publish, clock, std::future::pending::<()>()) => unreachable!("it runs for ever"),
        () = story => {}
    }
    wait_until("the definition is gone", GONE_BOUND, async || {
        let name = format!("crd/fleets.{group}");
        let got = cluster.kubectl_as(&cluster.admin(), &["get", &name]).await;
        got.is_err().then_some(())
    })
    .await;
}
