//! The rights in `deploy/` against the requests of a run: no fewer, and no more.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// (group, resource, verb)
type Right = (String, String, &'static str);

/// What a request needs (`RequestInfo` in the API server).
fn needed(request: &str) -> Right {
    let (path, query) = request.split_once('?').unwrap();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
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
    (group.to_owned(), (*resource).to_owned(), verb)
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
        for kind in &kinds::KINDS {
            let path = kind.address(None).path;
            while server.emit(&path, &bookmark("1001")) == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        }
    };
    timeout(Duration::from_mins(5), open).await.unwrap();
    running.until(|state| !state.pull_secrets.is_empty()).await;
    let asked = server.requests("/");
    let needed: BTreeSet<Right> = asked.iter().map(|request| needed(request)).collect();
    let (secrets, all): (BTreeSet<Right>, _) = needed
        .into_iter()
        .partition(|(_, resource, _)| resource == "secrets");
    assert_eq!(granted("rbac.yaml", "pullproof"), all);
    assert_eq!(granted("rbac.yaml", "pullproof-pull-secrets"), secrets);
}
