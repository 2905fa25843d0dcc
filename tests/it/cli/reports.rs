//! What continuous integration reads of `verify`: JUnit's XML and SARIF.

use roxmltree::{Document, Node};
use serde_json::Value;

use super::first_layer;
use super::run::{lose_blob, pullproof_in};
use crate::support::clients::Clients;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::process::free_port;
use crate::support::registry::{Options, Registry, Version};

/// A registry with an image that is whole and one that lost a layer, and files that name these and more.
struct Scene {
    registry: Registry,
    files: tempfile::TempDir,
    nowhere: String,
    _root: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::start(Options::new(Version::V3, root.path())).await;
        let clients = Clients::of(&registry).await;
        let host = registry.host();
        let lost = format!("{host}/shop/lost:1");
        push_image(&clients, &format!("{host}/shop/app:1"), "app").await;
        push_image(&clients, &lost, "lost").await;
        lose_blob(&registry, &first_layer(&clients, &lost).await);
        let files = tempfile::tempdir().unwrap();
        let nowhere = format!("127.0.0.1:{}", free_port());
        let pod = format!(
            "# two of them\napiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop}}\nspec:\n  containers:\n  - {{name: app, image: '{host}/shop/app:1'}}\n  - name: side\n    image: {host}/shop/lost:1\n"
        );
        std::fs::write(files.path().join("web.yaml"), pod).unwrap();
        let list = format!("{nowhere}/away:1\nnot an image <&\"'\u{1}\n");
        std::fs::write(files.path().join("keep.txt"), list).unwrap();
        Self {
            registry,
            files,
            nowhere,
            _root: root,
        }
    }

    async fn verify(&self, more: &[&str]) -> String {
        let path = |name: &str| self.files.path().join(name).display().to_string();
        let (yaml, list) = (path("web.yaml"), path("keep.txt"));
        let hosts = format!("{},{}", self.registry.host(), self.nowhere);
        let mut arguments = vec!["verify", "-f", &yaml, "--references", &list];
        arguments.extend(["--plain-http", &hosts]);
        arguments.extend(more);
        let ended = pullproof_in(self.files.path(), &arguments).await;
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        ended.stdout
    }
}

fn children<'a>(node: Node<'a, 'a>, name: &'a str) -> Vec<Node<'a, 'a>> {
    node.children().filter(|it| it.has_tag_name(name)).collect()
}

/// What each test case is: its name without the host, and its element.
fn cases(xml: &str) -> Vec<(String, String, String)> {
    let document = Document::parse(xml).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "testsuites");
    let mut cases = Vec::new();
    let mut sums = [0, 0, 0];
    for suite in children(root, "testsuite") {
        let tests = children(suite, "testcase");
        let count = |name: &str| {
            tests
                .iter()
                .filter(|it| !children(**it, name).is_empty())
                .count()
        };
        let said = |name: &str| suite.attribute(name).unwrap().parse::<usize>().unwrap();
        assert_eq!(said("tests"), tests.len());
        for (sum, (attribute, element)) in sums.iter_mut().zip([
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ]) {
            assert_eq!(said(attribute), count(element), "{xml}");
            *sum += count(element);
        }
        for test in tests {
            assert!(test.attribute("classname").is_some());
            let name = test.attribute("name").unwrap();
            let name = name.split_once('/').map_or(name, |(_, rest)| rest);
            let ended = test.children().find(Node::is_element);
            let (element, text) = ended.map_or(("passed", ""), |ended| {
                (ended.tag_name().name(), ended.text().unwrap_or_default())
            });
            cases.push((name.to_owned(), element.to_owned(), text.to_owned()));
        }
    }
    let said = |name: &str| root.attribute(name).unwrap().parse::<usize>().unwrap();
    assert_eq!([said("failures"), said("errors")], [sums[0], sums[1]]);
    assert_eq!(said("tests"), cases.len());
    cases
}

#[tokio::test]
async fn junit_has_a_case_for_each_image_and_says_what_fails_the_run() {
    require!("docker-registry", "crane", "regctl");
    let scene = Scene::new().await;
    let ended = |cases: &[(String, String, String)], name: &str| {
        let mut named = cases.iter().filter(|(it, ..)| it.contains(name));
        let (_, element, text) = named.next().expect(name).clone();
        assert!(named.next().is_none(), "{name}");
        (element, text)
    };
    let strict = cases(&scene.verify(&["-o", "junit"]).await);
    assert_eq!(ended(&strict, "shop/app:1").0, "passed");
    let (element, text) = ended(&strict, "shop/lost:1");
    assert_eq!(element, "failure");
    assert!(text.starts_with("layer_missing"), "{text}");
    assert!(text.contains("web.yaml, line 9"), "{text}");
    assert!(text.contains("used by Pod shop/web (side)"), "{text}");
    assert_eq!(ended(&strict, "away:1").0, "error");
    assert_eq!(ended(&strict, "not an image").0, "failure");
    // What has a meaning in XML is escaped.
    assert!(strict.iter().any(|(name, ..)| name.contains("<&")));

    // What does not fail the run is not red.
    let broken_only = ["-o", "junit", "--fail-on", "broken"];
    let cases = cases(&scene.verify(&broken_only).await);
    assert_eq!(ended(&cases, "away:1").0, "skipped");
    assert_eq!(ended(&cases, "shop/lost:1").0, "failure");
}

#[tokio::test]
async fn sarif_shows_each_finding_where_the_image_is_named() {
    require!("docker-registry", "crane", "regctl");
    let scene = Scene::new().await;
    let sarif = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let first = sarif(scene.verify(&["-o", "sarif"]).await);
    assert_eq!(first["version"], "2.1.0");
    let run = &first["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    let of = |rule: &str| {
        let mut of = results.iter().filter(|it| it["ruleId"] == rule);
        of.next()
            .unwrap_or_else(|| panic!("no {rule} in {results:?}"))
            .clone()
    };
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(
            !uri.is_empty() && !uri.contains([' ', '\u{1}', '<']),
            "{uri}"
        );
        assert!(place["region"]["startLine"].as_u64().unwrap() > 0);
    }
    let lost = of("layer_missing");
    assert_eq!(lost["level"], "error");
    let place = &lost["locations"][0]["physicalLocation"];
    assert!(
        place["artifactLocation"]["uri"]
            .as_str()
            .unwrap()
            .ends_with("/web.yaml")
    );
    assert_eq!(place["region"]["startLine"], 9);
    let user = &lost["locations"][0]["logicalLocations"][0]["fullyQualifiedName"];
    assert_eq!(user, "shop/Pod/web/side");
    assert_eq!(of("unreachable")["level"], "warning");
    assert_eq!(
        of("reference_invalid")["locations"][0]["physicalLocation"]["region"]["startLine"],
        1
    );

    // The same findings keep their fingerprints when lines move.
    let path = scene.files.path().join("web.yaml");
    let moved = format!(
        "# more\n# lines\n{}",
        std::fs::read_to_string(&path).unwrap()
    );
    std::fs::write(&path, moved).unwrap();
    let second = sarif(scene.verify(&["-o", "sarif"]).await);
    let prints = |sarif: &Value| {
        let results = sarif["runs"][0]["results"].as_array().unwrap().clone();
        let mut prints: Vec<String> = results
            .iter()
            .map(|it| it["partialFingerprints"]["pullproof/v1"].to_string())
            .collect();
        prints.sort();
        prints
    };
    assert_eq!(prints(&first), prints(&second));
    assert_ne!(first["runs"][0]["results"], second["runs"][0]["results"]);
}
