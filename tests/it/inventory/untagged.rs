//! What no tag names: told of what is pinned where the registry lists its tags, and of nothing where it
//! does not.

#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]

use serde_json::{Value, json};

use crate::cli::run::{pullproof, pullproof_in};
use crate::daemon::shop::{OFTEN, Stock, all_series, of_list, require_shop};
use crate::support::daemon::Daemon;
use crate::support::images::{Format, push_image, push_index};
use crate::support::parts::require;
use crate::support::registry::{Options, Version};
use crate::support::scripted::fault::{Fault, Route, Rule, Which, on};
use crate::support::scripted::store::Placed;
use crate::support::scripted::{Script, Scripted, Seen};

const DRIFT: &str = "workload_image_drift";

/// The drifts of an image, and the tags of its platforms.
fn told(image: &Value) -> (Vec<&str>, Vec<&Value>) {
    let drift = image["drift"].as_array().unwrap().iter();
    let platforms = image["platforms"].as_array().unwrap().iter();
    (
        drift.map(|one| one["drift"].as_str().unwrap()).collect(),
        platforms.map(|one| &one["tags"]).collect(),
    )
}

fn image<'a>(view: &'a Value, part: &str) -> &'a Value {
    let images = view["images"].as_array().unwrap().iter();
    let mut images = images.filter(|it| it["reference"].as_str().unwrap().contains(part));
    images.next().unwrap_or_else(|| panic!("{part}: {view:#}"))
}

#[tokio::test]
async fn a_pinned_digest_is_untagged_until_a_tag_names_it_or_an_index_above_it() {
    require_shop!();
    require!("buildah");
    for version in Version::ALL {
        let root = tempfile::tempdir().unwrap();
        let stock = Stock::of(Options::new(version, root.path()), root).await;
        let (clients, host) = (&stock.clients, stock.host());
        let old = push_image(clients, &format!("{host}/app:1"), "old").await;
        let index = push_index(clients, &format!("{host}/multi:1"), "multi", Format::Oci).await;
        let manifest = clients
            .crane(&["manifest", &format!("{host}/multi:1")])
            .await;
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let child = manifest["manifests"][0]["digest"].as_str().unwrap();
        let pinned = format!("{host}/app@{old}");
        let file = clients.home().join("keep.txt");
        let list = format!("{pinned}\n{host}/multi:1\n{host}/multi@{child}\n");
        std::fs::write(&file, list).unwrap();
        let daemon = Daemon::start(&of_list(&file, &[stock.entry(OFTEN)]));
        daemon.wait_until_ready().await;
        let tags_of = async |reference: &str| {
            let view = daemon.api("images").await;
            let (drift, tags) = told(image(&view, reference));
            (json!(drift), json!(tags))
        };
        // A tag names the one, and an index that is tagged the other.
        let expected = |tags: Value| (json!([]), tags);
        let until = async |reference: &str, expected: (Value, Value)| {
            daemon
                .wait_until(&format!("{reference} is {expected:?}"), async || {
                    (tags_of(reference).await == expected).then_some(())
                })
                .await;
        };
        until("app@", expected(json!([["1"]]))).await;
        until("multi:1", expected(json!([[], []]))).await;
        until("multi@", expected(json!([[]]))).await;
        assert_eq!(all_series(&daemon, DRIFT).await, Vec::<String>::new());

        push_image(clients, &format!("{host}/app:1"), "new").await;
        let series = daemon
            .wait_for_series(DRIFT, &["pinned_digest_untagged"])
            .await;
        assert!(series.contains(&pinned), "{series}");
        until("app@", (json!(["pinned_digest_untagged"]), json!([[]]))).await;
        let page = daemon.page(&format!("/image?reference={pinned}")).await;
        assert!(page.contains("which no tag keeps"), "{page}");

        clients.crane(&["tag", &pinned, "again"]).await;
        daemon.wait_for_no_series(DRIFT, &[]).await;
        until("app@", expected(json!([["again"]]))).await;
        let by_digest = format!("{host}/multi@{child}");
        clients.crane(&["tag", &by_digest, "1-amd64"]).await;
        until("multi:1", expected(json!([["1-amd64"], []]))).await;
        // Now the index goes its way, and only that tag keeps the child.
        push_image(clients, &format!("{host}/multi:1"), "one").await;
        until("multi@", expected(json!([["1-amd64"]]))).await;
        assert!(!index.is_empty());
    }
}

#[tokio::test]
async fn tags_are_listed_when_that_is_asked_for_page_by_page() {
    require_shop!();
    let root = tempfile::tempdir().unwrap();
    let stock = Stock::of(Options::new(Version::V3, root.path()), root).await;
    let (clients, host) = (&stock.clients, stock.host());
    let pinned = push_image(clients, &format!("{host}/app:z-last"), "pinned").await;
    let lost = push_image(clients, &format!("{host}/app:1"), "lost").await;
    let other = push_image(clients, &format!("{host}/app:1"), "other").await;
    // As many tags as do not fit on one page.
    let tags = stock
        .registry
        .root()
        .join("docker/registry/v2/repositories/app/_manifests/tags");
    for number in 0..1200 {
        let directory = tags.join(format!("t-{number:04}")).join("current");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("link"), &other).unwrap();
    }
    let references = [&pinned, &lost].map(|digest| format!("{host}/app@{digest}"));
    let arguments = ["verify", "-o", "json", "--plain-http", &host];
    let arguments = [&arguments[..], &references.each_ref().map(String::as_str)].concat();
    let home = tempfile::tempdir().unwrap();
    let ended = pullproof_in(home.path(), &arguments).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let view = ended.json();
    for digest in [&pinned, &lost] {
        assert_eq!(told(image(&view, digest)), (vec![], vec![&Value::Null]));
    }
    let requests = stock.registry.requests();
    assert!(requests.iter().all(|it| !it.path.contains("/tags/")));

    let ended = pullproof_in(home.path(), &[&arguments[..], &["--tags"]].concat()).await;
    assert_eq!(ended.code, 0, "drift is no verdict: {ended:?}");
    let view = ended.json();
    let named = json!(["z-last"]);
    assert_eq!(told(image(&view, &pinned)), (vec![], vec![&named]));
    let untagged = vec!["pinned_digest_untagged"];
    assert_eq!(told(image(&view, &lost)), (untagged, vec![&json!([])]));
    // Two pages, and again before something is called untagged; each tag once.
    assert_eq!(view["requests"]["tag_list"], 4);
    assert_eq!(view["requests"]["tag_head"], 1202);

    // A daemon looks at a part of them after each round, and says nothing before it has seen all.
    let file = home.path().join("keep.txt");
    std::fs::write(&file, references.join("\n")).unwrap();
    let daemon = Daemon::start(&of_list(&file, &[stock.entry(OFTEN)]));
    let series = daemon
        .wait_for_series(DRIFT, &["pinned_digest_untagged"])
        .await;
    assert!(series.contains(&lost), "{series}");
    assert_eq!(all_series(&daemon, DRIFT).await.len(), 1);
}

/// What `verify --tags` says of a pinned image whose repository lists its tags so.
struct Scene {
    drift: Vec<String>,
    tags: Value,
    looked_at: Vec<String>,
    lists: usize,
}

/// An answer, and the link that goes with it; `{host}` in it stands for the registry's own.
type Page = (u16, String, Option<&'static str>);

fn page(tags: &[&str], link: Option<&'static str>) -> Page {
    (
        200,
        json!({"name": "team/app", "tags": tags}).to_string(),
        link,
    )
}

/// `v1` and `v2` are other images, `v3` is the pinned one.
async fn scene(pages: &[Page], more: impl Fn(&Placed) -> Vec<Rule>) -> Scene {
    let mut script = Script::default();
    let repository = script.store.repository("team/app");
    let pinned = repository.image("linux/amd64", &["pinned"]);
    for tag in ["v1", "v2"] {
        let other = repository.image("linux/amd64", &[tag]);
        repository.tag(tag, &other);
    }
    repository.tag("v3", &pinned);
    let registry = Scripted::start(script).await;
    let host = registry.address().to_string();
    let path = "/v2/team/app/tags/list".to_owned();
    let pages = pages.iter().enumerate().rev().map(|(index, page)| {
        let (status, body, link) = page;
        let rule = on(Route::Path(path.clone())).only(Which::First(index + 1));
        let rule = rule.give(Fault::Instead(*status, body.clone().into()));
        match link {
            Some(link) => rule.give(Fault::Set("link", link.replace("{host}", &host))),
            None => rule,
        }
    });
    let rules: Vec<Rule> = pages.chain(more(&pinned)).collect();
    registry.edit(|script| script.rules = rules);
    let reference = format!("{host}/team/app@{}", pinned.digest);
    let arguments = [
        "verify",
        "--tags",
        "-o",
        "json",
        "--plain-http",
        &host,
        &reference,
    ];
    let ended = pullproof(&arguments).await;
    // No list of tags makes a verdict.
    assert_eq!(ended.code, 0, "{ended:?}");
    let view = ended.json();
    let seen = registry.take_seen();
    let tag = |seen: &Seen| {
        let tag = seen.path.strip_prefix("/v2/team/app/manifests/")?;
        (!tag.contains(':')).then(|| tag.to_owned())
    };
    let (drift, tags) = told(&view["images"][0]);
    Scene {
        drift: drift.into_iter().map(ToOwned::to_owned).collect(),
        tags: tags[0].clone(),
        looked_at: seen.iter().filter_map(tag).collect(),
        lists: seen.iter().filter(|seen| seen.path == path).count(),
    }
}

fn no_rules(_: &Placed) -> Vec<Rule> {
    Vec::new()
}

const NEXT: Option<&str> = Some(r#"</v2/team/app/tags/list?n=1&last=x>; rel="next""#);
const NEXT_ABSOLUTE: Option<&str> =
    Some(r#"<http://{host}/v2/team/app/tags/list?n=1&last=y>; rel="next""#);

#[tokio::test]
async fn every_page_counts_wherever_its_link_leads_within_the_registry() {
    let named = scene(
        &[
            page(&["v1"], NEXT),
            page(&["v2"], NEXT_ABSOLUTE),
            page(&["v3"], None),
        ],
        no_rules,
    )
    .await;
    assert_eq!((named.drift, named.tags), (vec![], json!(["v3"])));
    assert_eq!((named.lists, named.looked_at.len()), (3, 3));
    // As soon as it is found no other tag is looked at; but several are in flight at a time.
    let without = [page(&["v1"], NEXT), page(&["v2"], None)];
    let twice = [without.clone(), without].concat();
    let untagged = scene(&twice, no_rules).await;
    assert_eq!(untagged.drift, ["pinned_digest_untagged"]);
    assert_eq!((untagged.tags, untagged.lists), (json!([]), 4));
    assert_eq!(untagged.looked_at, ["v1", "v2"]);
    // A tag that came between the two lists.
    let late = scene(&[page(&["v1"], None), page(&["v1", "v3"], None)], no_rules).await;
    assert_eq!((late.drift, late.tags), (vec![], json!(["v3"])));
    let empty = (200, r#"{"name":"team/app","tags":null}"#.to_owned(), None);
    let empty = scene(&[empty.clone(), empty], no_rules).await;
    assert_eq!(empty.drift, ["pinned_digest_untagged"]);
}

#[tokio::test]
async fn what_is_not_listed_to_its_end_is_not_known() {
    let whole = |text: &str| (200, text.to_owned(), None);
    let refused = |status: u16| (status, r#"{"errors":[{"code":"X"}]}"#.to_owned(), None);
    let first = page(&["v1"], NEXT);
    for pages in [
        vec![page(
            &["v1"],
            Some(r#"<http://registry.example/v2/team/app/tags/list?last=x>; rel="next""#),
        )],
        vec![page(
            &["v1"],
            Some(r#"</v2/team/other/tags/list?last=x>; rel="next""#),
        )],
        vec![first.clone(), first.clone()],
        vec![first.clone(), refused(404)],
        vec![first.clone(), refused(500)],
        vec![refused(404)],
        vec![refused(405)],
        vec![refused(401)],
        vec![refused(403)],
        vec![whole("{}")],
        vec![whole("<html>")],
        vec![whole(r#"{"tags":["v1"#)],
        vec![whole(r#"{"tags":["../x"]}"#)],
        // The list again, before it would be called untagged.
        vec![page(&["v1"], None), refused(500)],
    ] {
        let scene = scene(&pages, no_rules).await;
        assert_eq!(
            (scene.drift, scene.tags),
            (vec![], Value::Null),
            "{pages:?}"
        );
    }
    // Each of them is looked at but one that does not tell what it names.
    let list = page(&["v1", "v2"], None);
    let scene = scene(&[list.clone(), list], |_| {
        vec![on(Route::Tag("v2".to_owned())).give(Fault::Instead(400, "".into()))]
    })
    .await;
    assert_eq!((scene.drift, scene.tags), (vec![], Value::Null));
    assert!(scene.looked_at.contains(&"v2".to_owned()));
}
