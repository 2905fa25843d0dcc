//! What may answer in a peer's place.

#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::{SignedDuration, Timestamp};
use pullproof::clock::{Clock, SystemClock};
use pullproof::inventory::keepset::KeepSet;
use pullproof::inventory::peer::told::Users;
use pullproof::inventory::peer::{self, PeerOptions};
use pullproof::inventory::{Inventory, SourceState, completeness, references};
use pullproof::oci::digest::Digest;
use pullproof::oci::reference::Aliases;
use pullproof::view::{ForPeer, KeepSetAnswer, Said};

use crate::support::http;
use crate::support::server::Server;

/// What a scripted peer answers next.
#[derive(Debug, Clone)]
enum Next {
    Text(u16, &'static str, String),
    Redirect(String),
    /// The beginning of a text, and then nothing.
    Cut(String),
    Gzip(Vec<u8>),
}

fn respond(next: Next) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match next {
        Next::Text(status, kind, text) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Next::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Next::Cut(text) => {
            let pieces = [Ok(text), Err(std::io::Error::other("cut"))];
            (json, Body::from_stream(futures::stream::iter(pieces))).into_response()
        }
        Next::Gzip(bytes) => (json, [(header::CONTENT_ENCODING, "gzip")], bytes).into_response(),
    }
}

/// What a daemon with this list answers now.
fn told(list: &str, now: Timestamp) -> String {
    let source = references::read_text("keep", list, now);
    let inventory = Arc::new(Inventory {
        sources: vec![Arc::new(source)],
    });
    let complete = completeness::complete(&inventory, now).unwrap();
    let set = KeepSet::of(
        &complete,
        &Aliases::default(),
        std::iter::empty(),
        SignedDuration::ZERO,
    );
    let content = Users::of(&inventory, &Aliases::default())
        .content(&set)
        .unwrap();
    let answer = KeepSetAnswer {
        said: Said {
            daemon: Digest::of(b"daemon"),
            configuration: Digest::of(b"configuration"),
            sequence: 1,
            at: now,
        },
        inventory,
        aliases: Aliases::default(),
        complete: true,
        set: Some(set),
        refusals: Vec::new(),
        peer: Some(ForPeer {
            content: Some(content),
            unchanged: false,
        }),
    };
    let mut text = Vec::new();
    answer.write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// As it is cut before or after the first of it came.
const CUT: &str =
    "its answer cannot be read: it was cut|connection closed before message completed";

/// What is none of its answers, and what is said of that. `whole` is one.
fn wrong(whole: String, server: &Server) -> Vec<(Next, &'static str)> {
    let half = whole[..whole.len() / 2].to_owned();
    let packed = gzip(&whole);
    let json = "application/json";
    let text = |status, kind, text: &str| Next::Text(status, kind, text.to_owned());
    let elsewhere = format!("{}/elsewhere", server.url());
    vec![
        (
            text(401, "text/plain", "no\n"),
            "it answers 401: it does not know our token; `token` has to hold what its http.token does (no)",
        ),
        (
            text(403, "text/plain", ""),
            "it answers 403: it serves no keep-set to anybody, or not to us",
        ),
        (
            text(404, "text/html", "<h1>"),
            "it answers 404: there is no pullproof's page (<h1>)",
        ),
        (
            text(503, "text/plain", "the ledger cannot be read\nx"),
            "it answers 503: it cannot say what is kept (the ledger cannot be read)",
        ),
        (
            Next::Redirect(elsewhere),
            "it answers 302: it leads elsewhere, and that is not followed",
        ),
        (
            text(200, "text/html", "<h1>"),
            "it answers `text/html` and no JSON: it is no pullproof's page",
        ),
        (
            text(200, json, "{}"),
            "its answer is no keep-set: missing field `schema`",
        ),
        (text(200, json, ""), "its answer is no keep-set: EOF"),
        (text(200, json, &half), "its answer is no keep-set: EOF"),
        (
            text(200, json, &format!("{whole}{whole}")),
            "its answer is no keep-set: trailing characters",
        ),
        (Next::Cut(half), CUT),
        // All of it came, and not that this is all.
        (Next::Cut(whole), CUT),
        (
            Next::Gzip(packed[..packed.len() - 9].to_vec()),
            "its answer cannot be read: incomplete deflate stream",
        ),
        (
            Next::Gzip(b"not at all".to_vec()),
            "its answer cannot be read: invalid gzip header",
        ),
    ]
}

#[tokio::test]
async fn whatever_answers_in_its_place_is_told_and_what_it_said_stays() {
    http::install_crypto_provider();
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let next = Arc::new(Mutex::new(Next::Redirect(String::new())));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (script, heard) = (Arc::clone(&next), Arc::clone(&asked));
    let server = Server::start(Router::new().fallback(async move |request: Request| {
        let token = request.headers()[header::AUTHORIZATION].to_str().unwrap();
        let line = format!("{} {token}", request.uri());
        heard.lock().unwrap().push(line);
        respond(script.lock().unwrap().clone())
    }));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut reader = peer::Reader::new(PeerOptions {
        name: "dr".to_owned(),
        url: format!("{}/prefix", server.url()),
        is_local: true,
        ca: None,
        token: token.clone(),
        max_age: SignedDuration::from_hours(1),
    });
    let mut read = async |answer: Next, before: &SourceState| {
        *next.lock().unwrap() = answer;
        reader.read(before, &clock).await
    };
    let list = "registry.example/a:1\nregistry.example/b:1";
    let now = || SystemClock.now();
    let good = || Next::Text(200, "application/json", told(list, now()));
    let first = read(good(), &peer::unread("dr")).await;
    assert_eq!((&first.incomplete, first.uses.len()), (&None, 2));
    for (answer, expected) in wrong(told(list, now()), &server) {
        let state = read(answer, &first).await;
        let reason = state.incomplete.unwrap();
        assert!(
            reason.starts_with(&format!("{}/prefix: ", server.url())),
            "{reason}"
        );
        let mut expected = expected.split('|');
        assert!(expected.any(|it| reason.contains(it)), "{reason}");
        assert_eq!(
            (&state.uses, state.complete_at),
            (&first.uses, first.complete_at)
        );
        assert!(!reason.contains("s3cret"), "{reason}");
    }
    // It heals, packed too; and the token is what is in the file now.
    std::fs::write(&token, "an0ther\n").unwrap();
    let packed = gzip(&told(list, now()));
    for answer in [good(), Next::Gzip(packed)] {
        let state = read(answer, &first).await;
        assert_eq!((&state.incomplete, &state.uses), (&None, &first.uses));
    }
    std::fs::remove_file(&token).unwrap();
    let reason = read(good(), &first).await.incomplete.unwrap();
    assert!(reason.contains("token: it cannot be read"), "{reason}");
    drop(server);
    std::fs::write(&token, "s3cret\n").unwrap();
    // A connection that was open may be tried first.
    assert!(read(good(), &first).await.incomplete.is_some());
    let reason = read(good(), &first).await.incomplete.unwrap();
    assert!(reason.contains("refused"), "{reason}");

    let asked = asked.lock().unwrap();
    let content = first.peer.as_ref().unwrap().mark.as_ref().unwrap().content;
    assert_eq!(
        asked[0],
        "/prefix/api/v1/keepset?firstHand=true Bearer s3cret"
    );
    let again = format!("/prefix/api/v1/keepset?firstHand=true&unless={content} Bearer ");
    assert_eq!(asked[1], format!("{again}s3cret"));
    assert_eq!(*asked.last().unwrap(), format!("{again}an0ther"));
    // Nobody was led elsewhere.
    assert!(
        asked.iter().all(|line| line.starts_with("/prefix/")),
        "{asked:?}"
    );
}
