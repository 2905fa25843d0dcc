use proptest::prelude::*;

use super::super::page::Object;
use super::*;

const PREFIX: &str = "p/";

/// What an honest server answers, page by page.
fn honest(keys: &[String], size: usize) -> Vec<Page> {
    let chunks: Vec<&[String]> = if keys.is_empty() {
        vec![&[]]
    } else {
        keys.chunks(size).collect()
    };
    let token = |at: usize| (at > 0 && at < chunks.len()).then(|| format!("token {at}"));
    let pages = chunks.iter().enumerate().map(|(at, keys)| Page {
        bucket: Some("registry".to_owned()),
        prefix: Some(PREFIX.to_owned()),
        start_after: None,
        token: token(at),
        is_truncated: at + 1 < chunks.len(),
        next: token(at + 1),
        key_count: keys.len() as u64,
        objects: keys.iter().map(|key| object(key)).collect(),
        folders: Vec::new(),
    });
    pages.collect()
}

fn object(key: &str) -> Object {
    Object {
        key: key.to_owned(),
        size: 1,
        modified: None,
        md5: None,
    }
}

/// Takes pages as a client does: no more than it is told of, and no less.
fn take(pages: &[Page]) -> Result<Vec<String>, String> {
    let mut chain = Chain::new("registry", PREFIX, None);
    let mut keys = Vec::new();
    for page in pages {
        chain.take(page)?;
        keys.extend(page.objects.iter().map(|object| object.key.clone()));
        if chain.next().0 == "start-after" {
            return Ok(keys);
        }
    }
    Err("a page is missing".to_owned())
}

fn keys() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set("p/[a-c/é~ -]{0,5}", 0..40)
        .prop_map(|keys| keys.into_iter().collect())
}

/// One thing that goes wrong. `None` where there is nothing that it could happen to.
fn corrupt(mut pages: Vec<Page>, kind: usize, at: prop::sample::Index) -> Option<Vec<Page>> {
    let number = at.index(pages.len());
    let length = pages.len();
    let page = &mut pages[number];
    let many = page.objects.len();
    let place = if many == 0 { 0 } else { at.index(many) };
    match kind {
        0 if many > 0 => drop(page.objects.remove(place)),
        1 if many > 0 => {
            let twice = page.objects[place].clone();
            page.objects.insert(place, twice);
            page.key_count += 1;
        }
        2 if many > 1 => page.objects.swap(place, (place + 1) % many),
        3 if length > 1 => drop(pages.remove(number)),
        // Nobody asks for what comes after the last.
        4 if number + 1 < length => {
            let twice = page.clone();
            pages.insert(number, twice);
        }
        5 if length > 1 => pages.swap(number, (number + 1) % length),
        6 if number + 1 < length => page.next = None,
        7 => page.is_truncated = !page.is_truncated,
        8 if number + 1 < length => page.is_truncated = false,
        9 if many > 0 => page.objects[place].key = format!("q/{place}"),
        10 if many > 0 => page.objects.truncate(place),
        11 if number > 0 && number + 1 < length => page.next.clone_from(&page.token),
        12 => page.prefix = Some("q/".to_owned()),
        13 => page.bucket = Some("other".to_owned()),
        14 => page.folders.push("p/a/".to_owned()),
        _ => return None,
    }
    Some(pages)
}

proptest! {
    #[test]
    fn an_honest_listing_is_taken_whole(keys in keys(), size in 1..7_usize) {
        prop_assert_eq!(take(&honest(&keys, size)), Ok(keys));
    }

    #[test]
    fn a_listing_with_anything_wrong_is_refused(
        keys in keys(),
        size in 1..7_usize,
        kind in 0..15_usize,
        at: prop::sample::Index,
    ) {
        if let Some(pages) = corrupt(honest(&keys, size), kind, at) {
            let taken = take(&pages);
            prop_assert!(taken.is_err(), "{:?} of {:?}", taken, pages);
        }
    }
}

#[test]
fn an_empty_page_with_a_token_is_followed_and_not_for_ever() {
    let page = |at: u32, keys: &[&str]| Page {
        is_truncated: true,
        next: Some(format!("token {at}")),
        key_count: keys.len() as u64,
        objects: keys.iter().map(|key| object(key)).collect(),
        ..Page::default()
    };
    let mut stuck = Chain::new("registry", PREFIX, None);
    stuck.take(&page(1, &["p/a"])).unwrap();
    let again = stuck.take(&page(1, &["p/b"]));
    let given = "its token for the next page was given before";
    assert_eq!(again, Err(given.to_owned()));
    let mut chain = Chain::new("registry", PREFIX, None);
    for at in 0..EMPTY_PAGES_MAX {
        chain.take(&page(at, &[])).unwrap();
    }
    chain.take(&page(EMPTY_PAGES_MAX, &["p/a"])).unwrap();
    let mut last = Ok(());
    for at in 0..=EMPTY_PAGES_MAX {
        last = chain.take(&page(10_000 + at, &[]));
    }
    assert_eq!(last, Err("1000 pages without a key came".to_owned()));
}

#[test]
fn a_range_begins_after_its_start() {
    let started = |key: &str, said: Option<&str>| {
        let page = Page {
            start_after: said.map(ToOwned::to_owned),
            key_count: 1,
            objects: vec![object(key)],
            ..Page::default()
        };
        Chain::new("registry", PREFIX, Some("p/m")).take(&page)
    };
    assert_eq!(started("p/m0", Some("p/m")), Ok(()));
    // A server that does not know of starts gives all; and a proxy, the answer to somebody else.
    assert!(started("p/a", None).is_err());
    assert!(started("p/m", None).is_err());
    assert!(started("p/m0", Some("p/l")).is_err());
    assert_eq!(
        Chain::new("registry", PREFIX, Some("p/m")).next(),
        ("start-after", Some("p/m"))
    );
}
