//! Whose word counts where several are said.

use super::*;
use crate::inventory::{Class, User};

fn owner(namespace: &str, name: &str) -> Arc<TopOwner> {
    Arc::new(TopOwner {
        cluster: Some("prod".into()),
        namespace: namespace.into(),
        kind: "Deployment".into(),
        name: name.into(),
    })
}

fn mark(ignore: Option<&str>, labels: &[(&str, &str)]) -> Arc<Mark> {
    let labels = labels.iter();
    Arc::new(Mark {
        ignore: ignore.map(Into::into),
        labels: labels
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
    })
}

fn marked(namespace: &str, name: &str, mark: Arc<Mark>) -> Marked {
    Marked {
        owner: owner(namespace, name),
        mark,
    }
}

fn namespace(name: &str, mark: Arc<Mark>) -> MarkedNamespace {
    MarkedNamespace {
        cluster: Some("prod".into()),
        name: name.into(),
        mark,
    }
}

fn marks(owners: Vec<Marked>, namespaces: Vec<MarkedNamespace>) -> Marks {
    Marks::new(sorted(owners).into(), namespaces)
}

fn told(marks: &AllMarks, namespace: &str, name: &str) -> (Option<String>, String) {
    let owner = owner(namespace, name);
    let of = marks.of(&owner);
    let labels = of.labels().map(|(name, value)| format!("{name}={value}"));
    (
        of.ignored().map(ToString::to_string),
        labels.collect::<Vec<_>>().join(" "),
    )
}

#[test]
fn a_workloads_own_word_goes_before_its_namespaces() {
    let all: AllMarks = [marks(
        vec![
            marked("shop", "own", mark(Some("mine"), &[("team", "web")])),
            marked("shop", "labelled", mark(None, &[("team", "web")])),
            marked("shop", "silent", mark(Some(""), &[])),
            marked("crm", "own", mark(Some("mine"), &[])),
            marked("crm", "silent", mark(Some(""), &[])),
        ],
        vec![namespace(
            "shop",
            mark(Some("moving"), &[("team", "shop"), ("tier", "1")]),
        )],
    )]
    .into_iter()
    .collect();
    for (namespace, name, ignored, labels) in [
        ("shop", "own", Some("mine"), "team=web tier=1"),
        ("shop", "labelled", Some("moving"), "team=web tier=1"),
        // Who does not say why says nothing.
        ("shop", "silent", Some("moving"), "team=shop tier=1"),
        ("shop", "other", Some("moving"), "team=shop tier=1"),
        ("crm", "own", Some("mine"), ""),
        ("crm", "silent", None, ""),
        ("crm", "other", None, ""),
    ] {
        let expected = (ignored.map(ToOwned::to_owned), labels.to_owned());
        assert_eq!(told(&all, namespace, name), expected, "{namespace}/{name}");
    }
    // Another cluster's namespace of that name is another one.
    let elsewhere = TopOwner {
        cluster: Some("dr".into()),
        ..TopOwner::clone(&owner("shop", "own"))
    };
    let of = all.of(&elsewhere);
    assert!(of.ignored().is_none() && of.labels().next().is_none());
}

#[test]
fn of_several_sources_each_is_asked() {
    let all: AllMarks = [
        Marks::default(),
        marks(
            vec![marked("shop", "a", mark(Some("first"), &[]))],
            Vec::new(),
        ),
        marks(
            vec![
                marked("shop", "a", mark(Some("second"), &[])),
                marked("shop", "b", mark(Some("third"), &[])),
            ],
            vec![namespace("crm", mark(Some("fourth"), &[]))],
        ),
    ]
    .into_iter()
    .collect();
    let reason = |namespace: &str, name: &str| told(&all, namespace, name).0.unwrap();
    assert_eq!(reason("shop", "a"), "first");
    assert_eq!(reason("shop", "b"), "third");
    assert_eq!(reason("crm", "c"), "fourth");
}

#[test]
fn who_gives_no_reason_is_named() {
    let silent = || mark(Some(""), &[]);
    assert_eq!(
        marks(vec![marked("shop", "web", mark(Some("x"), &[]))], vec![]).problem(),
        None
    );
    let one = marks(vec![marked("shop", "web", silent())], vec![]);
    assert_eq!(
        one.problem().unwrap(),
        "a reason in pullproof.dev/ignore of Deployment shop/web: it silences nothing until it says why"
    );
    let three = marks(
        vec![
            marked("shop", "web", silent()),
            marked("shop", "db", silent()),
        ],
        vec![namespace("shop", silent())],
    );
    let problem = three.problem().unwrap();
    assert!(
        problem.contains("of Namespace shop and 2 more: "),
        "{problem}"
    );
}

#[test]
fn while_a_source_is_not_complete_its_last_word_on_what_it_does_not_name_stands() {
    let of = |owner: Arc<TopOwner>| ImageUse {
        user: Arc::new(User {
            owner,
            container: "app".into(),
            image: "a:1".into(),
            class: Class::Runtime,
            via: None,
            since: None,
            idle: None,
        }),
        reference: Ok("a:1".parse().unwrap()),
        pull_secrets: [].into(),
        constraint: Arc::default(),
    };
    let last = marks(
        vec![
            marked("shop", "gone", mark(Some("not read now"), &[])),
            marked("shop", "read", mark(Some("taken back"), &[])),
        ],
        vec![
            namespace("crm", mark(Some("before"), &[])),
            namespace("ops", mark(Some("before"), &[])),
        ],
    );
    let now = marks(
        vec![marked("shop", "new", mark(Some("now"), &[]))],
        vec![namespace("crm", mark(Some("now"), &[]))],
    );
    let uses = [of(owner("shop", "new")), of(owner("shop", "read"))];
    let both: AllMarks = [now.with_last(&last, &uses)].into_iter().collect();
    for (namespace, name, expected) in [
        ("shop", "new", Some("now")),
        ("shop", "gone", Some("not read now")),
        ("shop", "read", None),
        ("crm", "any", Some("now")),
        ("ops", "any", Some("before")),
    ] {
        let ignored = told(&both, namespace, name).0;
        assert_eq!(ignored.as_deref(), expected, "{namespace}/{name}");
    }
}
