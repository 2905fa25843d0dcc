//! A list of referrers that comes in pages: all of them are read, of this registry and of no other, and
//! what was not read is said.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pullproof::oci::digest::Digest;
use serde_json::{Value, json};

use super::super::run::{Ended, pullproof_in};
use crate::support::scripted::fault::{Fault, Route, Rule, Which, on};
use crate::support::scripted::store::{INDEX, MANIFEST};
use crate::support::scripted::tokens::{Access, PASSWORD, USER};
use crate::support::scripted::{Script, Scripted, Seen};

/// What the program printed, and what it asked the list for.
struct Told {
    ended: Ended,
    view: Value,
    asked: Vec<Seen>,
}

impl Told {
    fn found(&self) -> Vec<&str> {
        let found = self.view["referrers"]["found"].as_array().unwrap().iter();
        found.map(|one| one["digest"].as_str().unwrap()).collect()
    }

    fn problems(&self) -> String {
        self.view["referrers"]["problems"].to_string()
    }

    fn queries(&self) -> Vec<&str> {
        self.asked.iter().map(|seen| seen.query.as_str()).collect()
    }
}

fn referrer(name: &str) -> String {
    Digest::of(name.as_bytes()).to_string()
}

fn list(names: &[&str]) -> String {
    let entry = |name: &&str| json!({"mediaType": MANIFEST, "digest": referrer(name), "size": 7});
    let manifests: Vec<Value> = names.iter().map(entry).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string()
}

/// An answer, and the header that goes with it.
type Page = (u16, String, Option<String>);

fn page(names: &[&str], link: &str) -> Page {
    (200, list(names), Some(link.to_owned()))
}

/// Explains an image whose list has these pages; `{host}` and `{path}` in a link stand for the list's own.
async fn explained(pages: &[Page]) -> Told {
    let mut script = Script {
        access: Access::Password,
        ..Script::default()
    };
    let repository = script.store.repository("team/app");
    let image = repository.image("linux/amd64", &["a layer"]);
    repository.tag("v1", &image);
    let registry = Scripted::start(script).await;
    let host = registry.address().to_string();
    let path = format!("/v2/team/app/referrers/{}", image.digest);
    // The first of them is the last rule, which has the last word.
    let rules = pages.iter().enumerate().rev().map(|(index, page)| {
        let (status, body, link) = page;
        let rule = on(Route::Path(path.clone())).only(Which::First(index + 1));
        let rule = rule.give(Fault::Instead(*status, body.clone().into()));
        match link {
            Some(link) => {
                let link = link.replace("{host}", &host).replace("{path}", &path);
                rule.give(Fault::Set("link", link))
            }
            None => rule,
        }
    });
    let rules: Vec<Rule> = rules.collect();
    let home = tempfile::tempdir().unwrap();
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    std::fs::create_dir(home.path().join(".docker")).unwrap();
    std::fs::write(
        home.path().join(".docker/config.json"),
        json!({"auths": {&host: {"auth": auth}}}).to_string(),
    )
    .unwrap();
    let reference = format!("{host}/team/app:v1");
    let arguments = ["explain", "--plain-http", &host, &reference];
    registry.edit(|script| script.rules.clone_from(&rules));
    let json = pullproof_in(home.path(), &[&arguments[..], &["-o", "json"]].concat()).await;
    let mut asked = registry.take_seen();
    // Asked without a word of who asks, the registry wants to know; that is no page.
    asked
        .retain(|seen| seen.path.contains("/referrers/") && seen.header("authorization").is_some());
    // Counted anew.
    let fresh = rules.iter().map(|rule| {
        let new = on(rule.route.clone()).only(rule.which);
        rule.faults.iter().cloned().fold(new, Rule::give)
    });
    let fresh: Vec<Rule> = fresh.collect();
    registry.edit(|script| script.rules = fresh);
    let ended = pullproof_in(home.path(), &arguments).await;
    // Nobody's verdict depends on them.
    assert_eq!((json.code, ended.code), (0, 0), "{json:?}");
    Told {
        ended,
        view: json.json(),
        asked,
    }
}

#[tokio::test]
async fn all_pages_are_read_each_with_the_credential() {
    let told = explained(&[
        page(&["a", "b"], r#"<{path}?n=2&last=b>; rel="next""#),
        page(&["b", "c"], r#"<?last=c>;rel=next, <?n=1>; rel="first""#),
        page(
            &[],
            r#"<http://{host}{path}?last=d>; title="x, y"; rel="next""#,
        ),
        page(&["e"], r#"<?n=1>; rel="prev""#),
    ])
    .await;
    assert_eq!(told.found(), ["a", "b", "c", "e"].map(referrer));
    assert_eq!(told.problems(), "[]");
    assert_eq!(told.queries(), ["", "n=2&last=b", "last=c", "last=d"]);
}

#[tokio::test]
async fn a_page_on_another_host_or_scheme_is_not_asked_for_and_said() {
    let other = Scripted::start(Script::default()).await;
    let elsewhere = format!("<http://{}{{path}}?last=a>; rel=\"next\"", other.address());
    for link in [
        elsewhere.as_str(),
        r#"<https://{host}{path}?last=a>; rel="next""#,
        r#"<//registry.example{path}>; rel="next""#,
        r#"</v2/team/other/referrers/x>; rel="next""#,
        r#"</elsewhere>; rel="next""#,
    ] {
        let told = explained(&[page(&["a"], link)]).await;
        assert_eq!(told.found(), [referrer("a")], "{link}");
        assert_eq!(told.queries(), [""], "{link}");
        let problems = told.problems();
        assert!(problems.contains("a page that was not read"), "{problems}");
        assert!(!problems.contains("last=a"), "{problems}");
        let text = &told.ended.stdout;
        assert!(text.contains("not known whether there are more"), "{text}");
    }
    assert!(other.take_seen().is_empty());
}

#[tokio::test]
async fn a_list_without_end_is_ended_and_no_page_unread_is_an_empty_list() {
    let round = explained(&[
        page(&[], "<?last=b>; rel=next"),
        page(&[], "<?last=c>; rel=next"),
        page(&[], "<{path}?last=b>; rel=next"),
    ])
    .await;
    assert_eq!(round.queries(), ["", "last=b", "last=c"]);
    let endless: Vec<Page> = (0..20)
        .map(|number| page(&[], &format!("<?last={number}>; rel=next")))
        .collect();
    let endless = explained(&endless).await;
    assert_eq!(endless.asked.len(), 16);
    let absent = (404, String::new(), None);
    let denied = (403, String::new(), None);
    let no_list = (200, "<html>".to_owned(), None);
    let mut unread = vec![(round, "leads back"), (endless, "only 16 pages are read")];
    for (second, why) in [
        (absent, "answered 404"),
        (denied, "forbidden"),
        (no_list, "cannot be read"),
    ] {
        let told = explained(&[page(&[], "<?last=b>; rel=next"), second]).await;
        unread.push((told, why));
    }
    for (told, why) in unread {
        assert!(told.found().is_empty());
        assert!(told.problems().contains(why), "{why}: {}", told.problems());
        let text = &told.ended.stdout;
        assert!(text.contains("not known whether there are more"), "{text}");
        assert!(!text.contains("no signature"), "{text}");
    }
}
