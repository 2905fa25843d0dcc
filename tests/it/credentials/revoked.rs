//! A token that ends before its time: it is asked for again, once, and nothing else shows.

use crate::daemon::shop::{OFTEN, of_list, value};
use crate::support::daemon::Daemon;

use super::scripted::{Door, Scripted};

#[tokio::test]
async fn a_refused_token_is_renewed_once_however_many_requests_carried_it() {
    let registry = Scripted::new(Door::Token);
    registry.allow("alice:wonder", "");
    let host = registry.host();
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    std::fs::write(path("keep.txt"), format!("{host}/team/app:1")).unwrap();
    let auth =
        format!(r#"{{"auths": {{"{host}": {{"username": "alice", "password": "wonder"}}}}}}"#);
    std::fs::write(path("registry.json"), auth).unwrap();
    let entry = format!(
        "  - {{host: \"{host}\", plainHttp: true, verify: {OFTEN}, credentials: {{dockerConfig: {{file: {}}}}}}}\n",
        path("registry.json").display()
    );
    let daemon = Daemon::start(&of_list(&path("keep.txt"), &[entry]));
    daemon
        .wait_for_series("workload_image_pullable", &[" 1"])
        .await;
    let tokens = || {
        registry
            .seen()
            .iter()
            .filter(|seen| seen.path == "/oauth2/token" && !seen.who.is_empty())
            .count()
    };
    assert_eq!(tokens(), 1);

    registry.revoke_tokens();
    let completed = "verification_last_completed_timestamp_seconds";
    let first = value(&daemon.wait_for_series(completed, &[]).await);
    daemon
        .wait_until("two more rounds", async || {
            let series = daemon.series(completed, &[]).await;
            (value(series.first()?) > first + 4.0).then_some(())
        })
        .await;
    let refused = registry.who_asked("/v2/team/");
    assert!(
        refused.contains(&"a token that does not count".to_owned()),
        "{refused:?}"
    );
    assert_eq!(tokens(), 2);
    assert!(
        !daemon
            .series("workload_image_pullable", &[" 1"])
            .await
            .is_empty()
    );
}
