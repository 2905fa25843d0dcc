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
    let state = read_text("helm", &text, NOW);
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
    let state = read_text("stdin", &text, NOW);
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
    let reason = read_text("s", duplicate, NOW).incomplete.unwrap();
    assert!(reason.starts_with("s: document 1, line "), "{reason}");
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = format!("*a{}, ", level - 1).repeat(10);
        let inner = inner.trim_end_matches(", ");
        bomb = format!("{bomb}a{level}: &a{level} [{inner}]\n");
    }
    assert!(read_text("s", &bomb, NOW).incomplete.is_some());
}

#[test]
fn pull_secrets_of_manifests_are_unreadable_not_missing() {
    let text = deployment("a", "web:v1").replace(
        "      containers",
        "      imagePullSecrets: [{name: regcred}]\n      containers",
    );
    let state = read_text("s", &text, NOW);
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
    let state = read("dir", &[root.to_owned()], NOW);
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
        let state = read("dir", &paths, NOW);
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
        let state = read_text("s", &text, NOW);
        prop_assert_eq!(state.incomplete.is_none(), state.complete_at.is_some());
    }
}
