//! Images that are merely mentioned: kept where they can be seen, and nothing is lost where they cannot.

use super::*;

const CONFIG_MAPS: &str = "/api/v1/configmaps";

fn mentions() -> ClusterOptions {
    ClusterOptions {
        beyond: Beyond {
            mentions: Some(["registry.example".to_owned()].into()),
            ..Beyond::default()
        },
        ..options()
    }
}

fn config_map(name: &str, version: &str, text: &str) -> Value {
    // Its keys are anything, those of other kinds among them.
    json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": version},
        "data": {"spec": text, "containers": "5"}})
}

fn operator() -> Value {
    let mut operator = object("operator", "1", "registry.example/operator:v1");
    operator["spec"]["template"]["spec"]["containers"][0]["env"] = json!([
        {"name": "RELATED_IMAGE", "value": "registry.example/operand:v1"},
        {"name": "SELF", "value": "registry.example/operator:v1"},
        {"name": "OTHER", "value": "other.example/operand:v1"},
    ]);
    operator
}

/// `Kind/name container image class`
fn lines(state: &SourceState) -> Vec<String> {
    let uses = state.uses.iter().map(|it| &it.user);
    uses.map(|by| {
        let (kind, name, container) = (&by.kind, &by.name, &by.container);
        format!("{kind}/{name} {container} {} {}", by.image, by.class)
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn what_mentions_an_image_keeps_it_and_what_names_it_is_not_repeated() {
    let server = Server::default();
    server.set(DEPLOYMENTS, vec![operator()]);
    let text =
        "images:\n- registry.example/a:1\n- registry.example/Bad:1\n- registry.example/a:1\n";
    server.set(
        CONFIG_MAPS,
        vec![
            config_map("images", "1", text),
            config_map("none", "1", "x"),
        ],
    );
    let expected = [
        "ConfigMap/images data.spec registry.example/a:1 mentioned",
        "Deployment/operator app registry.example/operator:v1 runtime",
        "Deployment/operator containers[0].env[0].value registry.example/operand:v1 mentioned",
    ];
    let once = source(&server, mentions());
    let state = once.read_once(Timestamp::UNIX_EPOCH).await;
    assert_eq!(state.incomplete, None);
    assert_eq!(lines(&state), expected);

    let running = run(&server, mentions());
    running.until(|state| lines(state) == expected).await;
    running.until_complete().await;
    let changed = config_map("images", "1001", "registry.example/b:1");
    server.emit(CONFIG_MAPS, &event("MODIFIED", &changed));
    running
        .until(|state| lines(state)[0].contains("registry.example/b:1"))
        .await;
    let silent = config_map("images", "1002", "nothing");
    server.emit(CONFIG_MAPS, &event("MODIFIED", &silent));
    let state = running.until(|state| lines(state) == expected[1..]).await;
    assert_eq!(state.incomplete, None);

    // Nobody who did not ask for it is asked.
    let plain = source(&server, options());
    let asked = server.requests(CONFIG_MAPS).len();
    let state = plain.read_once(Timestamp::UNIX_EPOCH).await;
    assert_eq!(lines(&state), [expected[1]]);
    assert_eq!(server.requests(CONFIG_MAPS).len(), asked);
}

#[tokio::test(start_paused = true)]
async fn config_maps_may_be_forbidden_but_not_fail() {
    let server = Server::default();
    server.set(DEPLOYMENTS, vec![operator()]);
    let forbidden = "configmaps is forbidden: no";
    server.always(CONFIG_MAPS, Answer::Status(403, forbidden));
    let state = source(&server, mentions())
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(state.incomplete, None);
    assert_eq!(state.absent, [forbidden]);
    assert_eq!(lines(&state).len(), 2);
    server.always(CONFIG_MAPS, Answer::Status(500, "boom"));
    let state = source(&server, mentions())
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(state.incomplete.as_deref(), Some("configmaps: boom"));
}
