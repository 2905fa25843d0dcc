//! What is needed of a registry, in the forms that others' own rules understand. Pure.
//!
//! For registries that delete by themselves: what they are told here they do not take. Nothing here takes a
//! protection away again: an image that nobody sees is no image that nobody needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::inventory::keepset::KeepSet;
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;

const SCHEMA: &str = "pullproof.dev/keep/v1";

/// Harbor has so many rules for a project.
const HARBOR_RULES_MAX: usize = 15;

/// In which form it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A reference a line, by tag and by digest.
    Text,
    Json,
    /// A tag a line, as werf names what is deployed: `werf cleanup --keep-list`.
    Werf,
    /// Requests that make rules of immutable tags, a JSON object a line.
    Harbor,
    /// Requests that put a label on each artifact, a JSON object a line.
    HarborLabels,
    /// Commands that tag what is needed, for a lifecycle rule that keeps such tags.
    Ecr,
    /// Commands that lock what is needed against deletion.
    Azure,
}

/// One image that is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Needed<'a> {
    repository: &'a str,
    tag: Option<&'a str>,
    digests: Vec<Digest>,
    classes: Vec<&'static str>,
}

/// Writes what is needed of a registry, whose names these are; `host` is the one that is written. `label` is what
/// is put on artifacts where labels are.
pub fn export(
    kept: &KeepSet,
    host: &str,
    is_own: &dyn Fn(&str) -> bool,
    form: Form,
    label: &str,
) -> String {
    let needed = needed(kept, is_own);
    match form {
        Form::Text => text(host, &needed),
        Form::Json => as_json(host, &needed),
        Form::Werf => werf(host, &needed),
        Form::Harbor => harbor(&needed),
        Form::HarborLabels => harbor_labels(&needed, label),
        Form::Ecr => ecr(&needed),
        Form::Azure => azure(host, &needed),
    }
}

fn needed<'a>(kept: &'a KeepSet, is_own: &dyn Fn(&str) -> bool) -> Vec<Needed<'a>> {
    type Why = (BTreeSet<Digest>, BTreeSet<&'static str>);
    let mut all: BTreeMap<(&str, Option<&str>), Why> = BTreeMap::new();
    let references = kept.references().iter();
    for (reference, kept) in references.filter(|(reference, _)| is_own(reference.host())) {
        let key = (reference.repository(), Reference::tag(reference));
        let (digests, classes) = all.entry(key).or_default();
        digests.extend(&kept.digests);
        classes.extend(kept.classes.iter().map(|class| class.as_str()));
    }
    let all = all.into_iter();
    let all = all.map(|((repository, tag), (digests, classes))| Needed {
        repository,
        tag,
        digests: digests.into_iter().collect(),
        classes: classes.into_iter().collect(),
    });
    all.collect()
}

/// Each once, in order.
fn lines(all: impl Iterator<Item = String>) -> String {
    let all: BTreeSet<String> = all.collect();
    all.into_iter().fold(String::new(), |mut text, line| {
        text.push_str(&line);
        text.push('\n');
        text
    })
}

fn text(host: &str, needed: &[Needed<'_>]) -> String {
    lines(needed.iter().flat_map(|it| {
        let name = format!("{host}/{}", it.repository);
        let tag = it.tag.map(|tag| format!("{name}:{tag}"));
        let digests = it.digests.iter().map(|digest| format!("{name}@{digest}"));
        tag.into_iter().chain(digests.collect::<Vec<_>>())
    }))
}

fn as_json(host: &str, needed: &[Needed<'_>]) -> String {
    #[derive(Serialize)]
    struct Row<'a> {
        repository: &'a str,
        tag: Option<&'a str>,
        digests: &'a [Digest],
        classes: &'a [&'static str],
    }
    let rows = needed.iter().map(|it| Row {
        repository: it.repository,
        tag: it.tag,
        digests: &it.digests,
        classes: &it.classes,
    });
    let rows: Vec<Row<'_>> = rows.collect();
    let all = json!({"schema": SCHEMA, "registry": host, "keep": rows});
    serde_json::to_string_pretty(&all).expect("it is text") + "\n"
}

fn werf(host: &str, needed: &[Needed<'_>]) -> String {
    lines(needed.iter().filter_map(|it| {
        let tag = it.tag?;
        Some(format!("{host}/{}:{tag}", it.repository))
    }))
}

/// By project, then by repository, the tags.
type Projects<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<&'a str>>>;

/// A rule for each repository; where a project has more than Harbor takes rules, one for all of them, which keeps
/// more.
fn harbor(needed: &[Needed<'_>]) -> String {
    let mut projects = Projects::new();
    for it in needed {
        if let (Some((project, repository)), Some(tag)) = (it.repository.split_once('/'), it.tag) {
            let repositories = projects.entry(project).or_default();
            repositories.entry(repository).or_default().insert(tag);
        }
    }
    let mut text = String::new();
    for (project, repositories) in projects {
        if repositories.len() <= HARBOR_RULES_MAX {
            for (repository, tags) in repositories {
                rule(&mut text, project, repository, &tags);
            }
        } else {
            let names: BTreeSet<&str> = repositories.keys().copied().collect();
            let tags = repositories.into_values().flatten().collect();
            rule(&mut text, project, &one_of(&names), &tags);
        }
    }
    text
}

/// As doublestar writes alternatives.
fn one_of(names: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = names.iter().copied().collect();
    match names.as_slice() {
        [one] => (*one).to_owned(),
        all => format!("{{{}}}", all.join(",")),
    }
}

fn rule(text: &mut String, project: &str, repository: &str, tags: &BTreeSet<&str>) {
    let request = json!({
        "method": "POST",
        "path": format!("/api/v2.0/projects/{project}/immutabletagrules"),
        "body": {
            "action": "immutable",
            "template": "immutable_template",
            "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": one_of(tags)}],
            "scope_selectors": {
                "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repository}],
            },
        },
    });
    line(text, &request);
}

fn harbor_labels(needed: &[Needed<'_>], label: &str) -> String {
    let mut text = String::new();
    // An ID is a number there.
    let id: Value = label
        .parse::<u64>()
        .map_or_else(|_| json!(label), Value::from);
    for it in needed {
        let Some((project, repository)) = it.repository.split_once('/') else {
            continue;
        };
        // A slash in a path's part is encoded twice (Harbor's API).
        let repository = repository.replace('/', "%252F");
        let tag = it.tag.map(ToOwned::to_owned);
        let digests = it.digests.iter().map(ToString::to_string);
        for name in tag.into_iter().chain(digests) {
            let request = json!({
                "method": "POST",
                "path": format!("/api/v2.0/projects/{project}/repositories/{repository}/artifacts/{name}/labels"),
                "body": {"id": id},
            });
            line(&mut text, &request);
        }
    }
    text
}

fn line(text: &mut String, request: &Value) {
    writeln!(text, "{request}").expect("writing into a text never fails");
}

/// ECR has no locks. A tag of our own makes a lifecycle rule of the highest priority fit, and what that fits no
/// other rule expires.
fn ecr(needed: &[Needed<'_>]) -> String {
    lines(needed.iter().flat_map(|it| {
        let repository = it.repository;
        let command = |id: String, name: String| {
            format!(
                "aws ecr put-image --repository-name {repository} --image-tag {name} --image-manifest \"$(aws ecr \
                 batch-get-image --repository-name {repository} --image-ids {id} --query 'images[0].imageManifest' \
                 --output text)\""
            )
        };
        let tag = it.tag.map(|tag| {
            // A tag has 128 characters at most.
            let name: String = format!("pullproof-keep-{tag}").chars().take(128).collect();
            command(format!("imageTag={tag}"), name)
        });
        let digests = it.digests.iter().map(|digest| {
            let hex = digest.hex();
            command(
                format!("imageDigest={digest}"),
                format!("pullproof-keep-{hex}"),
            )
        });
        tag.into_iter().chain(digests.collect::<Vec<_>>())
    }))
}

fn azure(host: &str, needed: &[Needed<'_>]) -> String {
    let registry = host.split('.').next().unwrap_or(host);
    lines(needed.iter().flat_map(|it| {
        let repository = it.repository;
        let tag = it.tag.map(|tag| format!("{repository}:{tag}"));
        let digests = it.digests.iter();
        let digests = digests.map(|digest| format!("{repository}@{digest}"));
        let images: Vec<String> = tag.into_iter().chain(digests).collect();
        let commands = images.into_iter().map(|image| {
            format!(
                "az acr repository update --name {registry} --image {image} --delete-enabled false"
            )
        });
        commands.collect::<Vec<_>>()
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::inventory::completeness::complete;
    use crate::inventory::{Inventory, references};
    use crate::oci::reference::Aliases;

    fn exported(references: &str, form: Form) -> String {
        let now = Timestamp::from_second(1000).unwrap();
        let source = references::read_text("keep", references, now);
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(source)],
        });
        let kept = KeepSet::of(
            &complete(&inventory, now).unwrap(),
            &Aliases::default(),
            std::iter::empty(),
            SignedDuration::from_secs(1),
        );
        export(&kept, "r.example", &|host| host == "r.example", form, "7")
    }

    fn needed() -> String {
        let digest = Digest::of(b"a");
        format!(
            "r.example/team/app:v1\nr.example/team/app@{digest}\nr.example/team/web:8f3a\nelsewhere.example/x:1\nr.example/team/web:v2"
        )
    }

    #[test]
    fn what_is_needed_of_it_is_a_line_each() {
        let digest = Digest::of(b"a");
        assert_eq!(
            exported(&needed(), Form::Text),
            format!(
                "r.example/team/app:v1\nr.example/team/app@{digest}\nr.example/team/web:8f3a\nr.example/team/web:v2\n"
            )
        );
        // Whoever compares names of tags can be told of nothing else.
        assert_eq!(
            exported(&needed(), Form::Werf),
            "r.example/team/app:v1\nr.example/team/web:8f3a\nr.example/team/web:v2\n"
        );
        let json: Value = serde_json::from_str(&exported(&needed(), Form::Json)).unwrap();
        assert_eq!(json["keep"].as_array().unwrap().len(), 4);
        assert_eq!(json["keep"][0]["digests"], json!([digest]));
        assert_eq!(json["keep"][1]["tag"], "v1");
        assert_eq!(json["keep"][1]["classes"], json!(["listed"]));
    }

    #[test]
    fn commands_name_every_tag_and_digest() {
        let digest = Digest::of(b"a");
        let azure = exported(&needed(), Form::Azure);
        assert_eq!(azure.lines().count(), 4);
        assert!(azure.contains(&format!(
            "--name r --image team/app@{digest} --delete-enabled false"
        )));
        let ecr = exported(&needed(), Form::Ecr);
        assert_eq!(ecr.lines().count(), 4);
        assert!(ecr.contains("--image-tag pullproof-keep-8f3a "));
        assert!(ecr.contains(&format!("--image-ids imageDigest={digest} ")));
    }

    #[test]
    fn a_project_has_no_more_rules_than_harbor_takes() {
        let rules = |text: &str| -> Vec<Value> {
            let rules = exported(text, Form::Harbor);
            rules
                .lines()
                .map(|it| serde_json::from_str(it).unwrap())
                .collect()
        };
        let all = rules(&needed());
        assert_eq!(all.len(), 2);
        assert_eq!(all[1]["path"], "/api/v2.0/projects/team/immutabletagrules");
        assert_eq!(all[1]["body"]["tag_selectors"][0]["pattern"], "{8f3a,v2}");
        let scope = &all[1]["body"]["scope_selectors"]["repository"][0];
        assert_eq!(scope["pattern"], "web");
        let many: Vec<String> = (0..16)
            .map(|at| format!("r.example/team/a{at}:v{at}"))
            .collect();
        let all = rules(&many.join("\n"));
        assert_eq!(all.len(), 1);
        let tags = all[0]["body"]["tag_selectors"][0]["pattern"]
            .as_str()
            .unwrap();
        assert!(tags.starts_with("{v0,v1,v10,"), "{tags}");
        let labels = exported("r.example/team/a/b:v1", Form::HarborLabels);
        let label: Value = serde_json::from_str(&labels).unwrap();
        assert_eq!(
            label["path"],
            "/api/v2.0/projects/team/repositories/a%252Fb/artifacts/v1/labels"
        );
        assert_eq!(label["body"]["id"], 7);
    }
}
