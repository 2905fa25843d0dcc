//! Many objects, many changes: what is followed is what is there, and nothing is listed twice for it.

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Pod, PodTemplate};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use pullproof::inventory::cluster;
use serde_json::json;

use super::following::{
    Following, images, make_templates, names, options, require_cluster, short, until,
};
use crate::support::between::Between;
use crate::support::cluster::Cluster;

const TEMPLATES: usize = 150;
const CHANGES: usize = 60;

#[tokio::test]
async fn after_many_changes_in_many_namespaces_it_knows_what_a_new_list_says() {
    require_cluster!();
    let cluster = Cluster::shared().await;
    let mut namespaces = Vec::new();
    for _ in 0..4 {
        let namespace = cluster.new_namespace().await;
        make_templates(cluster, &namespace, &names("it", TEMPLATES)).await;
        namespaces.push(namespace);
    }
    let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    let between = Between::start(cluster);
    let kubeconfig = between.kubeconfig(cluster, &cluster.admin());
    let source = Following::start(kubeconfig, &namespaces, short()).await;
    source.until_complete().await;
    let lists = between.lists();
    let watches = || {
        between
            .requests()
            .iter()
            .filter(|it| it.contains("watch=true"))
            .count()
    };
    let begun = watches();

    // New pods, new images, and objects that go, all at once and everywhere.
    let client = cluster.client(&cluster.admin()).await;
    let changes =
        (0..CHANGES).flat_map(|number| namespaces.iter().map(move |namespace| (number, namespace)));
    stream::iter(changes)
        .map(|(number, namespace)| {
            let templates: Api<PodTemplate> = Api::namespaced(client.clone(), namespace);
            let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
            let name = format!("it-{number:04}");
            async move {
                match number % 3 {
                    0 => drop(templates.delete(&name, &DeleteParams::default()).await.unwrap()),
                    1 => {
                        let image = format!("registry.example/changed-{number}:1");
                        let patch = json!({"template": {"spec": {"containers": [{"name": "app", "image": image}]}}});
                        let patch = Patch::Strategic(patch);
                        templates.patch(&name, &PatchParams::default(), &patch).await.unwrap();
                    }
                    _ => {
                        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [
                            {"name": "app", "image": format!("registry.example/pod-{}:1", number / 6)}]}});
                        let pod: Pod = serde_json::from_value(pod).unwrap();
                        pods.create(&PostParams::default(), &pod).await.unwrap();
                        let status = json!({"status": {"phase": "Failed"}});
                        let patch = Patch::Merge(status);
                        pods.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
                    }
                }
            }
        })
        .buffer_unordered(16)
        .collect::<()>()
        .await;
    until("every watch has ended and begun again three times", || {
        watches() >= begun + 3 * 10 * namespaces.len()
    })
    .await;

    let whole = cluster::connect(&options(cluster.admin().kubeconfig, &namespaces))
        .await
        .unwrap();
    let whole = whole.read_once(jiff::Timestamp::UNIX_EPOCH).await;
    assert_eq!(whole.incomplete, None);
    for image in ["it-0149", "changed-58", "pod-9"] {
        let image = format!("registry.example/{image}:1");
        assert!(images(&whole).contains(&image), "{image}");
    }
    let state = source
        .until("it says the same", |state| *state.uses == *whole.uses)
        .await;
    assert_eq!(state.incomplete, None);
    assert_eq!(between.lists(), lists, "nothing is listed anew");
}
