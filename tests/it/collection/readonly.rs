//! A registry that has to take no pushes while it is collected: by an operator, or by pullproof.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

use serde_json::json;

use super::desk::Desk;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

fn required(desk: &Desk, replicas: &[String]) {
    desk.configure("quarantine", r#""readOnly": {"mode": "required"}"#);
    desk.change(|it| it["registries"][0]["replicaEndpoints"] = json!(replicas));
}

async fn refused(desk: &Desk, why: &str) {
    let before = desk.content();
    let ran = desk.gc(&["run"]).await;
    assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
    assert_eq!(ran.codes(), ["registry_writable"], "{ran:?}");
    let message = ran.view["refusals"][0]["message"].as_str().unwrap();
    assert!(message.contains(why), "{why}: {ran:?}");
    assert!(desk.content() == before && desk.held().is_empty());
}

#[tokio::test]
async fn every_replica_has_to_say_that_it_takes_no_pushes() {
    require!("docker-registry", "registry-3.1");
    for version in Version::ALL {
        let mut desk = Desk::start(version).await;
        let options = Options::new(version, desk.root());
        let mut second = Registry::start(options).await;
        let replicas = [desk.registry.url(), second.url()];
        required(&desk, &replicas);
        refused(&desk, &format!("the replica {} takes pushes", replicas[0])).await;
        desk.registry.start_again_with(Options::read_only).await;
        refused(&desk, &format!("the replica {} takes pushes", replicas[1])).await;
        second.stop();
        refused(
            &desk,
            &format!("whether the replica {} takes pushes cannot", replicas[1]),
        )
        .await;
        second.start_again_with(Options::read_only).await;
        let ran = desk.gc(&["run"]).await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
    }
}

/// A way to one registry for the first so many questions of what may be done, and then to another.
fn turning(first: &str, then: &str, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (first, then) = (first.to_owned(), then.to_owned());
    std::thread::spawn(move || {
        let mut asked = 0;
        for mut client in listener.incoming().flatten() {
            let mut begin = [0; 4096];
            let Ok(count @ 1..) = client.read(&mut begin) else {
                continue;
            };
            let begin = &begin[..count];
            asked += usize::from(begin.starts_with(b"OPTIONS "));
            let upstream = if asked <= after { &first } else { &then };
            let mut server = TcpStream::connect(upstream).unwrap();
            server.write_all(begin).unwrap();
            let (mut back, mut answers) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut client, &mut server).ok());
            std::thread::spawn(move || {
                std::io::copy(&mut answers, &mut back).ok();
                back.shutdown(Shutdown::Both).ok();
            });
        }
    });
    url
}

#[tokio::test]
async fn one_that_takes_pushes_again_stops_the_next_batch() {
    require!("registry-3.1");
    let mut desk = Desk::start(Version::V3).await;
    let writable = Registry::start(Options::new(Version::V3, desk.root())).await;
    desk.registry.start_again_with(Options::read_only).await;
    // Before the listing, for the permit, and then before the batch.
    let url = turning(&desk.registry.host(), &writable.host(), 2);
    required(&desk, &[url]);
    refused(&desk, "takes pushes").await;
    let url = turning(&desk.registry.host(), &writable.host(), 3);
    required(&desk, &[url]);
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn whoever_answers_in_a_registrys_stead_is_not_believed() {
    use axum::Router;
    use axum::routing::any;
    require!("registry-3.1");
    let mut desk = Desk::start(Version::V3).await;
    desk.registry.start_again_with(Options::read_only).await;
    let answer = || async { ([("Allow", "GET, HEAD")], "") };
    let proxy = crate::support::server::Server::start(Router::new().fallback(any(answer)));
    required(&desk, &[desk.registry.url(), proxy.url()]);
    refused(&desk, "somebody answers OPTIONS in its stead").await;
}
