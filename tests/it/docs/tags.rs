//! What docs/retention.md shows: of a registry with distribution 2.8, and of what others are told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use axum::routing::post;
use serde_json::Value;

use super::shown::{By, Shown, bash, run_by};
use crate::retention::apply::{Scene, scene};
use crate::support::parts::require;
use crate::support::registry::Version;
use crate::support::server::Server;

/// Path, credentials and body of each request.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

fn harbor(asked: &Asked) -> Server {
    let asked = Arc::clone(asked);
    let take = async move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let by = headers["authorization"].to_str().unwrap().to_owned();
        let body = serde_json::from_slice(&body).unwrap();
        asked.lock().unwrap().push((uri.to_string(), by, body));
    };
    Server::start(Router::new().fallback(post(take)))
}

struct Told {
    stdout: String,
    harbor: Vec<(String, String, Value)>,
}

async fn run(scene: &Scene, shown: &Shown) -> Told {
    let (home, host) = (scene.shop.home(), scene.shop.registry.host());
    let asked = Asked::default();
    let server = harbor(&asked);
    // The list of what is needed has that name here.
    let command = shown.command.replace("keep.txt", "kept.txt");
    let command = format!("HARBOR={}; {command}", server.url());
    let ended = bash(home, home, &command).await;
    assert_eq!(ended.code, 0, "{}: {ended:?}", shown.command);
    if !shown.output.is_empty() {
        let plain = |text: &str| text.replace(&host, "registry.example:5000");
        shown.compare(&ended.stdout, plain);
    }
    let harbor = std::mem::take(&mut *asked.lock().unwrap());
    Told {
        stdout: ended.stdout,
        harbor,
    }
}

#[tokio::test]
async fn what_is_shown_of_retention_is_what_is_printed() {
    require!("docker-registry", "jq", "curl");
    let scene = scene(Version::V2).await;
    let home = scene.shop.home();
    let az = home.join("bin/az");
    fs::create_dir_all(az.parent().unwrap()).unwrap();
    fs::write(&az, "#!/bin/sh\necho \"$*\" >> az.log\n").unwrap();
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755)).unwrap();
    let host = scene.shop.registry.host();
    let needed = [
        format!("{host}/team/app:in-use"),
        format!("{host}/team/app:multi"),
    ];

    // In the order in which they stand there: plan, apply, restore, and what others are told.
    for shown in run_by(By::Tags) {
        let command = shown.command.as_str();
        if command.starts_with("jq ") {
            continue;
        }
        let told = run(&scene, &shown).await;
        if command.contains("> keep.txt") {
            let text = fs::read_to_string(home.join("kept.txt")).unwrap();
            for reference in &needed {
                assert!(text.lines().any(|line| line == reference), "{text}");
            }
        } else if command.contains("--for json") {
            assert_eq!(told.stdout, "team/app\n".repeat(needed.len()));
        } else if command.contains("--for harbor") {
            let [(path, by, body)] = &told.harbor[..] else {
                panic!("{:?}", told.harbor);
            };
            assert!(path.starts_with("/api/v2.0/projects/team/"), "{path}");
            assert!(by.starts_with("Basic "), "{by}");
            assert!(body.to_string().contains("in-use"), "{body}");
        } else if command.contains("--for azure") {
            let said = fs::read_to_string(home.join("az.log")).unwrap();
            assert!(said.contains("acr repository update "), "{said}");
            assert!(said.contains("team/app:in-use "), "{said}");
        } else if command.contains("gc restore") {
            assert!(
                scene
                    .shop
                    .tags("team/app")
                    .await
                    .contains(&"old".to_owned())
            );
        }
    }

    // What is written down before a tag goes.
    let reads: Vec<Shown> = run_by(By::Tags);
    let mut reads = reads.into_iter().filter(|it| it.command.starts_with("jq "));
    let read = reads.next().unwrap();
    let root = scene.shop.registry.root();
    let command = format!("{} pullproof/tags-*.json", read.command);
    let ended = bash(home, root, &command).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("\"multi-amd64\""), "{ended:?}");
}
