//! Kinds that Kubernetes does not know: found by discovery, believed to be gone when it says so twice.

use super::*;

const GROUPS: &str = "/apis";
const VERSION: &str = "/apis/argoproj.io/v1alpha1";
const ROLLOUTS: &str = "/apis/argoproj.io/v1alpha1/rollouts";

fn rollouts() -> ClusterOptions {
    let rollout = CustomResource {
        group: "argoproj.io".to_owned(),
        version: "v1alpha1".to_owned(),
        kind: "Rollout".to_owned(),
        pod_template: Some(".spec.template".parse().unwrap()),
        images: Vec::new(),
        pull_secrets: Vec::new(),
        may_be_empty: false,
    };
    ClusterOptions {
        beyond: Beyond {
            custom_resources: vec![Arc::new(rollout)],
            ..Beyond::default()
        },
        ..options()
    }
}

fn install(server: &Server, version: &str) {
    let groups = json!({"groups": [{"name": "apps", "versions": [{"version": "v1"}]},
        {"name": "argoproj.io", "versions": [{"version": version}]}]});
    server.always(GROUPS, Answer::Page(groups));
    let resources = json!({"resources": [
        {"name": "rollouts/status", "kind": "Rollout", "namespaced": true},
        {"name": "rollouts", "kind": "Rollout", "namespaced": true}]});
    server.always(
        &format!("/apis/argoproj.io/{version}"),
        Answer::Page(resources),
    );
}

fn uninstall(server: &Server) {
    server.always(GROUPS, Answer::Page(json!({"groups": []})));
    server.always(VERSION, Answer::Status(404, "404 page not found"));
    let gone = Answer::Status(404, "the server could not find the requested resource");
    server.always(ROLLOUTS, gone.clone());
    server.always(&format!("{ROLLOUTS}?watch"), gone);
}

async fn read(server: &Server) -> SourceState {
    source(server, rollouts())
        .read_once(Timestamp::UNIX_EPOCH)
        .await
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_found_by_discovery_and_read_like_the_others() {
    let server = Server::default();
    install(&server, "v1alpha1");
    server.set(ROLLOUTS, vec![object("web", "1", "web:v1")]);
    let state = read(&server).await;
    assert_eq!((state.incomplete.as_deref(), state.absent.len()), (None, 0));
    assert_eq!(told(&state), ["web:v1"]);
    assert_eq!(&*state.uses[0].user.kind, "Rollout");

    let running = run(&server, rollouts());
    running.until_images(&["web:v1"]).await;
    running.until_complete().await;
    let event = event("MODIFIED", &object("web", "1001", "web:v2"));
    assert_eq!(server.emit(ROLLOUTS, &event), 1);
    running.until_images(&["web:v2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_installed_is_absent_only_where_discovery_answers_well() {
    let server = Server::default();
    uninstall(&server);
    let state = read(&server).await;
    assert_eq!(state.incomplete, None);
    let absent = "Rollout.argoproj.io: argoproj.io/v1alpha1 has no such kind";
    assert_eq!(state.absent, [absent]);
    for (path, answer, expected) in [
        (GROUPS, Answer::Status(503, "overloaded"), "overloaded"),
        (GROUPS, Answer::Status(403, "forbidden"), "forbidden"),
        (
            GROUPS,
            Answer::Status(404, "what"),
            "discovery does not answer",
        ),
        (
            GROUPS,
            Answer::Page(json!({"kind": "Odd"})),
            "cannot be read",
        ),
        (VERSION, Answer::Status(500, "boom"), "boom"),
        (VERSION, Answer::Page(json!({})), "cannot be read"),
    ] {
        uninstall(&server);
        server.always(path, answer);
        let reason = read(&server).await.incomplete.unwrap();
        assert!(
            reason.starts_with("Rollout.argoproj.io: ") && reason.contains(expected),
            "{reason}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_served_hides_no_objects() {
    let server = Server::default();
    uninstall(&server);
    install(&server, "v1");
    assert_eq!(
        read(&server).await.incomplete.unwrap(),
        "Rollout.argoproj.io: it is not served as argoproj.io/v1alpha1, but as argoproj.io/v1; write \
         that apiVersion"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_there_is_gone_when_discovery_says_so_twice() {
    let server = Server::default();
    install(&server, "v1alpha1");
    server.set(ROLLOUTS, vec![object("web", "1", "web:v1")]);
    let running = run(&server, rollouts());
    running.until_images(&["web:v1"]).await;
    running.until_complete().await;
    uninstall(&server);
    server.close(ROLLOUTS);
    let is_asking = |state: &SourceState| {
        let reason = state.incomplete.as_deref();
        reason == Some("rollouts.argoproj.io: it was installed and is gone; asking again")
    };
    let state = running.until(is_asking).await;
    assert_eq!(told(&state), ["web:v1"]);
    let begun = Instant::now();
    // It was but a moment.
    install(&server, "v1alpha1");
    server.no_longer(ROLLOUTS);
    server.no_longer(&format!("{ROLLOUTS}?watch"));
    assert_eq!(told(&*running.until_complete().await), ["web:v1"]);

    uninstall(&server);
    server.close(ROLLOUTS);
    running.until(is_asking).await;
    let again = Instant::now();
    let state = running.until_complete().await;
    assert!(again.elapsed() >= Duration::from_secs(29), "{begun:?}");
    assert!(told(&state).is_empty());
    assert_eq!(
        state.absent,
        ["rollouts.argoproj.io: argoproj.io/v1alpha1 has no such kind"]
    );
    // And it may come back.
    install(&server, "v1alpha1");
    server.no_longer(ROLLOUTS);
    server.no_longer(&format!("{ROLLOUTS}?watch"));
    running.until_images(&["web:v1"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_fit_is_incomplete_and_keeps_what_it_said() {
    let server = Server::default();
    install(&server, "v1alpha1");
    server.set(
        ROLLOUTS,
        vec![object("web", "1", "web:v1"), object("api", "1", "api:v1")],
    );
    let running = run(&server, rollouts());
    running.until_images(&["api:v1", "web:v1"]).await;
    running.until_complete().await;
    let mut broken = object("web", "1001", "web:v2");
    broken["spec"] = json!({"template": "web"});
    server.emit(ROLLOUTS, &event("MODIFIED", &broken));
    let state = running.until(|state| state.incomplete.is_some()).await;
    assert_eq!(
        state.incomplete.as_deref(),
        Some("Rollout shop/web: .spec.template: it is not a pod template: it has no spec")
    );
    assert_eq!(told(&state), ["api:v1", "web:v1"]);
    let mended = object("web", "1002", "web:v3");
    server.emit(ROLLOUTS, &event("MODIFIED", &mended));
    let state = running.until_images(&["api:v1", "web:v3"]).await;
    assert_eq!(state.incomplete, None);
}

/// Rollouts with this path, in two namespaces.
fn misspelt(path: &str, may_be_empty: bool) -> ClusterOptions {
    let mut options = rollouts();
    let resource = Arc::make_mut(&mut options.beyond.custom_resources[0]);
    resource.pod_template = Some(path.parse().unwrap());
    resource.may_be_empty = may_be_empty;
    options.namespaces = vec!["shop".to_owned(), "other".to_owned()];
    options
}

#[tokio::test(start_paused = true)]
async fn a_path_that_leads_to_nothing_in_any_object_is_incomplete() {
    let server = Server::default();
    install(&server, "v1alpha1");
    let of =
        |namespace: &str| format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/rollouts");
    let web = object("web", "1", "web:v1");
    let mut refers = object("refers", "1", "x");
    refers["spec"] = json!({"workloadRef": {"kind": "Deployment", "name": "web"}});
    let mut bare = object("bare", "1", "x");
    bare["spec"] = json!({});
    let read = async |options: ClusterOptions| {
        let running = run(&server, options);
        let heard = running.until(|state| {
            let reason = state.incomplete.as_deref().unwrap_or_default();
            !reason.contains("not read yet")
        });
        heard.await.incomplete.clone()
    };
    let way_out = "mend the path, or if that is as it should be, write `mayBeEmpty: true` in its entry of \
                   inventory.customResources";
    for (shop, path, expected) in [
        (vec![], ".spec.podTemplate", None),
        (vec![refers.clone()], ".spec.podTemplate", None),
        (
            vec![web.clone()],
            ".spec.podTemplate",
            Some("its only object"),
        ),
        // One that has no template of its own does not speak for the others.
        (
            vec![web.clone(), bare.clone(), refers.clone()],
            ".spec.podTemplate",
            Some("any of its 2 objects"),
        ),
        (
            vec![web.clone(), bare.clone(), refers.clone()],
            ".spec.template",
            None,
        ),
    ] {
        server.set(&of("shop"), shop.clone());
        server.set(&of("other"), vec![]);
        let expected = expected.map(|objects| {
            format!("rollouts.argoproj.io: {path} leads to nothing in {objects}; {way_out}")
        });
        assert_eq!(read(misspelt(path, false)).await, expected, "{shop:?}");
        assert_eq!(read(misspelt(path, true)).await, None);
    }
    // In one of the namespaces is enough.
    server.set(&of("shop"), vec![bare]);
    server.set(&of("other"), vec![web]);
    assert_eq!(read(misspelt(".spec.template", false)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_forbidden_is_incomplete() {
    let server = Server::default();
    install(&server, "v1alpha1");
    let message = "rollouts.argoproj.io is forbidden: no";
    server.always(ROLLOUTS, Answer::Status(403, message));
    assert_eq!(read(&server).await.incomplete.as_deref(), Some(message));
}
