use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// `namespace kind/name container reference`
fn told(state: &SourceState) -> Vec<String> {
    state
        .uses
        .iter()
        .map(|image_use| {
            let by = &image_use.user;
            let reference = match &image_use.reference {
                Ok(reference) => reference.to_string(),
                Err(invalid) => format!("malformed {}", invalid.text),
            };
            format!(
                "{} {}/{} {} {reference}",
                by.namespace, by.kind, by.name, by.container
            )
        })
        .collect()
}

fn deployment(name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  template:\n    \
         spec:\n      containers:\n      - name: app\n        image: {image}\n"
    )
}

#[test]
fn what_helm_prints_is_read() {
    let text = format!(
        "---\n# Source: chart/templates/empty.yaml\n---\n\n---\n# Source: a.yaml\n{}---\n{}...\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  8080: web\n  on: true\n  text: |\n    \
         image: not:this\n   \n---   # the last\nkind: List\nitems:\n- kind: Pod\n  metadata: {{name: p, namespace: shop}}\n  \
         spec: {{containers: [{{name: app, image: \"web:v3\"}}, {{name: bare}}]}}\n---\n",
        deployment("a", "web:v1"),
        deployment("b", "web:v2"),
    );
    let state = read_text("helm", &text, &Reading::default(), NOW);
    assert_eq!(state.incomplete, None);
    assert_eq!(state.complete_at, Some(NOW));
    assert_eq!(
        told(&state),
        [
            "default Deployment/a app docker.io/library/web:v1",
            "default Deployment/b app docker.io/library/web:v2",
            "shop Pod/p app docker.io/library/web:v3",
            "shop Pod/p bare malformed ",
        ]
    );
}

#[test]
fn a_broken_document_is_told_with_its_place_and_the_others_are_used() {
    let text = format!(
        "{}---\nkind: Deployment\nmetadata: {{name: \"unclosed\n---\n{}---\nkind: Pod\nspec: {{containers: 5}}\n---\njust text\n",
        deployment("a", "web:v1"),
        deployment("b", "web:v2"),
    );
    let state = read_text("stdin", &text, &Reading::default(), NOW);
    let reason = state.incomplete.as_deref().unwrap();
    assert!(reason.contains("stdin: document 2, line 1"), "{reason}");
    assert!(
        reason.contains("document 4, line 25: a Pod that cannot be read"),
        "{reason}"
    );
    assert!(
        reason.contains("document 5, line 28: it is not a Kubernetes object"),
        "{reason}"
    );
    assert_eq!(state.complete_at, None);
    assert_eq!(told(&state).len(), 2);
}

#[test]
fn documents_are_parted_where_yaml_parts_them() {
    let check = |text: &str, expected: &[(usize, u64)]| {
        let found: Vec<(usize, u64)> = documents(text)
            .iter()
            .map(|document| (document.number, document.first_line))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    };
    check("", &[]);
    check("\u{feff}# only\n\n", &[]);
    check("a: 1", &[(1, 1)]);
    check("---\na: 1\n", &[(1, 1)]);
    check("%YAML 1.2\n---\na: 1\n", &[(1, 2)]);
    check("a: 1\n---\nb: 1\n", &[(1, 1), (2, 2)]);
    check("a: 1\r\n---\r\nb: 1\r\n", &[(1, 1), (2, 2)]);
    check("---\n---\na: 1\n---\n", &[(2, 2)]);
    check("a: 1\n...\n---\nb: 1\n", &[(1, 1), (2, 3)]);
    check("--- {a: 1}\n--- # none\n--- {b: 1}", &[(1, 1), (3, 3)]);
    check("a: |\n  ---\n  b\n", &[(1, 1)]);
    check("a: ----\n----\n", &[(1, 1)]);
}

#[test]
fn duplicate_keys_and_alias_bombs_are_refused() {
    let duplicate = "kind: Pod\nspec:\n  containers: []\n  containers: []\n";
    let reason = read_text("s", duplicate, &Reading::default(), NOW)
        .incomplete
        .unwrap();
    assert_eq!(
        reason,
        "s: document 1, line 4: the key `containers` is there twice"
    );
    let parsed: Vec<_> = values(duplicate, DuplicateKeyPolicy::LastWins).collect();
    assert!(matches!(&*parsed, [Ok(_)]), "{parsed:?}");
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = format!("*a{}, ", level - 1).repeat(10);
        let inner = inner.trim_end_matches(", ");
        bomb = format!("{bomb}a{level}: &a{level} [{inner}]\n");
    }
    let reason = read_text("s", &bomb, &Reading::default(), NOW)
        .incomplete
        .unwrap();
    assert!(
        reason.ends_with("its aliases expand to far more than a manifest; write the values out"),
        "{reason}"
    );
    let tab = "kind: Pod\nspec:\n\tcontainers: []\n";
    let reason = read_text("s", tab, &Reading::default(), NOW)
        .incomplete
        .unwrap();
    assert!(
        reason.starts_with("s: document 1, line 3: tabs")
            && reason.ends_with("; indent with spaces"),
        "{reason}"
    );
}

#[test]
fn a_list_of_objects_is_read_and_a_patch_is_none() {
    let text = "- {kind: Pod, metadata: {name: a}, spec: {containers: [{name: app, image: \"web:1\"}]}}\n\
                - {kind: Pod, metadata: {name: b}, spec: {containers: app}}\n\
                - {kind: List, items: [{kind: Pod, metadata: {name: c}, spec: {containers: [{name: app, image: \"web:2\"}]}}]}\n\
                ---\n- {op: replace, path: /spec/replicas, value: 3}\n- text\n";
    let state = read_text("s", text, &Reading::default(), NOW);
    let expected = [
        "default Pod/a app docker.io/library/web:1",
        "default Pod/c app docker.io/library/web:2",
    ];
    assert_eq!(told(&state), expected);
    let reason = state.incomplete.unwrap();
    let expected = "s: document 1, line 1: item 2: a Pod that cannot be read: ";
    assert!(reason.starts_with(expected), "{reason}");
    let json = r#"[{"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "app", "image": "web:1"}]}}]"#;
    assert_eq!(
        told(&read_text("s", json, &Reading::default(), NOW)).len(),
        1
    );
}

#[test]
fn custom_resources_are_read_as_they_are_configured() {
    let task = |paths: &[&str]| {
        let resource = CustomResource {
            group: "tekton.dev".to_owned(),
            version: "v1".to_owned(),
            kind: "Task".to_owned(),
            pod_template: None,
            images: paths.iter().map(|path| path.parse().unwrap()).collect(),
            pull_secrets: Vec::new(),
            may_be_empty: false,
        };
        Reading {
            custom_resources: vec![Arc::new(resource)],
            ..Reading::default()
        }
    };
    let text = "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: build}\n\
                spec: {steps: [{image: \"go:1\"}], extra: 5}\n";
    let state = read_text("s", text, &task(&[".spec.steps[*].image"]), NOW);
    assert_eq!((state.incomplete.as_deref(), state.absent.len()), (None, 0));
    assert_eq!(
        told(&state),
        ["default Task/build spec.steps[0].image docker.io/library/go:1"]
    );
    let unread = read_text("s", text, &Reading::default(), NOW);
    assert_eq!((told(&unread).len(), unread.incomplete), (0, None));
    assert_eq!(
        unread.absent,
        [
            "Task/build: .spec.steps[0].image: an image that no configured path reads; customResources reads it"
        ]
    );
    for (path, expected) in [
        (
            ".spec.extra",
            "s: document 1, line 1: Task build: .spec.extra: it is not text",
        ),
        (
            ".spec.step[*].image",
            "Task.tekton.dev: .spec.step[*].image leads to nothing in its only object",
        ),
    ] {
        let state = read_text("s", text, &task(&[path]), NOW);
        let reason = state.incomplete.unwrap();
        assert!(reason.starts_with(expected), "{reason}");
    }
}

#[test]
fn pull_secrets_of_manifests_are_unreadable_not_missing() {
    let text = deployment("a", "web:v1").replace(
        "      containers",
        "      imagePullSecrets: [{name: regcred}]\n      containers",
    );
    let state = read_text("s", &text, &Reading::default(), NOW);
    let secret = &state.pull_secrets[&("default".into(), "regcred".into())];
    assert!(matches!(secret, PullSecret::Unreadable(_)), "{secret:?}");
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn directories_are_read_with_all_below_them() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "b/deep/er/x.yml", &deployment("deep", "web:v1"));
    write(root, "a.yaml", &deployment("a", "web:v1"));
    write(
        root,
        "j.json",
        r#"{"kind": "Pod", "metadata": {"name": "j"}, "spec": {"containers": [{"name": "app", "image": "web:v1"}]}}"#,
    );
    write(root, "README.md", "not: [yaml");
    write(root, ".git/config.yaml", "not: [yaml");
    write(root, "..data/linked.yaml", &deployment("linked", "web:v1"));
    write(root, "values.yaml", "image: {tag: v1}\n");
    std::os::unix::fs::symlink("..data/linked.yaml", root.join("linked.yaml")).unwrap();
    std::os::unix::fs::symlink(root, root.join("b/loop")).unwrap();
    let state = read("dir", &[root.to_owned()], &Reading::default(), NOW);
    assert_eq!(state.incomplete, None);
    let names: Vec<&str> = state
        .uses
        .iter()
        .map(|image_use| &*image_use.user.name)
        .collect();
    assert_eq!(names, ["a", "deep", "linked", "j"]);
}

#[test]
fn what_cannot_be_read_is_incomplete_and_the_rest_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "ok/a.yaml", &deployment("a", "web:v1"));
    fs::create_dir(root.join("empty")).unwrap();
    fs::create_dir(root.join("links")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("links/x")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", root.join("links/zero.yaml")).unwrap();
    let check = |name: &str, expected: &str| {
        let paths = [root.join("ok"), root.join(name)];
        let state = read("dir", &paths, &Reading::default(), NOW);
        let reason = state.incomplete.as_deref().unwrap();
        assert!(reason.contains(expected), "{reason}");
        assert_eq!((told(&state).len(), state.complete_at), (1, None));
    };
    check("missing", "missing: No such file");
    check("empty", "there is no .yaml, .yml or .json file below it");
    check("links", "x: No such file");
    check("links", "zero.yaml: it is not a regular file");
}

#[test]
fn few_problems_are_told_and_the_rest_counted() {
    let problems: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
    assert_eq!(summary(&problems).unwrap(), "a; b; c; and 2 more");
    assert_eq!(summary(&problems[..3]).unwrap(), "a; b; c");
    assert_eq!(summary(&[]), None);
}

proptest! {
    #[test]
    fn hostile_texts_never_panic(text in "([-.]{3} ?|kind: (Pod|List)|spec:|[ \\[\\]{}:&*!|>%#'\"-]|[a-z]{1,3}|\n){0,40}") {
        let state = read_text("s", &text, &Reading::default(), NOW);
        prop_assert_eq!(state.incomplete.is_none(), state.complete_at.is_some());
    }
}

#[test]
fn what_people_say_of_alerts_is_read_with_the_objects() {
    let text = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {pullproof.dev/ignore: freeze}, labels: {team: shop}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {team: web}}
spec: {template: {metadata: {annotations: {pullproof.dev/ignore: of the Pod}}, spec: {containers: [{name: app, image: a:1}]}}}
---
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: StatefulSet
  metadata: {name: db, annotations: {pullproof.dev/ignore: mine}}
  spec: {template: {spec: {containers: [{name: app, image: b:1}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: odd, annotations: [no map], labels: {team: 5}}
spec: {containers: [{name: app, image: c:1}]}
";
    let reading = Reading {
        labels: [Chosen {
            key: "team".into(),
            name: "team".into(),
        }]
        .into(),
        ..Reading::default()
    };
    let state = read_text("s", text, &reading, NOW);
    assert_eq!((state.incomplete.as_deref(), state.absent.len()), (None, 0));
    let said = state.uses.iter().map(|it| {
        let of = state.marks.of(&it.user);
        let labels: Vec<_> = of.labels().collect();
        let ignored = of.ignored().map(|reason| &**reason);
        (&*it.user.name, ignored, labels)
    });
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            ("odd", None, vec![]),
            ("db", Some("mine"), vec![]),
            ("web", Some("freeze"), vec![("team", "web")]),
        ]
    );
    // Who gives no reason is told.
    let state = read_text("s", &text.replace("freeze", "''"), &reading, NOW);
    assert_eq!((state.incomplete.as_deref(), state.absent.len()), (None, 1));
    assert!(
        state.absent[0].contains("Namespace shop"),
        "{:?}",
        state.absent
    );
}
