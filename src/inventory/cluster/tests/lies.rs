//! What an API server, or whatever answers in its place, says that is not so.

use super::*;

const WATCH: &str = "/apis/apps/v1/deployments?watch";

fn deployments_page(names: &[&str], version: &str) -> Answer {
    Answer::Page(page(&deployments(names), version, ""))
}

#[tokio::test(start_paused = true)]
async fn any_json_is_not_an_empty_list() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    let running = run(&server, options());
    running.until_complete().await;
    let status = json!({"kind": "Status", "status": "Failure"});
    for lie in [json!({}), json!({"items": []}), status] {
        server.once(WATCH, Answer::Status(410, "too old resource version"));
        server.always(DEPLOYMENTS, Answer::Page(lie));
        sleep(Duration::from_secs(20)).await;
        server.close(DEPLOYMENTS);
        let state = running.until(|state| state.incomplete.is_some()).await;
        let reason = state.incomplete.as_deref().unwrap();
        assert!(reason.contains("the answer is not a list"), "{reason}");
        assert_eq!(told(&state), ["web:v1"]);
        server.no_longer(DEPLOYMENTS);
        running.until_complete().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_two_versions_are_never_joined() {
    let server = Server::default();
    let first = page(&deployments(&["a"]), "5", "next");
    server.once(DEPLOYMENTS, Answer::Page(first.clone()));
    // As if somebody between had followed the inconsistent continuation for us.
    server.once(DEPLOYMENTS, deployments_page(&["c"], "9"));
    server.once(DEPLOYMENTS, deployments_page(&["b", "c"], "9"));
    let state = read(&server).await;
    assert_eq!(
        (told(&state), state.incomplete),
        (vec!["b:v1".to_owned(), "c:v1".to_owned()], None)
    );

    server.once(DEPLOYMENTS, Answer::Page(first));
    server.always(DEPLOYMENTS, deployments_page(&["c"], "9"));
    let state = read(&server).await;
    assert_eq!(
        (told(&state), state.incomplete),
        (vec!["c:v1".to_owned()], None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_older_than_what_was_seen_is_a_failure_until_the_server_has_caught_up() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    let running = run(&server, options());
    running.until_complete().await;
    server.emit(
        DEPLOYMENTS,
        &event("ADDED", &object("api", "10001", "api:v1")),
    );
    running.until_images(&["api:v1", "web:v1"]).await;
    // 9999 is less than 10001, and neither as a text nor by its length alone would it seem so.
    server.always(DEPLOYMENTS, deployments_page(&["web"], "9999"));
    server.once(WATCH, Answer::Status(410, "too old resource version"));
    sleep(Duration::from_secs(20)).await;
    server.close(DEPLOYMENTS);
    let state = running.until(|state| state.incomplete.is_some()).await;
    assert_eq!(
        state.incomplete.as_deref().unwrap(),
        "deployments.apps: its list is of version 9999, and 10001 was seen before: the API server \
         answers from an old state (if etcd was restored from a backup, restart pullproof)"
    );
    assert_eq!(told(&state), ["api:v1", "web:v1"]);
    sleep(Duration::from_mins(10)).await;
    assert!(running.states.borrow().incomplete.is_some());
    server.always(DEPLOYMENTS, deployments_page(&["api", "web"], "10001"));
    let state = running.until_complete().await;
    assert_eq!(told(&state), ["api:v1", "web:v1"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_goes_back_in_time_changes_nothing_and_is_a_failure() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    let running = run(&server, options());
    running.until_complete().await;
    for old in [
        bookmark("999"),
        event("MODIFIED", &object("web", "999", "web:v0")),
        event("DELETED", &object("web", "999", "web:v1")),
    ] {
        sleep(Duration::from_secs(20)).await;
        let lists = server.requests(&format!("{DEPLOYMENTS}?&limit")).len();
        server.emit(DEPLOYMENTS, &old);
        // What the server says of itself is asked anew.
        until(&server, |_, now| now > lists).await;
        let state = running.until_complete().await;
        assert_eq!(told(&state), ["web:v1"]);
    }
    // While the list is old too it does not pass for well.
    server.always(DEPLOYMENTS, deployments_page(&[], "999"));
    sleep(Duration::from_secs(20)).await;
    server.emit(DEPLOYMENTS, &bookmark("998"));
    let state = running.until(|state| state.incomplete.is_some()).await;
    assert_eq!(told(&state), ["web:v1"]);
    sleep(Duration::from_mins(10)).await;
    assert!(running.states.borrow().incomplete.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lasts_without_a_word_is_followed_by_a_question() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    let running = run(&server, options());
    running.until_complete().await;
    let questions = || server.requests(&format!("{DEPLOYMENTS}?&limit=1")).len();
    let lists = || server.requests(&format!("{DEPLOYMENTS}?&limit=500")).len();
    // The one before ends with a bookmark of where it began, which says as little.
    until(&server, |watches, _| watches == 2).await;
    assert_eq!((questions(), lists()), (1, 1));
    server.always(WATCH, Answer::Mute);
    until(&server, |watches, _| watches == 4).await;
    assert_eq!((questions(), lists()), (3, 1));
    assert_eq!(running.states.borrow().incomplete, None);
    // What it was asked for is all that there is, so it may be as silent as it likes.
    until(&server, |watches, _| watches == 6).await;
    assert_eq!(lists(), 1);
    // As an API server does that has lost its etcd.
    server.always(
        DEPLOYMENTS,
        Answer::Status(500, "etcdserver: request timed out"),
    );
    let state = running.until(|state| state.incomplete.is_some()).await;
    let reason = "deployments.apps: etcdserver: request timed out";
    assert_eq!(state.incomplete.as_deref(), Some(reason));
    assert_eq!(told(&state), ["web:v1"]);
    server.no_longer(DEPLOYMENTS);
    running.until_complete().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_stays_silent_behind_the_present_brings_a_list() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    let running = run(&server, options());
    running.until_complete().await;
    // Whatever stands between holds back what it is told, and passes lists on.
    server.always(WATCH, Answer::Mute);
    until(&server, |watches, _| watches == 2).await;
    let hour = Duration::from_secs(60 * 60);
    server.always(DEPLOYMENTS, deployments_page(&["api", "web"], "10002"));
    sleep(hour / 2).await;
    assert_eq!(told(&running.states.borrow()), ["web:v1"]);
    sleep(hour).await;
    running.until_images(&["api:v1", "web:v1"]).await;
    // The same with bookmarks, which are of a time before.
    server.no_longer(WATCH);
    server.always(DEPLOYMENTS, deployments_page(&["late"], "10003"));
    sleep(hour * 3 / 2).await;
    running.until_images(&["late:v1"]).await;
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_without_a_word_bring_a_list() {
    let server = Server::default();
    server.set(DEPLOYMENTS, deployments(&["web"]));
    server.always(WATCH, Answer::Broken(Vec::new()));
    let running = run(&server, options());
    running.until_images(&["web:v1"]).await;
    server.always(WATCH, Answer::Empty);
    server.set(DEPLOYMENTS, deployments(&["api", "web"]));
    running.until_images(&["api:v1", "web:v1"]).await;
    let requests = server.requests(DEPLOYMENTS);
    let lists = requests.iter().filter(|request| !request.contains("watch"));
    let (lists, all) = (lists.count(), requests.len());
    assert!(all >= 4 * (lists - 1), "{lists} lists of {all} requests");
}

/// Until so many watches and lists were asked for.
async fn until(server: &Server, claim: impl Fn(usize, usize) -> bool) {
    let asked = async {
        loop {
            let requests = server.requests(DEPLOYMENTS);
            let watches = requests
                .iter()
                .filter(|it| it.contains("watch=true"))
                .count();
            if claim(watches, requests.len() - watches) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_mins(20), asked).await.unwrap();
}
