//! R10 and R12: bodies without end, trees without bounds, and connections that misbehave.

use std::time::Duration;

use bytes::Bytes;
use pullproof::verify::finding::Code;
use serde_json::Value;

use super::super::case::Case;
use super::super::client::SHORT;
use super::super::world::{BASE, Shop, of, shop, v1};
use super::tokens::private;
use crate::support::scripted::answer::Wire;
use crate::support::scripted::fault::{Fault, Route, Which, on};
use crate::support::scripted::store::{MANIFEST, Placed};

fn public(name: &'static str) -> Case {
    Case::new(name, shop().script, &v1())
}

/// The shop with this under its tag.
fn tagged(build: impl FnOnce(&mut Shop) -> Placed) -> Shop {
    let mut shop = shop();
    let placed = build(&mut shop);
    shop.repository().tag("v1", &placed);
    shop
}

/// Indexes in each other, the innermost over an image; each names the next so many times.
fn nested(levels: usize, times: usize) -> Shop {
    tagged(|shop| {
        let amd64 = shop.amd64.clone();
        (0..levels).fold(amd64, |inner, _| {
            let children: Vec<Value> = vec![inner.child("linux/amd64"); times];
            shop.repository().index(&children)
        })
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = bodies();
    cases.extend(trees());
    cases.extend(connections());
    cases.extend(broken_bodies());
    cases
}

fn bodies() -> Vec<Case> {
    let amd64 = shop().amd64.digest;
    let endless = || Fault::On(Wire::Endless);
    let large = tagged(|shop| {
        let body = shop.body(&shop.amd64);
        let spaces = vec![b' '; 4 << 20];
        shop.repository()
            .manifest(MANIFEST, [&body[..], &spaces].concat())
    });
    vec![
        public("r10_a_manifest_that_never_ends")
            .rule(on(Route::Object(amd64)).give(endless()))
            .unknown(Code::ServerError),
        public("r10_an_error_that_never_ends")
            .rule(
                on(Route::Object(amd64))
                    .give(Fault::Status(404))
                    .give(endless()),
            )
            .unknown(Code::ServerError),
        private("r10_a_token_that_never_ends")
            .rule(on(Route::Token).give(endless()))
            .unknown(Code::ServerError),
        Case::new("r10_a_manifest_above_four_mebibytes", large.script, &v1())
            .unknown(Code::ServerError),
    ]
}

fn trees() -> Vec<Case> {
    let wide = tagged(|shop| {
        let child = shop.amd64.child("linux/amd64");
        shop.repository().index(&vec![child; 513])
    });
    let itself = shop();
    let body = itself.body(&itself.index);
    let layers = tagged(|shop| {
        let config = shop.repository().blob("c", "{}").descriptor();
        let layer = shop.repository().blob("l", BASE).descriptor();
        shop.repository().image_of(&config, &vec![layer; 513])
    });
    vec![
        Case::new("r10_an_index_of_513", wide.script, &v1()).unknown(Code::Unsupported),
        Case::new("r10_a_manifest_of_513_layers", layers.script, &v1()).unknown(Code::Unsupported),
        Case::new(
            "r10_three_indexes_in_each_other",
            nested(3, 1).script,
            &v1(),
        )
        .pullable(),
        Case::new("r10_six_indexes_in_each_other", nested(6, 1).script, &v1())
            .unknown(Code::Unsupported),
        Case::new("r10_a_small_diamond", nested(3, 8).script, &v1())
            .pullable()
            .and("each object was asked for once", |it| {
                it.count("HEAD", "/blobs/") == 3
            }),
        Case::new("r10_a_diamond_of_millions", nested(3, 512).script, &v1())
            .unknown(Code::Unsupported)
            .and("few objects were asked for", |it| it.seen.len() < 20),
        // Only a lie can make an index that holds itself.
        Case::new("r10_a_child_that_is_its_parent", itself.script, &v1())
            .rule(on(Route::Object(shop().amd64.digest)).give(Fault::Body(body)))
            .broken(Code::DigestMismatch),
    ]
}

fn connections() -> Vec<Case> {
    let slow = Duration::from_millis(40);
    let mut cases = Vec::new();
    let (arm64, layer) = (shop().arm64.digest, of(BASE));
    for (row, wire, code) in [
        (
            [
                "r12_reset_at_all",
                "r12_reset_at_a_manifest",
                "r12_reset_at_a_layer",
            ],
            Wire::Reset,
            Code::Unreachable,
        ),
        (
            [
                "r12_half_close_at_all",
                "r12_half_close_at_a_manifest",
                "r12_half_close_at_a_layer",
            ],
            Wire::HalfClose,
            Code::Unreachable,
        ),
        (
            [
                "r12_hang_at_all",
                "r12_hang_at_a_manifest",
                "r12_hang_at_a_layer",
            ],
            Wire::Hang,
            Code::Timeout,
        ),
        (
            [
                "r12_slow_head_at_all",
                "r12_slow_head_at_a_manifest",
                "r12_slow_head_at_a_layer",
            ],
            Wire::DripHead(slow),
            Code::Timeout,
        ),
        (
            [
                "r12_garbage_at_all",
                "r12_garbage_at_a_manifest",
                "r12_garbage_at_a_layer",
            ],
            Wire::Raw(Bytes::from_static(b"\x16\x03\x01 not HTTP\r\n\r\n")),
            Code::Unreachable,
        ),
        (
            [
                "r12_nothing_at_all",
                "r12_nothing_at_a_manifest",
                "r12_nothing_at_a_layer",
            ],
            Wire::Raw(Bytes::new()),
            Code::Unreachable,
        ),
    ] {
        let routes = [Route::Any, Route::Object(arm64), Route::Object(layer)];
        for (name, route) in row.into_iter().zip(routes) {
            let mut case = public(name).rule(on(route).give(Fault::On(wire.clone())));
            if code == Code::Timeout {
                case = case.setup(|setup| setup.deadlines = SHORT);
            }
            cases.push(case.unknown(code));
        }
    }
    cases
}

fn broken_bodies() -> Vec<Case> {
    let mut cases = Vec::new();
    let slow = Duration::from_millis(40);
    let arm64 = shop().arm64.digest;
    for (name, wire, code) in [
        ("r12_a_body_that_stops", Wire::HangIn(10), Code::Timeout),
        (
            "r12_a_body_a_byte_at_a_time",
            Wire::DripBody(slow),
            Code::Timeout,
        ),
        (
            "r12_a_body_that_is_reset",
            Wire::ResetIn(10),
            Code::Unreachable,
        ),
        (
            "r12_a_body_that_ends_early",
            Wire::Cut(10),
            Code::Unreachable,
        ),
    ] {
        let mut case = public(name).rule(on(Route::Object(arm64)).get().give(Fault::On(wire)));
        if code == Code::Timeout {
            case = case.setup(|setup| setup.deadlines = SHORT);
        }
        cases.push(case.unknown(code));
    }
    cases.push(
        public("r12_a_reset_now_and_then")
            .rule(
                on(Route::Any)
                    .only(Which::First(2))
                    .give(Fault::On(Wire::Reset)),
            )
            .pullable(),
    );
    cases.push(
        public("r12_503_now_and_then")
            .rule(
                on(Route::Any)
                    .only(Which::EverySecond)
                    .give(Fault::Status(503)),
            )
            .setup(|setup| setup.concurrency = 1)
            .pullable(),
    );
    cases
}
