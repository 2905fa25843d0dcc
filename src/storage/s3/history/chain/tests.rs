use super::super::{Content, VersionId};
use super::*;

fn version(id: &str, is_latest: bool) -> Version {
    Version {
        id: VersionId::new(id).unwrap(),
        is_latest,
        modified: None,
        content: (!id.starts_with('m')).then_some(Content {
            size: 1,
            etag: None,
        }),
    }
}

/// `key:version`, with a star for what the key is now.
fn page(entries: &[&str], next: Option<(&str, &str)>) -> Page {
    let entry = |text: &&str| {
        let (key, id) = text.split_once(':').unwrap();
        let id = id.strip_suffix('*').map_or((id, false), |id| (id, true));
        (format!("p/{key}"), version(id.0, id.1))
    };
    Page {
        entries: entries.iter().map(entry).collect(),
        is_truncated: next.is_some(),
        next_key: next.map(|(key, _)| format!("p/{key}")),
        next_version: next.map(|(_, version)| version.to_owned()),
        ..Page::default()
    }
}

fn refused(pages: Vec<Page>, words: &str) {
    let mut chain = Chain::new("bucket", "p/");
    let taken = pages.into_iter().try_for_each(|page| chain.take(page));
    let problem = taken.expect_err(words);
    assert!(problem.contains(words), "{problem}");
}

#[test]
fn a_key_may_lie_on_many_pages() {
    let mut chain = Chain::new("bucket", "p/");
    assert_eq!(chain.next(), None);
    chain
        .take(page(&["a:v1*", "b:m3*", "b:v2"], Some(("b", "v2"))))
        .unwrap();
    assert_eq!(chain.next(), Some(("p/b", Some("v2"))));
    chain.take(page(&["b:v1"], Some(("b", "v1")))).unwrap();
    // As versitygw begins a page: with the version after which it was asked for.
    chain
        .take(page(&["b:v1", "c:v1*"], Some(("c", "v1"))))
        .unwrap();
    assert!(!chain.has_ended());
    chain.take(page(&[], None)).unwrap();
    assert!(chain.has_ended());
    let found: Vec<(String, usize)> = chain
        .into_found()
        .into_iter()
        .map(|it| (it.path, it.versions.len()))
        .collect();
    let expected = [("p/a", 1), ("p/b", 3), ("p/c", 1)];
    assert_eq!(found, expected.map(|(key, count)| (key.to_owned(), count)));
}

#[test]
fn what_is_no_part_of_a_listing_is_refused() {
    refused(vec![page(&["b:v1*", "a:v1*"], None)], "comes after");
    refused(vec![page(&["a:v1*", "a:v2*"], None)], "that it is them");
    refused(vec![page(&["a:v2*", "a:v1", "a:v1"], None)], "twice");
    refused(vec![page(&["a:v1"], None)], "left out");
    refused(vec![page(&["a:v1*", "b:v1"], None)], "left out");
    refused(vec![page(&[], None), page(&[], None)], "after the last");
    let again = page(&["a:v1*"], Some(("a", "v1")));
    refused(vec![again.clone(), again], "given before");
    refused(
        vec![
            page(&["b:v1*"], Some(("b", "v1"))),
            page(&[], Some(("a", "v1"))),
        ],
        "which was before",
    );
    let mut outside = page(&["a:v1*"], None);
    outside.entries[0].0 = "q/a".to_owned();
    refused(vec![outside], "is not below");
    let mut endless = page(&["a:v1*"], None);
    endless.is_truncated = true;
    refused(vec![endless], "no marker");
    let mut ended = page(&["a:v1*"], Some(("a", "v1")));
    ended.is_truncated = false;
    refused(vec![ended], "a marker for a next");
    let names: Vec<String> = (0..1001).map(|number| format!("{number:04}:v1*")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    refused(vec![page(&names, None)], "1000 were asked for");
}

#[test]
fn a_page_of_another_question_is_refused() {
    let of = |change: fn(&mut Page), words: &str| {
        let mut second = page(&["b:v1*"], None);
        change(&mut second);
        refused(vec![page(&["a:v1*"], Some(("a", "v1"))), second], words);
    };
    of(
        |page| page.bucket = Some("other".to_owned()),
        "of the bucket",
    );
    of(|page| page.prefix = Some("q/".to_owned()), "of the prefix");
    of(
        |page| page.key_marker = Some("p/0".to_owned()),
        "of the key marker",
    );
    // The first page, where the second was asked for.
    of(
        |page| page.key_marker = Some(String::new()),
        "of the key marker",
    );
    of(
        |page| page.version_marker = Some("v0".to_owned()),
        "of the version marker",
    );
}
