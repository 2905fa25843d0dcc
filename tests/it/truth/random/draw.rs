//! One random check: images, what is lost of them, and what goes wrong.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use pullproof::oci::digest::Digest;
use serde_json::Value;

use crate::support::scripted::answer::Wire;
use crate::support::scripted::fault::{Fault, Route, Rule, Which, on};
use crate::support::scripted::store::{Placed, Repository, Store};
use crate::support::scripted::tokens::Access;
use crate::support::scripted::{STORAGE, Script};

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/arm/v7"];

#[derive(Debug)]
pub(super) struct Drawn {
    /// A tag or a digest.
    pub(super) reference: String,
    /// `None`: all platforms.
    pub(super) needs: Option<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct Check {
    pub(super) seed: u64,
    pub(super) repository: String,
    pub(super) images: Vec<Drawn>,
    /// The store before anything was lost.
    pub(super) whole: Store,
    pub(super) script: Script,
    /// In words, in the order in which it was drawn.
    pub(super) drew: Vec<String>,
}

enum Trouble {
    Lost(Digest),
    Rule(Rule),
}

/// Draws the check of a seed, without the troubles at these places.
pub(super) fn check(seed: u64, access: Access, dropped: &[usize]) -> Check {
    let mut rng = Rng::with_seed(seed);
    let repository = format!("random/{seed}");
    let mut whole = Store::default();
    let content = whole.repository(&repository);
    let images: Vec<Drawn> = (0..rng.usize(1..=2))
        .map(|number| image(&mut rng, content, seed, number))
        .collect();
    if rng.u8(..4) == 0 {
        content.redirected = content
            .blobs
            .keys()
            .copied()
            .filter(|_| rng.bool())
            .collect();
    }
    let objects: Vec<Digest> = content
        .manifests
        .keys()
        .chain(content.blobs.keys())
        .copied()
        .collect();
    let troubles: Vec<Trouble> = match rng.u8(..12) {
        0 => Vec::new(),
        1 => vec![Trouble::Lost(any(&mut rng, &objects))],
        2..=6 => vec![trouble(&mut rng, &objects)],
        7..=9 => (0..2).map(|_| trouble(&mut rng, &objects)).collect(),
        _ => (0..3).map(|_| trouble(&mut rng, &objects)).collect(),
    };
    let mut script = Script {
        store: whole.clone(),
        access,
        rules: Vec::new(),
    };
    let mut drew = Vec::new();
    for (place, trouble) in troubles.into_iter().enumerate() {
        if dropped.contains(&place) {
            continue;
        }
        match trouble {
            Trouble::Lost(digest) => {
                script.store.repository(&repository).lose(digest);
                drew.push(format!("lost {digest}"));
            }
            Trouble::Rule(rule) => {
                drew.push(format!("{rule:?}"));
                script.rules.push(rule);
            }
        }
    }
    Check {
        seed,
        repository,
        images,
        whole,
        script,
        drew,
    }
}

fn any<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())].clone()
}

/// Puts an image there: a lone manifest, an index, or an index in an index; layers are shared at
/// random, and an attestation may lie beside.
fn image(rng: &mut Rng, content: &mut Repository, seed: u64, number: usize) -> Drawn {
    let layers: Vec<String> = (0..4)
        .map(|layer| format!("layer {layer} of {seed}"))
        .collect();
    let manifest = |rng: &mut Rng, content: &mut Repository, platform: &str| {
        let own = format!("{platform} of {number} of {seed}");
        let shared = layers.iter().filter(|_| rng.bool()).map(String::as_str);
        let layers: Vec<&str> = shared.chain([own.as_str()]).collect();
        content.image(platform, &layers)
    };
    let child = |rng: &mut Rng, placed: &Placed, platform: &str| -> Value {
        let mut placed = placed.clone();
        // A descriptor that tells another size than the manifest has.
        placed.size += usize::from(rng.u8(..100) == 0);
        let variant = if platform == "linux/arm64" && rng.bool() {
            "/v8"
        } else {
            ""
        };
        placed.child(&format!("{platform}{variant}"))
    };
    let root = if rng.u8(..4) == 0 {
        let platform = any(rng, &PLATFORMS);
        manifest(rng, content, platform)
    } else {
        let mut children = Vec::new();
        for platform in &PLATFORMS[..rng.usize(1..=3)] {
            let placed = manifest(rng, content, platform);
            let one = child(rng, &placed, platform);
            if rng.u8(..5) == 0 {
                children.push(content.index(&[one]).child(""));
            } else {
                children.push(one);
            }
        }
        if rng.bool() {
            let placed = manifest(rng, content, "unknown/unknown");
            children.push(placed.child("unknown/unknown"));
        }
        content.index(&children)
    };
    let tag = format!("v{number}");
    content.tag(&tag, &root);
    let needs = match rng.u8(..3) {
        0 => None,
        _ => Some(
            PLATFORMS[..rng.usize(1..=3)]
                .iter()
                .map(ToString::to_string)
                .collect(),
        ),
    };
    Drawn {
        reference: if rng.u8(..5) == 0 {
            root.digest.to_string()
        } else {
            tag
        },
        needs,
    }
}

fn trouble(rng: &mut Rng, objects: &[Digest]) -> Trouble {
    if rng.u8(..5) == 0 {
        return Trouble::Lost(any(rng, objects));
    }
    let object = any(rng, objects);
    let route = match rng.u8(..16) {
        0 => Route::Any,
        1 => Route::Tags,
        2 => Route::Tag("v0".to_owned()),
        3 => Route::Front,
        4 => Route::Token,
        5 => Route::Manifests,
        6 => Route::Blobs,
        7 => Route::Storage,
        8 => Route::Stored(object),
        _ => Route::Object(object),
    };
    let mut rule = on(route);
    rule.method = any(rng, &[None, None, Some("HEAD"), Some("GET")]);
    rule.which = match rng.u8(..6) {
        0 => Which::First(1),
        1 => Which::First(rng.usize(2..6)),
        2 => Which::After(rng.usize(1..4)),
        3 => Which::EverySecond,
        _ => Which::Always,
    };
    for fault in faults(rng, objects) {
        rule.faults.push(fault);
    }
    Trouble::Rule(rule)
}

fn faults(rng: &mut Rng, objects: &[Digest]) -> Vec<Fault> {
    let page = Bytes::from_static(b"<html>Come back later</html>");
    let object = any(rng, objects);
    let fault = match rng.u8(..24) {
        0 => Fault::Status(any(rng, &[500, 502, 503, 504])),
        1 => Fault::Status(any(rng, &[400, 403, 404, 405, 408, 410, 418, 501])),
        2 => Fault::Error(
            404,
            any(rng, &["BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN"]),
        ),
        3 => Fault::Error(
            any(rng, &[400, 403, 404, 410]),
            any(rng, &["DENIED", "UNSUPPORTED"]),
        ),
        4 => Fault::Instead(404, page),
        5 => Fault::Instead(200, page),
        6 => Fault::Error(401, "UNAUTHORIZED"),
        7 => {
            let forms = [
                "0",
                "1",
                "315360000",
                "Sat, 21 Nov 2026 12:00:00 GMT",
                "Fri, 21 Nov 2036 12:00:00 GMT",
                "soon",
            ];
            let retry_after = Fault::Set("retry-after", any(rng, &forms).to_owned());
            return vec![Fault::Status(any(rng, &[429, 503])), retry_after];
        }
        8 => Fault::Set(
            "content-length",
            any(rng, &["0", "7", "100000", "x"]).to_owned(),
        ),
        9 => Fault::Remove("content-length"),
        10 => Fault::Set(
            "docker-content-digest",
            any(rng, &[object, Digest::of(b"a lie")]).to_string(),
        ),
        11 => Fault::Remove("docker-content-digest"),
        12 => Fault::Set(
            "content-encoding",
            any(rng, &["gzip", "br", "identity"]).to_owned(),
        ),
        13 => Fault::Body(Bytes::from_static(b"{\"schemaVersion\":2}")),
        14 => Fault::Set("content-type", "text/html".to_owned()),
        15 => Fault::Redirect(format!("http://{STORAGE}/{}", object.hex())),
        16 => Fault::Redirect(
            any(
                rng,
                &[
                    "http://127.0.0.1:9/x",
                    "http://10.96.0.1/x",
                    "http://169.254.169.254/x",
                ],
            )
            .to_owned(),
        ),
        17 => Fault::Redirect(any(rng, &["/way/1", "", "http://"]).to_owned()),
        18 => Fault::Delay(Duration::from_secs(1)),
        19 => Fault::Challenge(
            any(
                rng,
                &["Basic", "Bearer realm=\"http://10.96.0.1/token\"", ",,="],
            )
            .to_owned(),
        ),
        _ => Fault::On(wire(rng)),
    };
    vec![fault]
}

fn wire(rng: &mut Rng) -> Wire {
    let at = any(rng, &[0, 1, 20]);
    match rng.u8(..10) {
        0 => Wire::Reset,
        1 => Wire::HalfClose,
        2 => Wire::Hang,
        3 => Wire::DripHead(Duration::from_millis(20)),
        4 => Wire::DripBody(Duration::from_millis(20)),
        5 => Wire::Cut(at),
        6 => Wire::ResetIn(at),
        7 => Wire::HangIn(at),
        8 => Wire::Endless,
        _ => Wire::Raw(any(
            rng,
            &[
                Bytes::new(),
                Bytes::from_static(b"220 mail.example\r\n\r\n"),
            ],
        )),
    }
}
