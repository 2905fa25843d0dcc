use super::*;
use crate::second::Second;
use crate::storage::problems;

const ROOT: &str = "p/docker/registry/v2/";

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

/// An object as a server lists it, with the ETag that S3 gives it by default.
fn object(path: &str, content: &str) -> Object {
    Object {
        key: format!("{ROOT}{path}"),
        size: content.len() as u64,
        modified: Some(Second::new(7)),
        md5: Some(Md5::digest(content).into()),
    }
}

fn link(directory: &str, digest: &Digest) -> Object {
    let path = format!("repositories/a/{directory}/sha256/{}/link", digest.hex());
    object(&path, &digest.to_string())
}

fn current(tag: &str, content: &str) -> Object {
    object(
        &format!("repositories/a/_manifests/tags/{tag}/current/link"),
        content,
    )
}

/// Reads objects as they are listed, cut into two ranges at each place in turn: that makes no difference.
fn read(objects: &[Object]) -> (Vec<Listed>, Vec<Question>) {
    let mut objects = objects.to_vec();
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    let cut_at = |place: usize| {
        let (first, second) = objects.split_at(place);
        let ranges = [first, second].map(|objects| {
            let mut reader = Reader::new(&ROOT.into());
            for object in objects {
                reader.take(object);
            }
            reader.gathered
        });
        let (listed, questions) = Gathered::resolve(ranges.into());
        let mut listed = listed.concat();
        listed.sort();
        (listed, questions)
    };
    let whole = cut_at(0);
    for place in 1..objects.len() {
        assert_eq!(cut_at(place), whole, "cut at {place}");
    }
    whole
}

fn tag(name: &str, current: Option<Digest>) -> Listed {
    Listed::Tag {
        repository: "a".into(),
        tag: name.into(),
        current,
    }
}

#[test]
fn what_etags_prove_is_not_read() {
    let (one, two) = (digest("one"), digest("two"));
    let history = |tag: &str, digest| link(&format!("_manifests/tags/{tag}/index"), digest);
    let (listed, questions) = read(&[
        object(
            &format!("blobs/sha256/{}/{}/data", &one.hex()[..2], one.hex()),
            "one",
        ),
        link("_layers", &one),
        link("_manifests/revisions", &two),
        current("v1", &one.to_string()),
        history("v1", &one),
        history("v1", &two),
        // Its name ends where another goes on: `-` comes before `/`.
        current("v1-rc", &two.to_string()),
        history("v1-rc", &two),
        history("dying", &two),
    ]);
    assert_eq!(questions, []);
    let modified = Some(Second::new(7));
    let repository: Arc<str> = "a".into();
    let named = |tag: &str, digest| Listed::TagHistory {
        repository: "a".into(),
        tag: tag.into(),
        digest,
        modified,
    };
    let mut expected = vec![
        Listed::Blob {
            digest: one,
            size: 3,
            modified,
        },
        Listed::Layer {
            repository: Arc::clone(&repository),
            digest: one,
            modified,
        },
        Listed::Revision {
            repository,
            digest: two,
            modified,
        },
        named("v1", one),
        named("v1", two),
        named("v1-rc", two),
        named("dying", two),
        tag("v1", Some(one)),
        tag("v1-rc", Some(two)),
        tag("dying", None),
    ];
    expected.sort();
    assert_eq!(listed, expected);
}

#[test]
fn what_etags_do_not_prove_is_read() {
    let (one, two) = (digest("one"), digest("two"));
    let mut layer = link("_layers", &one);
    layer.md5 = None;
    let other = Object {
        md5: Some(Md5::digest(two.to_string()).into()),
        ..link("_manifests/revisions", &one)
    };
    let mut encrypted = current("kms", &one.to_string());
    encrypted.md5 = Some([1; 16]);
    // Nothing of its history is what it holds.
    let moved = current("moved", &two.to_string());
    let history = |tag: &str| link(&format!("_manifests/tags/{tag}/index"), &one);
    let (listed, questions) = read(&[
        layer,
        other,
        encrypted,
        moved,
        history("kms"),
        history("moved"),
    ]);
    assert_eq!(listed.len(), 2, "{listed:?}");
    let paths: Vec<String> = questions.iter().map(Question::path).collect();
    let hex = one.hex();
    assert_eq!(
        paths,
        [
            format!("repositories/a/_layers/sha256/{hex}/link"),
            format!("repositories/a/_manifests/revisions/sha256/{hex}/link"),
            "repositories/a/_manifests/tags/kms/current/link".to_owned(),
            "repositories/a/_manifests/tags/moved/current/link".to_owned(),
        ]
    );
}

#[test]
fn an_answer_is_taken_as_from_a_disk() {
    let (one, two) = (digest("one"), digest("two"));
    let layer = |digest| Listed::Layer {
        repository: "a".into(),
        digest,
        modified: None,
    };
    let answer = |question: &Question, content: Option<&str>| {
        let mut found = Vec::new();
        question
            .clone()
            .answer(content.map(str::as_bytes), &mut found);
        let problems = problems(&found);
        found.retain(|listed| !matches!(listed, Listed::Damage { .. }));
        (found, problems)
    };
    let question = Question::Link(layer(one));
    let path = question.path();
    let well = answer(&question, Some(&one.to_string()));
    assert_eq!(well, (vec![layer(one)], Vec::new()));
    let problem = format!("a: {path}: it names {two}, and its path {one}");
    let moved = answer(&question, Some(&two.to_string()));
    assert_eq!(moved, (vec![layer(one), layer(two)], vec![problem]));
    for content in ["sha256:12", &"x".repeat(71)] {
        let problem = format!("a: {path}: it holds no digest");
        assert_eq!(
            answer(&question, Some(content)),
            (vec![layer(one)], vec![problem])
        );
    }
    let problem = format!("a: {path}: it is empty");
    assert_eq!(
        answer(&question, Some("")),
        (vec![layer(one)], vec![problem])
    );
    // Taken away since it was listed.
    assert_eq!(answer(&question, None), (Vec::new(), Vec::new()));

    let question = Question::Current {
        repository: "a".into(),
        tag: "v1".into(),
    };
    let well = answer(&question, Some(&one.to_string()));
    assert_eq!(well, (vec![tag("v1", Some(one))], Vec::new()));
    let problem = "a: repositories/a/_manifests/tags/v1/current/link: it holds no digest";
    let damaged = answer(&question, Some("latest"));
    assert_eq!(damaged, (vec![tag("v1", None)], vec![problem.to_owned()]));
    assert_eq!(answer(&question, None), (vec![tag("v1", None)], Vec::new()));

    let question = Question::Started {
        repository: "a".into(),
        id: "4f".into(),
    };
    let at: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for (content, since) in [
        (Some("2026-01-01T00:00:00Z\n"), Some(Second::from(at))),
        (Some("then"), None),
        (None, None),
    ] {
        let upload = Listed::Upload {
            repository: "a".into(),
            since,
        };
        assert_eq!(answer(&question, content), (vec![upload], Vec::new()));
    }
}

#[test]
fn a_link_of_a_wrong_size_is_damage_and_stands() {
    let one = digest("one");
    let path = format!("repositories/a/_layers/sha256/{}/link", one.hex());
    for (content, problem) in [("", "it is empty"), ("sha256:12", "it holds no digest")] {
        let (listed, questions) = read(&[object(&path, content), current("v1", content)]);
        assert_eq!(questions, []);
        let current = "a: repositories/a/_manifests/tags/v1/current/link";
        assert_eq!(
            problems(&listed),
            [
                format!("a: {path}: {problem}"),
                format!("{current}: {problem}")
            ]
        );
        assert!(listed.contains(&tag("v1", None)));
        assert!(
            listed
                .iter()
                .any(|it| matches!(it, Listed::Layer { digest, .. } if *digest == one))
        );
    }
}

#[test]
fn uploads_are_told_by_their_ids() {
    let upload = |path: &str| object(&format!("repositories/a/_uploads/{path}"), "x");
    let (listed, questions) = read(&[
        upload("4f/startedat"),
        upload("4f/data"),
        upload("4f/hashstates/sha256/0"),
        upload("50/data"),
    ]);
    let unsaid = Listed::Upload {
        repository: "a".into(),
        since: None,
    };
    assert_eq!(listed, [unsaid]);
    let paths: Vec<String> = questions.iter().map(Question::path).collect();
    assert_eq!(paths, ["repositories/a/_uploads/4f/startedat"]);
}

#[test]
fn what_no_registry_writes_is_damage_and_leads_nowhere() {
    let one = digest("one").hex();
    let file = |path: &str| object(path, "x");
    let (listed, questions) = read(&[
        file("repositories/a/_manifests/readme"),
        file("repositories/a/_other/x"),
        file("blobs/sha256/zz/x"),
        file("repositories/../../secret/_manifests/tags/v1/current/link"),
        file("repositories/a//_uploads/4f/startedat"),
        file(&format!("repositories/./_layers/sha256/{one}/link")),
        file("repositories/a/_layers/"),
        // Directories that programs make, and what a crash leaves.
        object("", ""),
        object("repositories/", ""),
        object("repositories/a/_layers/sha256/", ""),
        file(&format!(
            "repositories/a/_layers/sha256/{one}/link.123e4567-e89b-12d3-a456-426614174000.tmp"
        )),
    ]);
    assert_eq!(questions, []);
    let is = |path: &str| format!("{path}: it is a file that no registry writes");
    assert_eq!(
        problems(&listed),
        [
            is(": blobs/sha256/zz/x"),
            is(": repositories/../../secret/_manifests/tags/v1/current/link"),
            is(&format!(": repositories/./_layers/sha256/{one}/link")),
            is(": repositories/a//_uploads/4f/startedat"),
            is(": repositories/a/_layers/"),
            is("a: repositories/a/_manifests/readme"),
            is("a: repositories/a/_other/x"),
        ]
    );
    assert_eq!(listed.len(), 7);
}
