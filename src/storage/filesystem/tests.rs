use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;

struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = Self { directory };
        fs::create_dir_all(tree.path("blobs/sha256")).unwrap();
        fs::create_dir_all(tree.path("repositories")).unwrap();
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(ROOT).join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn blob(&self, content: &str) -> Digest {
        let digest = Digest::of(content.as_bytes());
        let hex = digest.hex();
        self.write(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]), content);
        digest
    }

    fn link(&self, path: &str, digest: &Digest) {
        self.write(
            &format!("{path}/sha256/{}/link", digest.hex()),
            &digest.to_string(),
        );
    }

    fn list(&self) -> Result<BTreeSet<Listed>, Unlisted> {
        let found = Mutex::new(BTreeSet::new());
        let take = |part: Vec<Listed>| found.lock().unwrap().extend(part.into_iter().map(timeless));
        Filesystem::open(self.directory.path())
            .unwrap()
            .list(3, &take)?;
        Ok(found.into_inner().unwrap())
    }

    fn problems(&self) -> Vec<String> {
        crate::storage::problems(&self.list().unwrap())
    }
}

/// Times are now, give or take.
fn timeless(listed: Listed) -> Listed {
    let mut listed = listed;
    match &mut listed {
        Listed::Blob { modified, .. }
        | Listed::Layer { modified, .. }
        | Listed::Revision { modified, .. }
        | Listed::TagHistory { modified, .. } => {
            let told = modified.take();
            assert!(told.is_none_or(|at| at.get() > 1_700_000_000));
        }
        Listed::Tag { .. } | Listed::Upload { .. } | Listed::Damage { .. } => {}
    }
    listed
}

#[test]
fn all_of_a_registrys_tree_is_found() {
    let tree = Tree::new();
    let (layer, manifest) = (tree.blob("layer"), tree.blob("manifest"));
    for (name, digest) in [("a", &layer), ("a/b", &layer)] {
        tree.link(&format!("repositories/{name}/_layers"), digest);
    }
    tree.link("repositories/a/b/_manifests/revisions", &manifest);
    let tag = "repositories/a/b/_manifests/tags/v1";
    tree.link(&format!("{tag}/index"), &manifest);
    tree.write(&format!("{tag}/current/link"), &manifest.to_string());
    // A push that died between the two.
    tree.link("repositories/a/b/_manifests/tags/v2/index", &manifest);
    tree.write(
        "repositories/new/_uploads/4f0b/startedat",
        "2026-01-01T00:00:00Z",
    );
    tree.write("repositories/new/_uploads/4f0b/data", "half a la");
    fs::create_dir_all(tree.path("repositories/new/_uploads/4f0c")).unwrap();
    // What a crash left where its file was to come.
    fs::create_dir_all(tree.path(&format!("repositories/a/_layers/sha256/{}", manifest.hex())))
        .unwrap();

    let (a, b, new): (Arc<str>, Arc<str>, Arc<str>) = ("a".into(), "a/b".into(), "new".into());
    let none = None;
    let history = |tag: &str| Listed::TagHistory {
        repository: Arc::clone(&b),
        tag: tag.into(),
        digest: manifest,
        modified: none,
    };
    let tag = |tag: &str, current| Listed::Tag {
        repository: Arc::clone(&b),
        tag: tag.into(),
        current,
    };
    let upload = |since: Option<&str>| Listed::Upload {
        repository: Arc::clone(&new),
        since: since.map(|it| Second::from(it.parse::<jiff::Timestamp>().unwrap())),
    };
    let expected = BTreeSet::from([
        Listed::Blob {
            digest: layer,
            size: 5,
            modified: none,
        },
        Listed::Blob {
            digest: manifest,
            size: 8,
            modified: none,
        },
        Listed::Layer {
            repository: a,
            digest: layer,
            modified: none,
        },
        Listed::Layer {
            repository: Arc::clone(&b),
            digest: layer,
            modified: none,
        },
        Listed::Revision {
            repository: Arc::clone(&b),
            digest: manifest,
            modified: none,
        },
        history("v1"),
        history("v2"),
        tag("v1", Some(manifest)),
        tag("v2", None),
        upload(Some("2026-01-01T00:00:00Z")),
        upload(None),
    ]);
    assert_eq!(tree.list().unwrap(), expected);
    let storage = Filesystem::open(tree.directory.path()).unwrap();
    assert_eq!(storage.read(&layer, 5).unwrap(), b"layer");
    assert!(
        storage
            .read(&layer, 4)
            .unwrap_err()
            .to_string()
            .contains("5 bytes")
    );
}

#[test]
fn what_is_damaged_is_told_with_its_place_and_stops_nobody() {
    let tree = Tree::new();
    let (one, two) = (tree.blob("one"), tree.blob("two"));
    let layers = "repositories/a/_layers";
    let path = format!("{layers}/sha256/{}/link", one.hex());
    let well = |found: &BTreeSet<Listed>| {
        let b: Arc<str> = "b".into();
        found.contains(&Listed::Layer {
            repository: b,
            digest: two,
            modified: None,
        })
    };
    tree.link("repositories/b/_layers", &two);
    for (content, problem) in [
        (String::new(), "it is empty".to_owned()),
        ("sha256:12".to_owned(), "it holds no digest".to_owned()),
        (
            two.to_string(),
            format!("it names {two}, and its path {one}"),
        ),
    ] {
        tree.write(&path, &content);
        assert_eq!(tree.problems(), [format!("a: {path}: {problem}")]);
        let found = tree.list().unwrap();
        assert!(well(&found));
        // Fail closed: the link stands, whatever is in it.
        let a: Arc<str> = "a".into();
        let own = Listed::Layer {
            repository: a,
            digest: one,
            modified: None,
        };
        assert!(found.contains(&own));
    }
    tree.write(&path, &one.to_string());
    for (path, problem) in [
        (
            "repositories/a/_manifests/readme",
            "a: repositories/a/_manifests/readme: it is a file that no registry writes",
        ),
        (
            "repositories/a/_layers/sha512/x/link",
            "a: repositories/a/_layers/sha512: it is a directory that no registry makes",
        ),
        (
            "repositories/a/_other/x",
            "a: repositories/a/_other: it is a directory that no registry makes",
        ),
        (
            "blobs/sha512/ab/x",
            ": blobs/sha512: it is a directory that no registry makes",
        ),
        (
            "blobs/sha256/zz/x",
            ": blobs/sha256/zz/x: it is a file that no registry writes",
        ),
    ] {
        tree.write(path, "x");
        assert_eq!(tree.problems(), [problem]);
        assert!(well(&tree.list().unwrap()));
        let first = problem.split(": ").nth(1).unwrap();
        let first = tree.path(first);
        if first.is_dir() {
            fs::remove_dir_all(first).unwrap();
        } else {
            fs::remove_file(first).unwrap();
        }
    }
}

#[test]
fn nothing_leads_outside_and_what_cannot_be_read_is_no_listing() {
    let outside = Tree::new();
    outside.link("repositories/secret/_layers", &outside.blob("secret"));
    let tree = Tree::new();
    tree.link("repositories/a/_layers", &tree.blob("one"));
    let hex = Digest::of(b"secret").hex();
    let link = format!("repositories/a/_layers/sha256/{hex}");
    fs::create_dir_all(tree.path(&link)).unwrap();
    let target = outside
        .path("repositories/secret/_layers/sha256")
        .join(&hex)
        .join("link");
    symlink(target, tree.path(&link).join("link")).unwrap();
    let problems = tree.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].ends_with("a symbolic link, which is not followed"));

    // What the registry finds behind these is not listed, and would be taken for garbage.
    for (from, to) in [
        ("repositories/secret", "repositories/way"),
        ("repositories/secret/_layers", "repositories/b/_layers"),
        (
            "repositories/secret/_layers",
            "repositories/b/_manifests/revisions",
        ),
        (
            "repositories/secret/_layers/sha256",
            "repositories/b/_layers/sha256",
        ),
        (
            &format!("blobs/sha256/{}", &hex[..2]),
            &format!("blobs/sha256/{}", &hex[..2]),
        ),
        (
            &format!("blobs/sha256/{}/{hex}", &hex[..2]),
            &format!("blobs/sha256/{}/{hex}", &hex[..2]),
        ),
    ] {
        fs::create_dir_all(tree.path(to).parent().unwrap()).unwrap();
        symlink(outside.path(from), tree.path(to)).unwrap();
        let error = tree.list().unwrap_err();
        assert_eq!(error.path, *to);
        assert!(error.to_string().contains("a symbolic link"), "{error}");
        fs::remove_file(tree.path(to)).unwrap();
    }
    tree.list().unwrap();

    // No `repositories`: not all of it is mounted, say.
    fs::remove_dir_all(tree.path("repositories")).unwrap();
    assert_eq!(tree.list().unwrap_err().path, "repositories");
    assert!(Filesystem::open(&tree.path("blobs")).is_err());
}
