//! R12, R13 and R21 to R23: TLS, HTTP/2, names that do not resolve, and hosts that are no registry.

use bytes::Bytes;
use pullproof::verify::finding::Code;

use super::super::case::Case;
use super::super::client::Way;
use super::super::world::{BASE, of, shop, v1};
use crate::support::certificates::{Authority, Key};
use crate::support::parts;
use crate::support::scripted::fault::{Fault, Route, Which, on};
use crate::support::scripted::tls;

fn public(name: &'static str) -> Case {
    Case::new(name, shop().script, &v1())
}

pub(super) async fn cases() -> Vec<Case> {
    let mut cases = liars();
    cases.extend(names());
    // The table's own check of its rows must not depend on a program, so each row that needs TLS has
    // a case without too.
    if parts::are_present(&["openssl"]) {
        cases.extend(certificates().await);
    }
    cases
}

async fn certificates() -> Vec<Case> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(directory.path()).await;
    let good = authority.issue("good", Key::Elliptic).await;
    let expired = tls::issue_expired(directory.path()).await;
    let trusted = Bytes::from(std::fs::read(authority.certificate()).expect("it was just made"));
    let case = |name: &'static str, certificate, protocols: &[&str]| {
        let trusted = trusted.clone();
        public(name)
            .tls(tls::serve(certificate, protocols))
            .setup(|setup| {
                setup.way = Way::Dialled {
                    scheme: "https",
                    name: "",
                };
                setup.authorities = vec![trusted];
            })
    };
    let to_plain = format!("http://storage.example/{}", shop().amd64.digest.hex());
    vec![
        case("r21_a_certificate_that_is_good", &good, &["http/1.1"]).pullable(),
        case("r21_a_certificate_that_ended", &expired, &["http/1.1"]).unknown(Code::Tls),
        case("r21_a_certificate_of_another_name", &good, &["http/1.1"])
            .listen("[::1]:0")
            .unknown(Code::Tls),
        case("r21_an_authority_that_nobody_knows", &good, &["http/1.1"])
            .setup(|setup| setup.authorities = Vec::new())
            .unknown(Code::Tls)
            .and("no request was made", |outcome| outcome.seen.is_empty()),
        // An endpoint that is named as one with TLS is never asked without.
        public("r21_plain_http_where_tls_is_meant")
            .setup(|setup| {
                setup.way = Way::Dialled {
                    scheme: "https",
                    name: "",
                }
            })
            .unknown(Code::Tls)
            .and("no request was made", |outcome| {
                outcome
                    .seen
                    .iter()
                    .all(|seen| !seen.path.starts_with("/v2/"))
            }),
        case("r12_http2_that_goes_away", &good, &["h2"]).unknown(Code::Unreachable),
        case(
            "r13_a_redirect_from_https_to_plain_http",
            &good,
            &["http/1.1"],
        )
        .rule(on(Route::Object(shop().amd64.digest)).give(Fault::Redirect(to_plain)))
        .unknown(Code::Untrusted),
    ]
}

fn names() -> Vec<Case> {
    let by_url = |name: &'static str, url: &str| {
        let way = Way::Url(url.to_owned());
        public(name).setup(|setup| setup.way = way)
    };
    vec![
        // RFC 6761: nobody may answer for `.invalid`.
        by_url("r22_a_name_that_is_nobodys", "https://registry.invalid").unknown(Code::Unreachable),
        by_url(
            "r22_a_name_that_is_nobodys_and_unlisted",
            "https://registry.invalid",
        )
        .setup(|setup| setup.is_guarded = true)
        .unknown(Code::Unreachable),
        by_url("r22_a_port_where_nobody_listens", "http://127.0.0.1:1").unknown(Code::Unreachable),
        public("r22_a_name_that_leads_home_and_is_unlisted")
            .setup(|setup| {
                setup.way = Way::Dialled {
                    scheme: "http",
                    name: "localhost",
                };
                setup.is_guarded = true;
            })
            .unknown(Code::Untrusted)
            .and("nobody there was asked", |outcome| outcome.seen.is_empty()),
        public("r22_an_address_at_home_that_is_unlisted")
            .setup(|setup| {
                setup.way = Way::Dialled {
                    scheme: "http",
                    name: "",
                };
                setup.is_guarded = true;
            })
            .unknown(Code::Untrusted)
            .and("nobody there was asked", |outcome| outcome.seen.is_empty()),
        // R21 without a certificate: what answers is no TLS.
        by_url("r21_nobody_who_speaks_tls", "https://127.0.0.1:1").unknown(Code::Unreachable),
    ]
}

fn liars() -> Vec<Case> {
    let page = || Fault::Instead(200, Bytes::from_static(b"<html>Please log in</html>"));
    let broken = || shop().without(of(BASE)).script;
    vec![
        public("r23_a_page_for_everything")
            .rule(on(Route::Any).give(page()))
            .unknown(Code::Untrusted),
        Case::new("r23_nothing_that_it_says_makes_it_broken", broken(), &v1())
            .rule(on(Route::Manifests).head().give(page()))
            .unknown(Code::Untrusted),
        public("r23_a_redirect_to_a_login")
            .rule(on(Route::Any).give(Fault::Redirect("http://login.example/".to_owned())))
            .rule(on(Route::Storage).give(page()))
            .unknown(Code::Untrusted),
        public("r23_a_page_that_began_in_the_middle")
            .rule(on(Route::Any).only(Which::After(2)).give(page()))
            .setup(|setup| setup.concurrency = 1)
            .unknown(Code::Untrusted),
        // A page for whoever reads, and no answer to a canary or a control: not even broken.
        public("r23_a_page_for_each_get")
            .rule(on(Route::Any).give(page()))
            .rule(on(Route::Manifests).head().give(Fault::Status(503)))
            .unknown(Code::ServerError),
        public("r23_a_page_that_was_there_before")
            .rule(on(Route::Any).give(page()))
            .unknown(Code::Untrusted)
            .before(|script| script.rules.clear())
            .pullable(),
    ]
}
