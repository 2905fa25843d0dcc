use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::inventory::PullSecret;
use crate::oci::platform::Platform;

use self::server::{Answer, Server, page};

mod custom;
mod events;
mod lies;
mod marks;
mod mentions;
mod releases;
mod rights;
mod server;
mod views;

const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
const CRON_JOBS: &str = "/apis/batch/v1/cronjobs";
const PODS: &str = "/api/v1/pods";
const NODES: &str = "/api/v1/nodes";
const ACCOUNTS: &str = "/api/v1/serviceaccounts";

fn options() -> ClusterOptions {
    ClusterOptions {
        name: Some("prod".to_owned()),
        source_name: "prod".to_owned(),
        access: Access::Infer,
        class: Class::Runtime,
        namespaces: Vec::new(),
        beyond: Beyond::default(),
        labels: [].into(),
    }
}

fn source(server: &Server, options: ClusterOptions) -> ClusterSource {
    ClusterSource::with_client(options, Client::new(server.router(), "default"))
}

async fn read(server: &Server) -> SourceState {
    source(server, options())
        .read_once(Timestamp::UNIX_EPOCH)
        .await
}

/// A clock that goes with the tests' time.
#[derive(Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.0.elapsed()
    }
}

struct Running {
    states: watch::Receiver<Arc<SourceState>>,
    _tasks: JoinSet<()>,
}

fn run(server: &Server, options: ClusterOptions) -> Running {
    let (sender, states) = watch::channel(Arc::new(SourceState::unread("prod")));
    let mut tasks = JoinSet::new();
    let clock = Arc::new(Paused(Instant::now()));
    tasks.spawn(source(server, options).run(sender, clock, std::future::pending::<()>()));
    Running {
        states,
        _tasks: tasks,
    }
}

impl Running {
    async fn until(&self, claim: impl Fn(&SourceState) -> bool) -> Arc<SourceState> {
        let mut states = self.states.clone();
        let found = states.wait_for(|state| claim(state));
        match timeout(Duration::from_mins(20), found).await {
            Ok(state) => Arc::clone(&state.unwrap()),
            Err(elapsed) => panic!("{elapsed}; last was {:#?}", self.states.borrow()),
        }
    }

    async fn until_complete(&self) -> Arc<SourceState> {
        self.until(|state| state.incomplete.is_none()).await
    }

    async fn until_images(&self, images: &[&str]) -> Arc<SourceState> {
        self.until(|state| told(state) == images).await
    }
}

fn told(state: &SourceState) -> Vec<String> {
    let uses = state.uses.iter();
    uses.map(|image_use| image_use.user.image.to_string())
        .collect()
}

fn object(name: &str, version: &str, image: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "resourceVersion": version},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}},
    })
}

fn deployments(names: &[&str]) -> Vec<Value> {
    let names = names.iter();
    names
        .map(|name| object(name, "1", &format!("{name}:v1")))
        .collect()
}

fn pod(name: &str, image: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name},
        "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(version: &str) -> Value {
    event(
        "BOOKMARK",
        &json!({"metadata": {"resourceVersion": version}}),
    )
}

fn docker_config(username: &str) -> Value {
    use base64::Engine as _;
    let config =
        json!({"auths": {"registry.example": {"username": username, "password": "hunter2"}}});
    let content = base64::engine::general_purpose::STANDARD.encode(config.to_string());
    json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": content}})
}

fn found_user(secret: &PullSecret) -> String {
    match secret {
        PullSecret::Found(keyring) => {
            let fitting = keyring.matching(&"registry.example/a".parse().unwrap());
            fitting
                .first()
                .map_or_else(String::new, |credential| credential.username.clone())
        }
        PullSecret::Missing => "missing".to_owned(),
        PullSecret::Malformed(reason) => format!("malformed: {reason}"),
        PullSecret::Unreadable(reason) => format!("unreadable: {reason}"),
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_listed_once_owners_first() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    server.set(PODS, vec![pod("bare", "bare:v1")]);
    server.set("/apis/apps/v1/controllerrevisions", vec![json!({
        "metadata": {"namespace": "shop", "name": "db-1", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": true}]},
        "data": object("", "", "db:v0"),
    })]);
    server.set(NODES, vec![
        json!({"metadata": {"name": "b"}, "status": {"nodeInfo": {"operatingSystem": "linux", "architecture": "arm64"}}}),
        json!({"metadata": {"name": "a"}, "status": {"nodeInfo": {"operatingSystem": "linux", "architecture": "amd64"}}}),
        json!({"metadata": {"name": "c"}, "status": {"nodeInfo": {"operatingSystem": "linux", "architecture": "amd64",
            "kernelVersion": "6.12.1-generic"}}}),
        json!({"metadata": {"name": "d"}, "status": {"nodeInfo": {"operatingSystem": "windows", "architecture": "amd64",
            "kernelVersion": "10.0.20348.2340"}}}),
        json!({"metadata": {"name": "registering"}}),
    ]);
    let state = read(&server).await;
    assert_eq!(state.incomplete, None);
    assert_eq!(state.complete_at, Some(Timestamp::UNIX_EPOCH));
    assert_eq!(told(&state), ["web:v1", "bare:v1", "db:v0"]);
    assert_eq!(state.uses[0].user.cluster.as_deref(), Some("prod"));
    let platforms: Vec<String> = state
        .platforms
        .unwrap()
        .iter()
        .map(Platform::to_string)
        .collect();
    let windows = "windows(10.0.20348)/amd64";
    assert_eq!(platforms, ["linux/amd64", "linux/arm64", windows]);
    let requests = server.requests("/");
    assert_eq!(requests.len(), 13);
    assert!(
        requests[12].starts_with(PODS) && requests[..9].iter().any(|r| r.starts_with(CRON_JOBS))
    );
    assert!(
        requests
            .iter()
            .all(|request| request.contains("limit=500") && !request.contains("resourceVersion"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_forbidden_makes_the_source_incomplete_and_says_so() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    let message = "cronjobs.batch is forbidden: User \"p\" cannot list resource \"cronjobs\"";
    server.always(CRON_JOBS, Answer::Status(403, message));
    server.always(PODS, Answer::Status(500, "etcdserver: leader changed"));
    let state = read(&server).await;
    assert_eq!(
        state.incomplete.unwrap(),
        format!("{message}; pods: etcdserver: leader changed")
    );
    assert_eq!(
        (told_images(&state.uses), state.complete_at),
        (vec!["web:v1"], None)
    );
    assert_eq!(server.requests(CRON_JOBS).len(), 1);
    assert_eq!(server.requests(PODS).len(), ATTEMPTS_ONCE);
}

fn told_images(uses: &[crate::inventory::ImageUse]) -> Vec<&str> {
    uses.iter()
        .map(|image_use| &*image_use.user.image)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_and_accounts_may_be_forbidden_and_then_secrets_are_unknown() {
    let server = Server::default();
    let mut own = object("own", "1", "own:v1");
    own["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "mine"}]);
    server.set(DEPLOYMENTS, vec![own, object("web", "1", "web:v1")]);
    server.set_secret("shop", "mine", docker_config("me"));
    server.always(NODES, Answer::Status(403, "nodes is forbidden: no"));
    server.always(
        ACCOUNTS,
        Answer::Status(403, "serviceaccounts is forbidden: no"),
    );
    let state = read(&server).await;
    assert_eq!(state.incomplete, None);
    assert_eq!(
        state.absent[..2],
        ["nodes is forbidden: no", "serviceaccounts is forbidden: no"]
    );
    assert_eq!(state.platforms, None);
    assert_eq!(*state.uses[0].pull_secrets, ["mine".into()]);
    assert_eq!(
        *state.uses[1].pull_secrets,
        ["serviceaccount:default".into()]
    );
    let secret = |name: &str| found_user(&state.pull_secrets[&("shop".into(), name.into())]);
    assert_eq!(secret("mine"), "me");
    assert_eq!(
        secret("serviceaccount:default"),
        "unreadable: serviceaccounts is forbidden: no"
    );
}

#[tokio::test(start_paused = true)]
async fn secrets_are_read_by_name_and_say_what_is_wrong() {
    let server = Server::default();
    let names = [
        "good",
        "old",
        "opaque",
        "forbidden",
        "broken",
        "gone",
        "../../pods",
    ];
    let pull_secrets: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let mut web = object("web", "1", "web:v1");
    web["spec"]["template"]["spec"]["imagePullSecrets"] = json!(pull_secrets);
    server.set(DEPLOYMENTS, vec![web, object("plain", "1", "plain:v1")]);
    server.set(
        ACCOUNTS,
        vec![json!({"metadata": {"namespace": "shop", "name": "default"},
        "imagePullSecrets": [{"name": "of-account"}]})],
    );
    server.set_secret("shop", "good", docker_config("me"));
    server.set_secret("shop", "of-account", docker_config("account"));
    let old = json!({"type": "kubernetes.io/dockercfg",
        "data": {".dockercfg": "eyJyZWdpc3RyeS5leGFtcGxlIjogeyJ1c2VybmFtZSI6ICJvbGQifX0="}});
    server.set_secret("shop", "old", old);
    server.set_secret(
        "shop",
        "opaque",
        json!({"type": "Opaque", "data": {"a": "Yg=="}}),
    );
    let broken =
        json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30x"}});
    server.set_secret("shop", "broken", broken);
    let path = "/api/v1/namespaces/shop/secrets/forbidden";
    server.always(
        path,
        Answer::Status(403, "secrets \"forbidden\" is forbidden"),
    );
    let state = read(&server).await;
    let secret = |name: &str| found_user(&state.pull_secrets[&("shop".into(), name.into())]);
    assert_eq!(secret("good"), "me");
    assert_eq!(secret("of-account"), "account");
    assert_eq!(secret("old"), "old");
    assert_eq!(secret("opaque"), "");
    assert_eq!(
        secret("forbidden"),
        "unreadable: secrets \"forbidden\" is forbidden"
    );
    assert!(secret("broken").starts_with("malformed: its .dockerconfigjson is malformed"));
    assert_eq!(secret("gone"), "missing");
    assert_eq!(secret("../../pods"), "missing");
    assert_eq!(state.pull_secrets.len(), names.len() + 1);
    assert_eq!(server.requests("/api/v1/namespaces/shop/secrets/").len(), 7);
    assert!(server.requests("/api/v1/secrets").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_expired_continue_token_begins_the_list_anew_and_never_joins_two_states() {
    let server = Server::default();
    server.once(
        DEPLOYMENTS,
        Answer::Page(page(&deployments(&["gone"]), "5", "next")),
    );
    server.once(
        DEPLOYMENTS,
        Answer::Status(410, "The provided continue parameter is too old"),
    );
    server.once(
        DEPLOYMENTS,
        Answer::Page(page(&deployments(&["a"]), "6", "next")),
    );
    server.once(
        DEPLOYMENTS,
        Answer::Page(page(&deployments(&["b"]), "6", "")),
    );
    let state = read(&server).await;
    assert_eq!(
        (told_images(&state.uses), state.incomplete),
        (vec!["a:v1", "b:v1"], None)
    );

    server.always(DEPLOYMENTS, Answer::Status(410, "too old"));
    let state = read(&server).await;
    assert!(
        state
            .incomplete
            .unwrap()
            .contains("expired before its last page")
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_too_large_is_asked_for_in_smaller_ones() {
    let server = Server::default();
    let huge = "x".repeat(usize::try_from(kinds::Shape::Typed.page_bytes()).unwrap());
    server.once(DEPLOYMENTS, Answer::Page(json!({"items": [huge]})));
    server.once(
        DEPLOYMENTS,
        Answer::Page(page(&deployments(&["a"]), "6", "")),
    );
    let state = read(&server).await;
    assert_eq!(
        (told_images(&state.uses), state.incomplete),
        (vec!["a:v1"], None)
    );
    assert!(server.requests(DEPLOYMENTS)[1].contains("limit=62"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_incomplete_in_the_end() {
    let server = Server::default();
    server.always(CRON_JOBS, Answer::Hang);
    let state = read(&server).await;
    assert_eq!(
        state.incomplete.unwrap(),
        "cronjobs.batch: no answer within 60 s"
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_are_read_one_by_one() {
    let server = Server::default();
    server.set(
        "/apis/apps/v1/namespaces/shop/deployments",
        deployments(&["web"]),
    );
    server.always(
        "/apis/batch/v1/namespaces/crm/jobs",
        Answer::Status(500, "boom"),
    );
    let options = ClusterOptions {
        namespaces: vec!["shop".to_owned(), "crm".to_owned()],
        class: Class::Failover,
        name: None,
        ..options()
    };
    let state = source(&server, options)
        .read_once(Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(told(&state), ["web:v1"]);
    assert_eq!(state.uses[0].user.class, Class::Failover);
    assert_eq!(state.incomplete.unwrap(), "jobs.batch in crm: boom");
    assert!(server.requests(DEPLOYMENTS).is_empty());
    assert_eq!(server.requests(NODES).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_published_at_once_and_a_removal_too() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    let running = run(&server, options());
    running.until_complete().await;
    let begun = Instant::now();
    server.emit(
        DEPLOYMENTS,
        &event("ADDED", &object("api", "1001", "api:v1")),
    );
    running.until_images(&["api:v1", "web:v1"]).await;
    server.emit(
        DEPLOYMENTS,
        &event("MODIFIED", &object("api", "1002", "api:v2")),
    );
    running.until_images(&["api:v2", "web:v1"]).await;
    server.emit(
        DEPLOYMENTS,
        &event("DELETED", &object("web", "1003", "web:v1")),
    );
    let state = running.until_images(&["api:v2"]).await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(state.incomplete, None);
    assert_eq!(server.requests(&format!("{DEPLOYMENTS}?&limit")).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_watch_goes_on_from_the_last_version_without_a_list() {
    let server = Server::default();
    let running = run(&server, options());
    running.until_complete().await;
    let mut version = 1000;
    for round in 0..4 {
        sleep(Duration::from_mins(2)).await;
        version += 1;
        if round % 2 == 0 {
            server.emit(DEPLOYMENTS, &bookmark(&version.to_string()));
        } else {
            let object = object("web", &version.to_string(), "web:v1");
            server.emit(DEPLOYMENTS, &event("MODIFIED", &object));
        }
        sleep(Duration::from_secs(1)).await;
        server.close(DEPLOYMENTS);
        sleep(Duration::from_secs(1)).await;
        let requests = server.requests(DEPLOYMENTS);
        let last = requests.last().unwrap();
        assert!(
            last.contains(&format!("resourceVersion={version}")),
            "{last}"
        );
        assert!(last.contains("allowWatchBookmarks=true"), "{last}");
    }
    let requests = server.requests(DEPLOYMENTS);
    let (watches, lists): (Vec<_>, Vec<_>) = requests
        .iter()
        .partition(|request| request.contains("watch=true"));
    assert_eq!((watches.len(), lists.len()), (5, 1));
    assert_eq!(running.states.borrow().incomplete, None);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_brings_a_new_list_and_no_dip() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["a", "b"]));
    let running = run(&server, options());
    running.until_complete().await;
    // The new list takes two slow pages; until its end the old state stands.
    server.once(
        DEPLOYMENTS,
        Answer::Page(page(&deployments(&["a"]), "2000", "next")),
    );
    server.once(DEPLOYMENTS, Answer::Hang);
    server.once(DEPLOYMENTS, Answer::Hang);
    server.set(DEPLOYMENTS, deployments(&["a", "c"]));
    let gone = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"});
    sleep(Duration::from_secs(20)).await;
    server.emit(DEPLOYMENTS, &event("ERROR", &gone));
    let begun = Instant::now();
    let state = running.until(|state| state.incomplete.is_some()).await;
    assert_eq!(told(&state), ["a:v1", "b:v1"]);
    assert!(
        begun.elapsed() >= Duration::from_mins(1),
        "the page hung that long"
    );
    let state = running.until_complete().await;
    assert_eq!(told(&state), ["a:v1", "c:v1"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_watch_is_incomplete_until_the_server_agrees_again() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    let running = run(&server, options());
    let complete_at = running.until_complete().await.complete_at.unwrap();
    server.always(
        CRON_JOBS,
        Answer::Status(403, "cronjobs.batch is forbidden: revoked"),
    );
    server.always(
        "/apis/batch/v1/cronjobs?watch",
        Answer::Status(403, "cronjobs.batch is forbidden: revoked"),
    );
    sleep(Duration::from_mins(3)).await;
    server.close(CRON_JOBS);
    let state = running.until(|state| state.incomplete.is_some()).await;
    assert_eq!(
        state.incomplete.as_deref(),
        Some("cronjobs.batch is forbidden: revoked")
    );
    assert_eq!(told(&state), ["web:v1"]);
    assert!(state.complete_at.unwrap() >= complete_at);
    // The others go on meanwhile.
    server.emit(
        DEPLOYMENTS,
        &event("ADDED", &object("api", "1000", "api:v1")),
    );
    let state = running.until_images(&["api:v1", "web:v1"]).await;
    assert!(state.incomplete.is_some());
    let asked = server.requests(CRON_JOBS).len();
    sleep(Duration::from_mins(10)).await;
    let asked = server.requests(CRON_JOBS).len() - asked;
    assert!(
        (15..=60).contains(&asked),
        "asked {asked} times in ten minutes"
    );
    server.no_longer(CRON_JOBS);
    server.no_longer("/apis/batch/v1/cronjobs?watch");
    running.until_complete().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_is_healthy_again_when_it_is_open_again() {
    let server = Server::default();
    server.once(
        "/apis/apps/v1/deployments?watch",
        Answer::Broken(vec![event("ADDED", &object("web", "1001", "web:v1"))]),
    );
    server.once(
        "/apis/apps/v1/deployments?watch",
        Answer::Status(503, "apiserver is shutting down"),
    );
    let running = run(&server, options());
    running.until_images(&["web:v1"]).await;
    running.until_complete().await;
    sleep(Duration::from_mins(1)).await;
    let requests = server.requests(DEPLOYMENTS);
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert!(
        requests[2..]
            .iter()
            .all(|request| request.contains("resourceVersion=1001"))
    );
    assert_eq!(running.states.borrow().incomplete, None);
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_stalled_after_its_time_and_then_made_anew() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    server.once("/apis/apps/v1/deployments?watch", Answer::Silent);
    server.once("/apis/apps/v1/deployments?watch", Answer::Hang);
    let running = run(&server, options());
    running.until_complete().await;
    let begun = Instant::now();
    let state = running.until(|state| state.incomplete.is_some()).await;
    let waited = begun.elapsed().as_secs();
    assert!((240..=310).contains(&waited), "{waited}");
    let reason = state.incomplete.as_deref().unwrap();
    assert!(
        reason.starts_with("deployments.apps: its watch stalled: nothing came"),
        "{reason}"
    );
    assert_eq!(told(&state), ["web:v1"]);
    running.until_complete().await;
    assert_eq!(server.requests(&format!("{DEPLOYMENTS}?&limit")).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_source_goes_on_telling_when_it_was_complete() {
    let server = Server::default();
    let running = run(&server, options());
    let first = running.until_complete().await.complete_at.unwrap();
    for _ in 0..3 {
        sleep(Duration::from_secs(40)).await;
        for kind in server.requests("/") {
            server.emit(kind.split('?').next().unwrap(), &bookmark("1001"));
        }
    }
    let fresh = first + Duration::from_secs(90);
    running
        .until(|state| state.complete_at.unwrap() >= fresh)
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_first_list_that_never_ends_is_not_an_empty_cluster() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    server.always(PODS, Answer::Hang);
    let running = run(&server, options());
    let state = running.until_images(&["web:v1"]).await;
    assert!(state.incomplete.is_some());
    sleep(Duration::from_mins(5)).await;
    let state = Arc::clone(&running.states.borrow());
    assert_eq!(
        state.incomplete.as_deref(),
        Some("pods: no answer within 60 s")
    );
    assert_eq!(state.complete_at, None);
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_read_again_and_survives_a_moments_outage() {
    let server = Server::default();
    let mut web = object("web", "1", "web:v1");
    web["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "regcred"}]);
    server.set(DEPLOYMENTS, vec![web]);
    server.set_secret("shop", "regcred", docker_config("first"));
    let running = run(&server, options());
    let key = ("shop".into(), "regcred".into());
    let is = |user: &'static str| {
        let key = key.clone();
        move |state: &SourceState| {
            state
                .pull_secrets
                .get(&key)
                .is_some_and(|secret| found_user(secret) == user)
        }
    };
    let state = running.until_complete().await;
    assert_eq!(found_user(&state.pull_secrets[&key]), "first");
    server.set_secret("shop", "regcred", docker_config("second"));
    running.until(is("second")).await;
    let path = "/api/v1/namespaces/shop/secrets/regcred";
    server.always(path, Answer::Status(500, "etcdserver: request timed out"));
    sleep(Duration::from_mins(5)).await;
    assert!(is("second")(&running.states.borrow()));
    server.always(path, Answer::Status(403, "revoked"));
    running.until(is("unreadable: revoked")).await;
    server.always(path, Answer::Status(404, "not found"));
    running.until(is("missing")).await;
}

#[tokio::test(start_paused = true)]
async fn secrets_that_hang_do_not_hold_up_the_images() {
    let server = Server::default();
    let mut web = object("web", "1", "web:v1");
    web["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "regcred"}]);
    server.set(DEPLOYMENTS, vec![web]);
    server.always("/api/v1/namespaces/shop/secrets/regcred", Answer::Hang);
    let running = run(&server, options());
    let begun = Instant::now();
    let state = running.until_complete().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(matches!(
        state.pull_secrets.values().next(),
        Some(PullSecret::Unreadable(_))
    ));
    server.no_longer("/api/v1/namespaces/shop/secrets/regcred");
    server.set_secret("shop", "regcred", docker_config("me"));
    running
        .until(|state| {
            state
                .pull_secrets
                .values()
                .all(|secret| found_user(secret) == "me")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn run_ends_when_it_is_told_to() {
    let server = Server::default();
    let (sender, _states) = watch::channel(Arc::new(SourceState::unread("prod")));
    let clock = Arc::new(Paused(Instant::now()));
    let shutdown = sleep(Duration::from_secs(5));
    timeout(
        Duration::from_secs(6),
        source(&server, options()).run(sender, clock, shutdown),
    )
    .await
    .unwrap();
}

fn kubeconfig(directory: &std::path::Path, server: &str) -> PathBuf {
    let file = directory.join("config");
    let content = json!({"apiVersion": "v1", "kind": "Config", "current-context": "one",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "one", "context": {"cluster": "c"}}, {"name": "two", "context": {"cluster": "none"}}]});
    std::fs::write(&file, content.to_string()).unwrap();
    file
}

#[tokio::test]
async fn a_kubeconfig_leads_to_the_cluster_over_the_network() {
    let directory = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    let mut tasks = JoinSet::new();
    let router = server.router();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let options = ClusterOptions {
        access: Access::Kubeconfig {
            file: Some(kubeconfig(directory.path(), &format!("http://{address}"))),
            context: None,
        },
        ..options()
    };
    let source = connect(&options).await.unwrap();
    let state = source.read_once(Timestamp::UNIX_EPOCH).await;
    assert_eq!(
        (told(&state), state.incomplete),
        (vec!["web:v1".to_owned()], None)
    );
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    let state = source.read_once(Timestamp::UNIX_EPOCH).await;
    let reason = state.incomplete.unwrap();
    assert!(
        reason.starts_with("deployments.apps: Connection refused"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_client_that_cannot_be_made_names_the_place_and_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = kubeconfig(directory.path(), "http://127.0.0.1:1");
    let check = async |file: PathBuf, context: Option<&str>, namespace: &str, expected: &[&str]| {
        let options = ClusterOptions {
            access: Access::Kubeconfig {
                file: Some(file),
                context: context.map(ToOwned::to_owned),
            },
            namespaces: vec![namespace.to_owned()],
            ..options()
        };
        let error = connect(&options).await.unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{error}");
        }
    };
    check(
        file.clone(),
        Some("three"),
        "shop",
        &[
            "context `three` of kubeconfig",
            "its contexts are: one, two",
        ],
    )
    .await;
    check(
        file.clone(),
        Some("two"),
        "shop",
        &["cluster of context: none"],
    )
    .await;
    check(
        directory.path().join("missing"),
        None,
        "shop",
        &["missing", "No such file", "name a kubeconfig"],
    )
    .await;
    check(
        file,
        None,
        "../x",
        &["`../x` is not the name of a namespace"],
    )
    .await;
}
