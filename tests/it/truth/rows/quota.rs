//! R1 and R2: quotas, and what a pull costs.

use pullproof::verify::finding::{Code, Verdict};

use super::super::case::Case;
use super::super::world::{BASE, of, shop, v1};
use crate::support::scripted::fault::{Fault, Route, Rule, Which, on};

fn too_many(retry_after: Option<&str>) -> Rule {
    let rule = on(Route::Any).give(Fault::Error(429, "TOOMANYREQUESTS"));
    match retry_after {
        Some(text) => rule.give(Fault::Set("retry-after", text.to_owned())),
        None => rule,
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = refusals();
    cases.extend(waits());
    cases.extend(others());
    cases
}

fn refusals() -> Vec<Case> {
    let mut cases = Vec::new();
    // Seconds, a date, a date that is over, ten years, nothing, nonsense. One in the future that the
    // client waits for ends with an answer; the others are asked again or left for the next round.
    for (name, retry_after) in [
        ("r01_429_for_ever_without_retry_after", None),
        ("r01_429_for_ever_with_no_wait", Some("0")),
        (
            "r01_429_for_ever_with_a_date_in_the_past",
            Some("Sat, 21 Nov 2026 11:00:00 GMT"),
        ),
        ("r01_429_for_ever_with_ten_years", Some("315360000")),
        (
            "r01_429_for_ever_with_a_date_in_ten_years",
            Some("Fri, 21 Nov 2036 12:00:00 GMT"),
        ),
        (
            "r01_429_for_ever_with_more_seconds_than_there_are",
            Some("18446744073709551615"),
        ),
        ("r01_429_for_ever_with_nonsense", Some("soon")),
    ] {
        cases.push(
            Case::new(name, shop().script, &v1())
                .pullable()
                .before(move |script| script.rules.push(too_many(retry_after)))
                .unknown(Code::RateLimited)
                .and_since("the proof of before keeps ageing", |now, before| {
                    now.image.proven_at.is_some()
                        && now.image.proven_at == before[0].image.proven_at
                })
                .before(|script| script.rules.clear())
                .pullable(),
        );
    }
    for (name, status) in [
        ("r01_429_once", 429),
        ("r01_503_once_with_retry_after", 503),
    ] {
        let rule = on(Route::Any)
            .only(Which::First(1))
            .give(Fault::Status(status))
            .give(Fault::Set("retry-after", "0".to_owned()));
        cases.push(Case::new(name, shop().script, &v1()).rule(rule).pullable());
    }
    cases.push(
        Case::new("r01_429_for_one_layer", shop().script, &v1())
            .rule(on(Route::Object(of(BASE))).give(Fault::Status(429)))
            .unknown(Code::RateLimited),
    );
    cases
}

fn waits() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, retry_after) in [
        ("r01_ten_years_are_not_waited_for", "315360000"),
        (
            "r01_a_date_in_ten_years_is_not_waited_for",
            "Fri, 21 Nov 2036 12:00:00 GMT",
        ),
    ] {
        cases.push(
            Case::new(name, shop().script, &v1())
                .rule(too_many(Some(retry_after)))
                .unknown(Code::RateLimited)
                .and("no question was put twice", |outcome| {
                    outcome.count("HEAD", "/manifests/v1") <= 1 && outcome.seen.len() <= 2
                }),
        );
    }
    for (name, retry_after) in [
        ("r01_503_for_ever_without_retry_after", None),
        ("r01_503_for_ever_with_no_wait", Some("0")),
        (
            "r01_503_for_ever_with_a_date_in_the_past",
            Some("Sat, 21 Nov 2026 11:00:00 GMT"),
        ),
        ("r01_503_for_ever_with_ten_years", Some("315360000")),
    ] {
        let mut rule = on(Route::Any).give(Fault::Status(503));
        if let Some(text) = retry_after {
            rule = rule.give(Fault::Set("retry-after", text.to_owned()));
        }
        cases.push(
            Case::new(name, shop().script, &v1())
                .rule(rule)
                .unknown_or(Code::ServerError, Code::RateLimited)
                .and("three attempts at most", |it| {
                    it.count("HEAD", "/manifests/v1") <= 3
                }),
        );
    }
    cases
}

fn others() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.push(
        Case::new("r01_429_is_no_registry_that_is_down", shop().script, &v1())
            .rule(too_many(None))
            .unknown(Code::RateLimited)
            .and("it is up", |outcome| outcome.is_up),
    );
    cases.push(
        Case::new(
            "r01_429_and_what_was_broken_stays_so",
            shop().without(of(BASE)).script,
            &v1(),
        )
        .broken(Code::LayerMissing)
        .before(|script| script.rules.push(too_many(Some("315360000"))))
        .unknown(Code::RateLimited)
        .and("the page shows the broken verdict beside it", |outcome| {
            outcome.image.verdict() == Verdict::Broken
        }),
    );
    cases.push(
        Case::new("r02_an_unchanged_image_costs_no_pull", shop().script, &v1())
            .rule(on(Route::Any).give(Fault::Set("ratelimit-remaining", "76;w=21600".to_owned())))
            .pullable()
            .and("three manifests were fetched", |it| {
                it.count("GET", "/manifests/") == 3
            })
            .and("the quota is told", |it| {
                it.rate_limit_remaining == Some(76)
            })
            .pullable()
            .and("no manifest was fetched", |it| {
                it.count("GET", "/manifests/") == 0
            })
            // The canary, the tag, the index and its two children.
            .and("each manifest was asked for", |it| {
                it.count("HEAD", "/manifests/") == 5
            })
            .restart()
            .pullable()
            .and("nor by a new process", |it| {
                it.count("GET", "/manifests/") == 0
            }),
    );
    cases
}
