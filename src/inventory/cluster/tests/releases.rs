//! What keeps a history: read where it is asked for, and then incomplete where it cannot be.

use crate::inventory::extract::Releases;

use super::*;

const SECRETS: &str = "/api/v1/secrets";
const GROUPS: &str = "/apis";

fn with(releases: Releases) -> ClusterOptions {
    ClusterOptions {
        beyond: Beyond {
            releases,
            ..Beyond::default()
        },
        ..options()
    }
}

const HELM: Releases = Releases {
    argocd: false,
    flux: false,
    helm: true,
};

/// A Secret as Helm writes it, uncompressed.
fn release(version: u64, image: &str) -> Value {
    use base64::Engine as _;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\n\
         spec: {{template: {{spec: {{containers: [{{name: app, image: '{image}'}}]}}}}}}\n"
    );
    let json =
        json!({"name": "web", "namespace": "shop", "version": version, "manifest": manifest});
    let name = format!("sh.helm.release.v1.web.v{version}");
    json!({"metadata": {"namespace": "shop", "name": name}, "type": "helm.sh/release.v1",
        "data": {"release": base64(&base64(&json.to_string()))}})
}

#[tokio::test(start_paused = true)]
async fn each_revision_of_a_release_is_its_workloads_rollback() {
    let server = Server::default();
    server.set(DEPLOYMENTS, vec![object("web", "1", "web:v2")]);
    server.set(SECRETS, vec![release(1, "web:v1"), release(2, "web:v2")]);
    let running = run(&server, with(HELM));
    let state = running.until_images(&["web:v1", "web:v2"]).await;
    let told: Vec<String> = state
        .uses
        .iter()
        .map(|it| format!("{} {} {:?}", it.user.kind, it.user.class, it.user.via))
        .collect();
    assert_eq!(
        told,
        [
            "Deployment rollback Some(Object(\"HelmRelease/web.v1\"))",
            "Deployment runtime None"
        ]
    );
    running.until_complete().await;
    // Only Helm's own secrets are asked for, by list and by watch.
    let asked = server.requests(SECRETS);
    assert!(asked.len() >= 2, "{asked:?}");
    let is_of_helm = |it: &String| it.contains("fieldSelector=type%3Dhelm.sh%2Frelease.v1");
    assert!(asked.iter().all(is_of_helm), "{asked:?}");

    // One that cannot be read says so without its content, and its last word stands.
    let mut broken = release(1, "web:v1");
    broken["data"]["release"] = json!("aHVudGVyMg==");
    server.emit(SECRETS, &event("MODIFIED", &broken));
    let state = running.until(|state| state.incomplete.is_some()).await;
    assert_eq!(
        state.incomplete.as_deref(),
        Some("Secret shop/sh.helm.release.v1.web.v1: it is no release of Helm")
    );
    assert_eq!(told_images(&state.uses), ["web:v1", "web:v2"]);
    server.emit(SECRETS, &event("DELETED", &broken));
    let state = running.until_images(&["web:v2"]).await;
    assert_eq!(state.incomplete, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_and_cannot_be_read_is_incomplete() {
    let server = Server::default();
    let forbidden = "secrets is forbidden: no";
    server.always(SECRETS, Answer::Status(403, forbidden));
    let state = source(&server, with(HELM))
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(state.incomplete.as_deref(), Some(forbidden));
    // An answer that is none is not repeated: it may hold a secret.
    let odd = json!({"items": [{"metadata": {}, "data": {"release": {"hunter2": 1}}}]});
    server.always(SECRETS, Answer::Page(odd));
    let state = source(&server, with(HELM))
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(
        state.incomplete.as_deref(),
        Some("secrets: the answer holds no secrets")
    );
}

#[tokio::test(start_paused = true)]
async fn argo_cd_and_flux_are_found_in_whatever_version_they_are_served() {
    let all = Releases {
        argocd: true,
        flux: true,
        helm: false,
    };
    let server = Server::default();
    server.always(GROUPS, Answer::Page(json!({"groups": []})));
    let flux = "/apis/image.toolkit.fluxcd.io";
    for path in [
        "/apis/argoproj.io/v1alpha1",
        "/apis/image.toolkit.fluxcd.io/v1",
        "/apis/kustomize.toolkit.fluxcd.io/v1",
    ] {
        server.always(path, Answer::Status(404, "404 page not found"));
    }
    let state = source(&server, with(all))
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!((state.incomplete, state.absent.len()), (None, 3));

    let group = json!({"name": "image.toolkit.fluxcd.io", "versions": [{"version": "v1beta2"}]});
    server.always(GROUPS, Answer::Page(json!({"groups": [group]})));
    let resources = json!({"resources": [{"name": "imagepolicies", "kind": "ImagePolicy", "namespaced": true}]});
    server.always(&format!("{flux}/v1beta2"), Answer::Page(resources));
    let policy = json!({"metadata": {"namespace": "flux-system", "name": "web"},
        "status": {"latestImage": "registry.example/web:v2"}});
    let policies = format!("{flux}/v1beta2/imagepolicies");
    server.set(&policies, vec![policy]);
    let state = source(&server, with(all))
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!((state.incomplete, state.absent.len()), (None, 2));
    assert_eq!(told_images(&state.uses), ["registry.example/web:v2"]);
    assert_eq!(state.uses[0].user.class, Class::Rollback);
    let forbidden = "imagepolicies.image.toolkit.fluxcd.io is forbidden: no";
    server.always(&policies, Answer::Status(403, forbidden));
    let state = source(&server, with(all))
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(state.incomplete.as_deref(), Some(forbidden));
}
