//! The rights in `deploy/` against the requests of a run: no fewer, and no more.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// (group, resource, verb)
type Right = (String, String, &'static str);

/// What a request needs (`RequestInfo` in the API server). Discovery is everybody's.
fn needed(request: &str) -> Option<Right> {
    let (path, query) = request.split_once('?').unwrap();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if matches!(segments.as_slice(), ["apis"] | ["apis", _, _]) {
        return None;
    }
    let (group, rest) = match segments.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        _ => panic!("{request}"),
    };
    let rest = match rest {
        ["namespaces", _namespace, rest @ ..] => rest,
        rest => rest,
    };
    let (resource, verb) = match rest {
        [resource] if query.contains("watch=true") => (resource, "watch"),
        [resource] => (resource, "list"),
        [resource, _name] => (resource, "get"),
        _ => panic!("{request}"),
    };
    Some((group.to_owned(), (*resource).to_owned(), verb))
}

fn asked(server: &Server) -> BTreeSet<Right> {
    let requests = server.requests("/");
    requests.iter().filter_map(|it| needed(it)).collect()
}

/// The rights of a role in a file of `deploy/`.
fn granted(file: &str, role: &str) -> BTreeSet<Right> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let documents: Vec<Value> = text
        .split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect();
    let role = documents
        .iter()
        .find(|it| it["kind"].as_str().unwrap().ends_with("Role") && it["metadata"]["name"] == role)
        .unwrap();
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().unwrap().iter();
        texts
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    let verbs = ["get", "list", "watch"];
                    let verb = verbs
                        .into_iter()
                        .find(|it| *it == verb)
                        .expect("it only reads");
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rights
}

#[tokio::test(start_paused = true)]
async fn the_rights_are_those_that_a_run_needs() {
    let server = Server::default();
    let mut web = object("web", "1", "web:v1");
    web["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "regcred"}]);
    server.set(DEPLOYMENTS, vec![web]);
    server.set_secret("shop", "regcred", docker_config("me"));
    let running = run(&server, options());
    running.until_complete().await;
    // Every watch is open, and the secret was read.
    let open = async {
        for kind in kinds::KINDS.iter().chain([&Kind::events()]) {
            let path = kind.address(None).path;
            while server.emit(&path, &bookmark("1001")) == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        }
    };
    timeout(Duration::from_mins(5), open).await.unwrap();
    running.until(|state| !state.pull_secrets.is_empty()).await;
    let (secrets, all): (BTreeSet<Right>, _) = asked(&server)
        .into_iter()
        .partition(|(_, resource, _)| resource == "secrets");
    let (events, all): (BTreeSet<Right>, _) = all
        .into_iter()
        .partition(|(_, resource, _): &Right| resource == "events");
    assert_eq!(granted("events-rbac.yaml", "pullproof-events"), events);
    assert_eq!(granted("rbac.yaml", "pullproof"), all);
    assert_eq!(granted("rbac.yaml", "pullproof-pull-secrets"), secrets);
}

/// As people say it, but for what they say otherwise.
fn plural(kind: &str) -> String {
    match kind {
        "ImagePolicy" => "imagepolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    }
}

#[tokio::test(start_paused = true)]
async fn the_optional_rights_are_those_that_the_options_need() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/custom-resources.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let config = crate::config::parse(&text, "", Path::new("")).unwrap();
    let custom_resources = config.inventory.custom_resources;
    let kind = |group: &str, version: &str, kind: &str| {
        let api = format!("/apis/{group}/{version}");
        (api, kind.to_owned())
    };
    let mut kinds = vec![
        kind("argoproj.io", "v1alpha1", "Application"),
        kind("image.toolkit.fluxcd.io", "v1", "ImagePolicy"),
        kind("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
    ];
    for it in &custom_resources {
        kinds.push(kind(&it.group, &it.version, &it.kind));
    }
    let server = Server::default();
    for (api, _) in &kinds {
        let of_api = kinds.iter().filter(|(it, _)| it == api);
        let resources: Vec<Value> = of_api
            .map(|(_, kind)| json!({"name": plural(kind), "kind": kind, "namespaced": true}))
            .collect();
        server.always(api, Answer::Page(json!({"resources": resources})));
    }
    let beyond = Beyond {
        custom_resources,
        mentions: Some(["registry.example".to_owned()].into()),
        releases: Releases {
            argocd: true,
            flux: true,
            helm: true,
        },
    };
    let running = run(
        &server,
        ClusterOptions {
            beyond,
            ..options()
        },
    );
    running.until_complete().await;
    let roles = [
        ("rbac.yaml", "pullproof"),
        ("events-rbac.yaml", "pullproof-events"),
        ("mentions-rbac.yaml", "pullproof-mentions"),
        ("releases-rbac.yaml", "pullproof-releases"),
        ("releases-rbac.yaml", "pullproof-releases-helm"),
        ("custom-resources-rbac.yaml", "pullproof-custom-resources"),
    ];
    let granted: BTreeSet<Right> = roles
        .iter()
        .flat_map(|(file, role)| granted(file, role))
        .collect();
    let all_are_asked = async {
        while asked(&server) != granted {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_mins(5), all_are_asked).await.ok();
    assert_eq!(granted, asked(&server));
}
