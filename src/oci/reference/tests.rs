//! What is a reference, in which form, and what is shared.

use super::*;
use proptest::prelude::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn familiar_names_are_spelled_out() {
    let pinned = format!("registry.example:5000/a/b:v1@sha256:{HEX}");
    let only_digest = format!("quay.io/a/b@sha256:{HEX}");
    for (text, canonical) in [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        (
            "index.docker.io/library/nginx",
            "docker.io/library/nginx:latest",
        ),
        (
            "registry-1.docker.io/nginx",
            "docker.io/library/nginx:latest",
        ),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("127.0.0.1:5000/team/app", "127.0.0.1:5000/team/app:latest"),
        ("[::1]:5000/app:v1", "[::1]:5000/app:v1"),
        ("a__b/c-d--e/f.g", "docker.io/a__b/c-d--e/f.g:latest"),
        (pinned.as_str(), pinned.as_str()),
        (only_digest.as_str(), only_digest.as_str()),
    ] {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), canonical);
        assert_eq!(canonical.parse::<Reference>().unwrap(), reference);
    }
}

#[test]
fn hostile_strings_are_refused_and_shown_escaped() {
    let long = "a".repeat(1 << 20);
    let upper_digest = format!("a@sha256:{}", HEX.to_uppercase());
    let bare = format!("sha256:{HEX}");
    for text in [
        "",
        ":",
        "/",
        "@",
        " nginx",
        "nginx ",
        "Nginx",
        "nginx:",
        "nginx:.a",
        "a/:b",
        "a//b",
        "a/../b",
        "-a",
        "a-",
        "a___b",
        "a..b",
        "a:b:c",
        "http://a/b",
        "host:0/a",
        "host:99999/a",
        "host:5a/a",
        "[::1/a",
        "[zz]/a",
        "a\n",
        "\"><script>",
        "exämple.com/a",
        "a@sha256:12",
        "h.example:/a",
        "-h.example/a",
        "h..example/a",
        &long,
        &upper_digest,
        &bare,
    ] {
        let error = text.parse::<Reference>().unwrap_err();
        assert!(
            error.text.len() < 1000 && !error.to_string().contains('\n'),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn parsing_never_panics_and_what_parses_round_trips(text in "[a-zA-Z0-9:/@._\\[\\]-]{0,80}|.{0,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
    }
}

#[test]
fn references_share_their_repository_and_tag_and_stay_what_they_are() {
    let mut sharing = Sharing::default();
    let mut share = |text: &str| {
        let alone: Reference = text.parse().unwrap();
        let shared = sharing.share(alone.clone());
        assert_eq!(shared, alone);
        shared
    };
    let one = share("registry.example/a:v1");
    let again = share("registry.example/a:v1");
    let other = share("registry.example/b:v1");
    assert!(Arc::ptr_eq(&one.repository, &again.repository));
    assert!(!Arc::ptr_eq(&one.repository, &other.repository));
    assert!(Arc::ptr_eq(&one.shared_host(), &other.shared_host()));
    let tags = [&one, &other].map(|reference| reference.shared_tag().unwrap());
    assert!(Arc::ptr_eq(&tags[0], &tags[1]));

    // a, b, the host and the tag; then what of them is still held.
    assert_eq!(sharing.len(), 4);
    drop((other, tags));
    sharing.prune();
    assert_eq!(sharing.len(), 3);
    drop((one, again));
    sharing.prune();
    sharing.prune();
    assert!(sharing.is_empty());
}

#[test]
fn references_are_in_order_of_host_repository_tag_and_digest() {
    let digest = format!("sha256:{HEX}");
    let ordered = [
        "a.example/z:v2".to_owned(),
        "b.example/a:v2".to_owned(),
        format!("b.example/b@{digest}"),
        "b.example/b:v1".to_owned(),
        format!("b.example/b:v1@{digest}"),
        "b.example/b:v2".to_owned(),
    ];
    let mut sorted = ordered
        .clone()
        .map(|text| text.parse::<Reference>().unwrap());
    sorted.reverse();
    sorted.sort();
    assert_eq!(sorted.map(|reference| reference.to_string()), ordered);
}
