//! Credential helpers: real programs, asked by `pullproof verify` and by an entry of the configuration.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::cli::run::{Ended, run};
use crate::support::daemon::command;

use super::scripted::{Door, Scripted};

/// Writes `docker-credential-NAME` into `HOME/bin`.
fn helper(home: &Path, name: &str, body: &str) {
    let directory = home.join("bin");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(format!("docker-credential-{name}"));
    // Written under another name: a program that is open for writing cannot be run.
    let beside = directory.join("new");
    std::fs::write(&beside, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(beside, path).unwrap();
}

async fn verify(home: &Path, arguments: &[&str]) -> Ended {
    let mut command = command(home);
    let path = format!("{}:/usr/bin:/bin", home.join("bin").display());
    command.env("PATH", path);
    command.args(["verify", "-o", "json"]).args(arguments);
    run(command, "").await
}

fn docker_config(home: &Path, content: &str) {
    std::fs::create_dir_all(home.join(".docker")).unwrap();
    std::fs::write(home.join(".docker/config.json"), content).unwrap();
}

/// Answers for whatever it is asked, and writes down what that was.
const ALICE: &str = r#"read -r host; echo "$1 $host" >> "$HOME/asked"
echo "{\"ServerURL\":\"$host\",\"Username\":\"alice\",\"Secret\":\"wonder\"}""#;

#[tokio::test]
async fn a_helper_is_asked_at_a_desk_by_docker_and_by_podman() {
    for (place, key) in [
        (".docker/config.json", "credHelpers"),
        (".docker/config.json", "credsStore"),
        (".config/containers/auth.json", "credHelpers"),
    ] {
        let registry = Scripted::new(Door::Basic);
        registry.allow("alice:wonder", "");
        let host = registry.host();
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        helper(home, "wonderland", ALICE);
        let config = match key {
            "credsStore" => r#"{"credsStore": "wonderland"}"#.to_owned(),
            _ => format!(r#"{{"credHelpers": {{"{host}": "wonderland"}}}}"#),
        };
        let file = home.join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, config).unwrap();

        let references = [format!("{host}/team/app:1"), format!("{host}/team/other:1")];
        let ended = verify(
            home,
            &["--plain-http", &host, &references[0], &references[1]],
        )
        .await;
        assert_eq!(ended.code, 0, "{place} {key}: {ended:?}");
        // Once for the host, however many images it has.
        let asked = std::fs::read_to_string(home.join("asked")).unwrap();
        assert_eq!(asked, format!("get {host}\n"));
        assert!(!ended.stdout.contains("wonder"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_helper_gives_identity_tokens_and_none_at_all() {
    let registry = Scripted::new(Door::Token);
    registry.allow("refresh:r3fresh", "team");
    registry.allow("bob:builder", "file");
    let host = registry.host();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    helper(
        home,
        "tokens",
        r#"echo '{"Username":"<token>","Secret":"r3fresh"}'"#,
    );
    docker_config(
        home,
        &format!(r#"{{"credHelpers": {{"{host}": "tokens"}}}}"#),
    );
    let ended = verify(
        home,
        &["--plain-http", &host, &format!("{host}/team/app:1")],
    )
    .await;
    assert_eq!(ended.code, 0, "{ended:?}");

    // One that has none leaves it to what the file holds.
    helper(
        home,
        "tokens",
        "echo credentials not found in native keychain; exit 1",
    );
    let config = format!(
        r#"{{"credsStore": "tokens", "auths": {{"{host}": {{"username": "bob", "password": "builder"}}}}}}"#
    );
    docker_config(home, &config);
    let ended = verify(
        home,
        &["--plain-http", &host, &format!("{host}/file/app:1")],
    )
    .await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[tokio::test]
async fn where_a_helper_fails_nothing_is_asked_and_nothing_is_broken() {
    // A registry that says 404 of what a stranger may not see.
    let registry = Scripted::new(Door::Token);
    registry.allow("alice:wonder", "");
    let host = registry.host();
    let reference = format!("{host}/team/app:1");
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let stranger = verify(home, &["--plain-http", &host, &reference]).await;
    assert_eq!(
        (stranger.code, stranger.codes("/app:1")),
        (2, vec!["tag_missing".to_owned()]),
        "so it is with nobody's credential"
    );
    docker_config(
        home,
        &format!(r#"{{"credHelpers": {{"{host}": "wonderland"}}}}"#),
    );
    std::fs::write(home.join("pullproof.yaml"), format!(
        "inventory: {{references: [{{name: keep, file: keep.txt}}]}}\n\
         registries: [{{host: \"{host}\", plainHttp: true, credentials: {{dockerConfig: {{file: .docker/config.json}}}}}}]\n"
    )).unwrap();
    std::fs::write(home.join("keep.txt"), &reference).unwrap();
    let before = registry.seen().len();
    for body in [
        "echo session expired, log in again >&2; exit 1",
        "echo hunter2",
        r#"echo '{"Username":"alice","Secret":"hunter2"}'; exit 1"#,
    ] {
        helper(home, "wonderland", body);
        for arguments in [
            &["--config", "/dev/null", "--plain-http", &host, &reference][..],
            &[],
        ] {
            let ended = verify(home, arguments).await;
            assert_eq!(
                (ended.code, ended.codes("/app:1")),
                (3, vec!["credential_unavailable".to_owned()]),
                "{body}: {ended:?}"
            );
            assert!(
                ended.stdout.contains("docker-credential-wonderland"),
                "{ended:?}"
            );
            assert!(
                !ended.stdout.contains("hunter2") && !ended.stderr.contains("hunter2"),
                "{ended:?}"
            );
        }
    }
    assert_eq!(
        registry.seen().len(),
        before,
        "it was asked as somebody else"
    );

    helper(home, "wonderland", ALICE);
    assert_eq!(verify(home, &[]).await.code, 0);

    // A file that names no helper but a way to one is refused, not passed over.
    docker_config(
        home,
        r#"{"credsStore": "../bin/docker-credential-wonderland"}"#,
    );
    let ended = verify(
        home,
        &["--config", "/dev/null", "--plain-http", &host, &reference],
    )
    .await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("credsStore") && ended.stderr.contains("DOCKER_CONFIG"),
        "{ended:?}"
    );
}
