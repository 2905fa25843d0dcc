//! Who pulls what, and for which platforms.

use std::collections::{BTreeSet, HashSet};

use super::*;
use crate::credentials::Keyring;
use crate::inventory::running::{Place, Running as RunningDigest};
use crate::inventory::{
    Class, ImageUse, Inventory, NodeConstraint, PullSecret, PullSecrets, SourceState, TopOwner,
};
use crate::oci::digest::Digest;
use crate::oci::reference::Aliases;
use crate::verify::finding::{Code, Report, Verdict};

const SECRET: &str = r#"{"auths":{"r.example":{"username":"u","password":"p"}}}"#;

fn image_use(namespace: &str, image: &str, secrets: &[&str]) -> ImageUse {
    ImageUse {
        user: Arc::new(User {
            owner: Arc::new(TopOwner {
                cluster: None,
                namespace: namespace.into(),
                kind: "Deployment".into(),
                name: "web".into(),
            }),
            container: "app".into(),
            image: image.into(),
            class: Class::Runtime,
            via: None,
            since: None,
            idle: None,
        }),
        reference: image.parse().map_err(Box::new),
        pull_secrets: secrets.iter().map(|name| Arc::from(*name)).collect(),
        constraint: Arc::default(),
    }
}

fn source(
    uses: Vec<ImageUse>,
    secrets: &[(&str, &str, PullSecret)],
    nodes: Option<&[&str]>,
) -> Inventory {
    let secrets: PullSecrets = secrets
        .iter()
        .map(|(namespace, name, secret)| {
            ((Arc::from(*namespace), Arc::from(*name)), secret.clone())
        })
        .collect();
    let platforms = nodes.map(|nodes| nodes.iter().map(|node| node.parse().unwrap()).collect());
    let mut state = SourceState::unread("test");
    state.uses = uses.into();
    state.pull_secrets = Arc::new(secrets);
    state.platforms = platforms;
    Inventory {
        sources: vec![Arc::new(state)],
    }
}

fn found(json: &str) -> PullSecret {
    PullSecret::Found(Arc::new(
        Keyring::parse_docker_config_json(json.as_bytes()).unwrap(),
    ))
}

fn needed(_host: &str) -> PlatformChoice {
    PlatformChoice::Needed
}

#[test]
fn one_image_for_one_reference_and_credential() {
    let other = SECRET.replace("\"p\"", "\"q\"");
    let inventory = source(
        vec![
            image_use("a", "r.example/app:v1", &["s"]),
            image_use("b", "r.example/app:v1", &["s"]),
            image_use("c", "r.example/app:v1", &["s"]),
            image_use("d", "r.example/app:v1", &[]),
            image_use("e", "docker.io/library/nginx", &["s"]),
            image_use("f", "nginx:latest", &[]),
            image_use("g", "Not An Image", &[]),
        ],
        &[
            ("a", "s", found(SECRET)),
            ("b", "s", found(SECRET)),
            ("c", "s", found(&other)),
            ("e", "s", found(SECRET)),
        ],
        None,
    );
    let images = collect(&inventory, &needed);
    let users: Vec<Vec<&str>> = images
        .images
        .iter()
        .map(|image| image.users.iter().map(|user| &*user.namespace).collect())
        .collect();
    // nginx for e and f; then app for d (nobody's), a and b (the same content), c (another).
    let [nginx, apps @ ..] = users.as_slice() else {
        panic!("{users:?}")
    };
    assert_eq!(nginx, &["e", "f"]);
    assert_eq!(apps.len(), 3);
    assert!(
        apps.contains(&vec!["d"]) && apps.contains(&vec!["a", "b"]) && apps.contains(&vec!["c"])
    );
    assert_eq!(images.malformed.len(), 1);
}

#[test]
fn a_secret_that_cannot_be_read_is_not_one_that_does_not_exist() {
    let unreadable = PullSecret::Unreadable("forbidden".to_owned());
    for (secret, is_own) in [(PullSecret::Missing, true), (unreadable, false)] {
        let uses = vec![image_use("a", "r.example/app:v1", &["s"])];
        let images = collect(&source(uses, &[("a", "s", secret)], None), &needed);
        assert_eq!(matches!(*images.images[0].puller, Puller::Own), is_own);
    }
}

#[test]
fn an_unreadable_secret_makes_unknown_of_what_it_might_change() {
    let puller = Puller::Unavailable {
        label: "a/s".into(),
        lack: Lack::Unread("a/s: forbidden".into()),
    };
    let pullable = Report {
        verdict: Verdict::Pullable,
        findings: vec![].into(),
        ..Report::never_checked()
    };
    let check = |report: Report, anonymous: bool, expected: Verdict| {
        let report = with_puller(report, &puller, anonymous);
        assert_eq!(report.verdict, expected, "{report:?}");
        report.findings.first().map(|finding| finding.code)
    };
    assert_eq!(check(pullable.clone(), true, Verdict::Pullable), None);
    assert_eq!(
        check(pullable, false, Verdict::Unknown),
        Some(Code::CredentialUnavailable)
    );
    for code in [
        Code::Unauthorized,
        Code::Forbidden,
        Code::TagMissing,
        Code::ManifestMissing,
    ] {
        let report = Report::only(code, "x".to_owned());
        assert_eq!(
            check(report, true, Verdict::Unknown),
            Some(Code::CredentialUnavailable)
        );
    }
    let layer = Report::only(Code::LayerMissing, "x".to_owned());
    assert_eq!(
        check(layer, true, Verdict::Broken),
        Some(Code::LayerMissing)
    );
}

#[test]
fn with_a_malformed_secret_nothing_is_pullable_whatever_else_there_is() {
    let malformed = || PullSecret::Malformed("no JSON".to_owned());
    let secrets = [
        ("a", "good", found(SECRET)),
        ("a", "bad", malformed()),
        ("a", "gone", PullSecret::Missing),
        (
            "a",
            "hidden",
            PullSecret::Unreadable("forbidden".to_owned()),
        ),
    ];
    let pullable = || Report {
        verdict: Verdict::Pullable,
        findings: vec![].into(),
        ..Report::never_checked()
    };
    let check = |image: &str, names: &[&str], report: Report| {
        let uses = vec![image_use("a", image, names)];
        let images = collect(&source(uses, &secrets, None), &needed);
        with_puller(report, &images.images[0].puller, true)
    };
    let told = |image: &str, names: &[&str], report: Report| {
        let report = check(image, names, report);
        let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
        (report.verdict, codes)
    };
    let fits = "r.example/app:v1";
    let unavailable = (Verdict::Unknown, vec![Code::CredentialUnavailable]);
    for names in [
        &["good", "bad"][..],
        &["bad", "good"],
        &["gone", "bad"],
        &["hidden", "bad"],
        &["hidden", "good", "bad"],
        &["bad"],
    ] {
        // Also what anybody may pull, on a registry for which the secret is not.
        for image in [fits, "public.example/app:v1"] {
            assert_eq!(told(image, names, pullable()), unavailable, "{names:?}");
        }
        let message = &check(fits, names, pullable()).findings[0].message;
        assert!(message.contains("a/bad: no JSON"), "{message}");
        // What is missing is missing for everybody.
        let layer = Report::only(Code::LayerMissing, "x".to_owned());
        let broken = (Verdict::Broken, vec![Code::LayerMissing]);
        assert_eq!(told(fits, names, layer), broken, "{names:?}");
    }
    for names in [&["good"][..], &["gone", "good"], &["good", "hidden"]] {
        let verdict = told(fits, names, pullable()).0;
        assert_eq!(verdict, Verdict::Pullable, "{names:?}");
    }
    // The good one has looked: what it does not find is gone, and what a stranger does not find may be hidden.
    let missing = || Report::only(Code::TagMissing, "x".to_owned());
    let seen = told(fits, &["good", "bad"], missing());
    assert_eq!(seen, (Verdict::Broken, vec![Code::TagMissing]));
    assert_eq!(told(fits, &["bad"], missing()), unavailable);
}

#[test]
fn a_secret_that_becomes_malformed_makes_another_image() {
    let keys = [
        PullSecret::Unreadable("forbidden".to_owned()),
        PullSecret::Malformed("no JSON".to_owned()),
        PullSecret::Missing,
    ]
    .map(|secret| {
        ["r.example/app:v1", "public.example/app:v1"].map(|image| {
            let uses = vec![image_use("a", image, &["good", "other"])];
            let secrets = [("a", "good", found(SECRET)), ("a", "other", secret.clone())];
            let images = collect(&source(uses, &secrets, None), &needed);
            Arc::clone(&images.images[0].key)
        })
    });
    let distinct: HashSet<_> = keys.iter().flatten().collect();
    assert_eq!(distinct.len(), 6, "{keys:?}");
}

#[test]
fn platforms_are_those_of_the_nodes_that_may_run_it() {
    let needs = |constraint: NodeConstraint, nodes: Option<&[&str]>, choice: PlatformChoice| {
        let mut image_use = image_use("a", "r.example/app:v1", &[]);
        image_use.constraint = Arc::new(constraint);
        let images = collect(&source(vec![image_use], &[], nodes), &|_| choice.clone());
        match &images.images[0].needs {
            Needs::All => "all".to_owned(),
            Needs::These(these) => these
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        }
    };
    let both: Option<&[&str]> = Some(&["linux/amd64", "linux/arm64"]);
    let arm = || NodeConstraint {
        os: None,
        architecture: Some("arm64".to_owned()),
        ..NodeConstraint::default()
    };
    let riscv = NodeConstraint {
        os: None,
        architecture: Some("riscv64".to_owned()),
        ..NodeConstraint::default()
    };
    let these = |platforms: &[&str]| NodeConstraint {
        platforms: Some(platforms.iter().map(|it| it.parse().unwrap()).collect()),
        ..NodeConstraint::default()
    };
    let any = NodeConstraint::default;
    assert_eq!(
        needs(any(), both, PlatformChoice::Needed),
        "linux/amd64 linux/arm64"
    );
    assert_eq!(needs(arm(), both, PlatformChoice::Needed), "linux/arm64");
    assert_eq!(needs(riscv, both, PlatformChoice::Needed), "all");
    assert_eq!(needs(any(), None, PlatformChoice::Needed), "all");
    let arm_alone = needs(these(&["linux/arm64"]), both, PlatformChoice::Needed);
    assert_eq!(arm_alone, "linux/arm64");
    assert_eq!(needs(these(&[]), both, PlatformChoice::Needed), "all");
    assert_eq!(needs(any(), both, PlatformChoice::All), "all");
    let chosen = PlatformChoice::These(["linux/s390x".parse().unwrap()].into());
    assert_eq!(needs(any(), both, chosen), "linux/s390x");
}

#[test]
fn entries_of_one_reference_are_found_and_share_what_their_users_wrote() {
    let written = "r.example/app:v1";
    let inventory = source(
        vec![
            image_use("a", written, &["s"]),
            image_use("b", written, &[]),
            image_use("c", "r.example/app:v0", &[]),
            image_use("d", "r.example/app:v2", &[]),
        ],
        &[("a", "s", found(SECRET))],
        None,
    );
    let images = collect(&inventory, &needed);
    let entries = images.of_reference(&written.parse().unwrap());
    assert_eq!(entries.len(), 2);
    for entry in entries {
        assert_eq!(&*entry.name, written);
        assert!(Arc::ptr_eq(&entry.name, &entry.users[0].image));
        let mut uses = inventory.sources[0].uses.iter();
        assert!(uses.any(|one| Arc::ptr_eq(&one.user, &entry.users[0])));
        assert!(Arc::ptr_eq(images.get(&entry.key).unwrap(), entry));
    }
    assert!(
        images
            .of_reference(&"r.example/app:v3".parse().unwrap())
            .is_empty()
    );
    let gone = ImageKey {
        reference: "r.example/app:v1".parse().unwrap(),
        puller: PullerKey::Unavailable("x".into()).into(),
    };
    assert!(images.get(&gone).is_none());
}

#[test]
fn what_runs_apart_from_its_tag_is_an_image_of_its_own_with_the_same_credential() {
    let [old, older, here, elsewhere] =
        ["old", "older", "here", "elsewhere"].map(|name| Digest::of(name.as_bytes()));
    let pinned = format!("r.example/app@{here}");
    let mut inventory = source(
        vec![
            image_use("a", "r.example/app:1", &["s"]),
            image_use("b", "r.example/app:1", &[]),
            image_use("b", &pinned, &[]),
        ],
        &[("a", "s", found(SECRET))],
        None,
    );
    let state = Arc::make_mut(&mut inventory.sources[0]);
    let runs = |at: usize, digests: &[(Digest, Place)]| {
        Arc::new(RunningUse {
            user: Arc::clone(&state.uses[at].user),
            running: digests
                .iter()
                .map(|(digest, place)| RunningDigest {
                    id: ImageId {
                        digest: *digest,
                        place: *place,
                    },
                    by: "ReplicaSet/web-a".into(),
                })
                .collect(),
            refusal: None,
            pulled: None,
        })
    };
    state.running = [
        runs(0, &[(old, Place::Named)]),
        runs(
            1,
            &[
                (old, Place::Named),
                (here, Place::Named),
                (elsewhere, Place::Other),
            ],
        ),
    ]
    .into();
    let images = collect(&inventory, &needed);
    let said = images.images.iter().map(|image| image.running_ids().len());
    assert_eq!(
        said.collect::<Vec<_>>(),
        [0, 3, 1],
        "the pinned one's, the anonymous one's, the secret's"
    );
    let all: BTreeSet<Digest> = [old, older, here, elsewhere].into();
    let tagged = images
        .images
        .iter()
        .filter(|image| image.key.reference.tag().is_some());
    let apart: Apart = tagged
        .map(|image| (Arc::clone(&image.key), all.clone()))
        .collect();
    let with = with_running(images.clone(), &apart);
    let by_digest = format!("r.example/app@{old}");
    // What nobody runs, what a node has from elsewhere, and what somebody names is not added.
    let added: Vec<_> = with
        .endpoints
        .iter()
        .map(|image| {
            let user = &image.users[0];
            let via = user.via.as_ref().map(ToString::to_string);
            (
                &*image.name,
                &*user.namespace,
                user.class,
                via,
                image.users.len(),
            )
        })
        .collect();
    let via = Some("ReplicaSet/web-a".to_owned());
    assert_eq!(
        added,
        [
            (&*by_digest, "b", Class::Runtime, via.clone(), 1),
            (&*by_digest, "a", Class::Runtime, via, 1),
        ]
    );
    assert!(matches!(*with.endpoints[1].puller, Puller::Secrets { .. }));
    assert!(
        with.endpoints
            .is_sorted_by(|one, other| one.key < other.key)
    );
    assert!(with_running(images, &Apart::new()).endpoints.is_empty());
}

#[test]
fn a_registry_by_another_name_is_the_same_and_who_pulls_depends_on_what_is_written() {
    let secret = SECRET.replace("r.example", "r.internal");
    let pinned = format!("r.internal/app@{}", Digest::of(b"pinned"));
    let inventory = source(
        vec![
            image_use("a", "r.internal/app:v1", &["s"]),
            image_use("b", "r.example/app:v1", &["s"]),
            image_use("c", "R.internal/app:v1", &[]),
            image_use("d", &pinned, &[]),
            image_use("e", "r.other/app:v1", &[]),
        ],
        &[("a", "s", found(&secret)), ("b", "s", found(&secret))],
        None,
    );
    let aliases = Aliases::of([("r.internal", "r.example")].into_iter());
    let images = collect_by(&inventory, &needed, &aliases);
    let told: Vec<_> = images
        .images
        .iter()
        .map(|image| {
            let users = image.users.iter().map(|user| &*user.namespace);
            let is_own = matches!(*image.puller, Puller::Own);
            (&*image.name, &*image.registry, users.collect(), is_own)
        })
        .collect();
    let by_digest = pinned.replace("r.internal", "r.example");
    let expected: [(&str, &str, Vec<&str>, bool); 4] = [
        (&by_digest, "r.example", vec!["d"], true),
        // The secret is for the alias, so it is nothing to who writes the host.
        ("r.example/app:v1", "r.example", vec!["b", "c"], true),
        ("r.example/app:v1", "r.example", vec!["a"], false),
        ("r.other/app:v1", "r.other", vec!["e"], true),
    ];
    assert_eq!(told, expected);
    assert_eq!(images.hosts().len(), 2);
}
