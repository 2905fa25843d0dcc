use super::*;
use crate::gc::graph::Builder;
use crate::oci::digest::Digest;

const OLD: i64 = 10;
const BEGAN: i64 = 100;
const NEW: i64 = 101;

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A repository with a blob, a manifest and a tag, and what else is told.
fn graph(more: impl FnOnce(&mut Builder)) -> Graph {
    let mut builder = Builder::default();
    let old = Some(Second::new(OLD));
    for name in ["layer", "manifest", "other"] {
        builder.blob(digest(name), 1, old);
    }
    builder.layer("app", digest("layer"), old);
    builder.revision("app", digest("manifest"), old);
    builder.tag("app", "v1", Some(digest("manifest")));
    builder.history("app", "v1", digest("manifest"), old);
    more(&mut builder);
    builder.finish()
}

fn found(first: &Graph, second: &Graph) -> Option<String> {
    hidden(first, second, Second::new(BEGAN))
}

#[test]
fn what_is_the_same_and_what_came_since_hides_nothing() {
    let first = graph(|_| {});
    assert_eq!(found(&first, &first), None);
    let new = Some(Second::new(NEW));
    let second = graph(|builder| {
        builder.blob(digest("new"), 1, new);
        builder.layer("app", digest("new"), new);
        builder.layer("app", digest("layer"), new);
        builder.revision("young", digest("other"), new);
        builder.tag("app", "v2", Some(digest("manifest")));
        builder.history("app", "v2", digest("manifest"), new);
    });
    assert_eq!(found(&first, &second), None);
    // Whatever went away since is not what the first one hid.
    assert_eq!(found(&second, &first), None);
}

#[test]
fn a_tag_that_was_moved_since_hides_nothing_and_one_that_was_not_does() {
    let tagged = |at| {
        let mut builder = Builder::default();
        builder.blob(digest("next"), 1, Some(Second::new(OLD)));
        builder.tag("app", "v1", Some(digest("next")));
        builder.history("app", "v1", digest("next"), Some(Second::new(at)));
        builder.finish()
    };
    let first = {
        let mut builder = Builder::default();
        builder.blob(digest("next"), 1, Some(Second::new(OLD)));
        builder.tag("app", "v1", None);
        builder.history("app", "v1", digest("next"), Some(Second::new(OLD)));
        builder.finish()
    };
    assert_eq!(found(&first, &tagged(NEW)), None);
    assert!(found(&first, &tagged(OLD)).is_some());
}

#[test]
fn each_thing_that_was_there_before_is_found() {
    type Addition = fn(&mut Builder, Option<Second>);
    let additions: [(&str, Addition); 5] = [
        ("the link to sha256:", |it, at| {
            it.layer("app", digest("other"), at);
        }),
        ("the link to sha256:", |it, at| {
            it.revision("else", digest("other"), at);
        }),
        ("of the tag v0 in app", |it, at| {
            it.tag("app", "v0", Some(digest("manifest")));
            it.history("app", "v0", digest("manifest"), at);
        }),
        ("of the tag v0 in app", |it, at| {
            it.history("app", "v0", digest("manifest"), at);
        }),
        ("the content of sha256:", |it, at| {
            it.blob(digest("lone"), 1, at);
        }),
    ];
    let first = graph(|_| {});
    for (words, add) in additions {
        // What has no time may be old.
        for at in [Some(Second::new(OLD)), None] {
            let second = graph(|builder| add(builder, at));
            let told = found(&first, &second).unwrap_or_default();
            assert!(told.contains(words), "{told}");
        }
        let second = graph(|builder| add(builder, Some(Second::new(NEW))));
        assert_eq!(found(&first, &second), None, "{words}");
    }
    // A tag alone, of whose history nothing is there.
    let second = graph(|builder| builder.tag("app", "v0", Some(digest("manifest"))));
    assert!(found(&first, &second).is_some());
}
