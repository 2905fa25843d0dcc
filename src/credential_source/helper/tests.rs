use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use secrecy::ExposeSecret as _;

use super::*;
use crate::credentials::DockerConfig;

/// A real program, in a directory of its own.
struct Script {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Script {
    fn new(body: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            path,
            _directory: directory,
        }
    }

    async fn get(&self, bound: Duration) -> Result<Option<Credential>, String> {
        loop {
            let got = get_from(self.path.as_os_str(), &call(), bound).await;
            let got = got.map_err(|problem| problem.to_string());
            // Another test that forked while we wrote it has it open for writing until its own exec.
            if !got
                .as_ref()
                .is_err_and(|problem| problem.contains("Text file busy"))
            {
                return got;
            }
        }
    }
}

fn call() -> HelperCall {
    let config = br#"{"credHelpers": {"registry.example": "test"}}"#;
    let config = DockerConfig::parse(config).unwrap();
    config.helpers("registry.example").remove(0)
}

#[tokio::test]
async fn it_is_asked_with_the_host_on_its_input_and_answers_in_json() {
    let script = Script::new(
        r#"read -r host; printf '{"ServerURL":"%s","Username":"%s of %s","Secret":"s3"}' "$host" "$1" "$host""#,
    );
    let credential = script.get(BOUND).await.unwrap().unwrap();
    assert_eq!(credential.username, "get of registry.example");
    assert_eq!(credential.password.expose_secret(), "s3");
    assert!(credential.identity_token.is_none());
    // The secret may be another next time; whose it is stays.
    assert_eq!(
        credential.id(),
        "helper:test/registry.example/get of registry.example"
    );

    let script = Script::new(r#"echo '{"Username":"<token>","Secret":"refresh"}'"#);
    let credential = script.get(BOUND).await.unwrap().unwrap();
    let token = credential.identity_token.as_ref().unwrap();
    assert_eq!(token.expose_secret(), "refresh");
    assert_eq!(credential.password.expose_secret(), "");
}

#[tokio::test]
async fn having_none_is_no_failure() {
    for body in [
        "echo 'credentials not found in native keychain'; exit 1",
        r#"echo '{"ServerURL":"registry.example","Username":"","Secret":""}'"#,
    ] {
        assert!(Script::new(body).get(BOUND).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_failure_is_told_without_a_secret() {
    let long = "x".repeat(60);
    for (body, expected) in [
        (
            "echo no session; exit 3",
            "failed with exit status: 3: no session",
        ),
        ("echo log in first >&2; exit 1", "log in first"),
        (
            r#"echo '{"Username":"u","Secret":"hunter2"}'; exit 1"#,
            "failed with exit status: 1",
        ),
        (
            r#"echo '{"Username":"u","Secret":"hunter2"'"#,
            "its answer is not JSON",
        ),
        (
            r#"echo '{"Username":"hunter2"}'"#,
            "its answer has no Secret",
        ),
        ("echo hunter2", "its answer is not JSON"),
        (&format!("echo hunter2{long} >&2; exit 1"), "[not shown]"),
        ("kill -9 $$", "signal: 9"),
        ("head -c 70000 /dev/zero", "larger than 64 KiB"),
        ("head -c 70000 /dev/zero; exit 1", "larger than 64 KiB"),
    ] {
        let problem = Script::new(body).get(BOUND).await.unwrap_err();
        assert!(
            problem.starts_with(
                "the credential helper docker-credential-test, asked for registry.example: "
            ) && problem.contains(expected),
            "{body}: {problem}"
        );
        assert!(!problem.contains("hunter2"), "{problem}");
    }
    let missing = PathBuf::from("/nonexistent/docker-credential-test");
    let problem = get_from(missing.as_os_str(), &call(), BOUND).await;
    let problem = problem.unwrap_err().to_string();
    assert!(problem.contains("no such program on the PATH"), "{problem}");
}

#[tokio::test]
async fn one_that_hangs_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = Script::new(&format!("echo $$ > {}; exec sleep 600", file.display()));
    // Long enough to write its number, however busy the machine is: it is only waited for once.
    let problem = script.get(Duration::from_secs(2)).await.unwrap_err();
    assert!(problem.contains("did not end within 2 s"), "{problem}");
    let id = std::fs::read_to_string(file).unwrap();
    let status = PathBuf::from(format!("/proc/{}/stat", id.trim()));
    // Killed at once, reaped by the runtime a moment later.
    let is_gone = || match std::fs::read_to_string(&status) {
        Ok(stat) => stat.contains(") Z "),
        Err(_gone) => true,
    };
    for _ in 0..1000 {
        if is_gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it still runs");
}
