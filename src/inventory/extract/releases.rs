//! What Argo CD and Flux say of images: what an application runs, what it ran before, what a policy will
//! have deployed next.
//!
//! Neither keeps the manifests that it applied. What can be had are the images that they write out, and
//! the overrides of images in a history: a tag alone, without its repository, names nothing.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use crate::inventory::{Via, manifests};
use crate::oci::reference::Reference;

use super::{ContainerImage, Extracted, Interner, Metadata, PodImages, Workload};

/// Whose releases are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Releases {
    pub argocd: bool,
    pub flux: bool,
    pub helm: bool,
}

/// An object that writes images out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// Argo CD's.
    Application,
    /// Flux': the image that a policy chose, and the one before.
    ImagePolicy,
    /// Flux': its overrides of images.
    Kustomization,
}

impl Teller {
    pub fn extract(self, object: &Value, interner: &mut Interner) -> Extracted {
        let mut told = Told::default();
        match self {
            Self::Application => told.application(object),
            Self::ImagePolicy => told.image_policy(object),
            Self::Kustomization => told.kustomization(object),
        }
        let kind = match self {
            Self::Application => "Application",
            Self::ImagePolicy => "ImagePolicy",
            Self::Kustomization => "Kustomization",
        };
        let metadata = match Metadata::deserialize(&object["metadata"]) {
            Ok(metadata) => metadata,
            Err(error) => {
                let problem = format!("a {kind} whose metadata cannot be read: {error}");
                return Extracted {
                    problem: Some(problem.into()),
                    ..Extracted::default()
                };
            }
        };
        let mut workload = |images: Images| workload(kind, &metadata, images, interner);
        let Metadata {
            namespace, name, ..
        } = &metadata;
        Extracted {
            workloads: if told.now.is_empty() {
                Box::default()
            } else {
                [workload(told.now)].into()
            },
            history: told
                .history
                .into_iter()
                .filter(|(_, images)| !images.is_empty())
                .map(|(via, images)| (via, workload(images)))
                .collect(),
            problem: told
                .problem
                .map(|problem| format!("{kind} {namespace}/{name}: {problem}").into()),
            ..Extracted::default()
        }
    }
}

/// Each with its place.
type Images = Vec<(String, String)>;

fn workload(kind: &str, metadata: &Metadata, images: Images, interner: &mut Interner) -> Workload {
    let containers = images.into_iter().map(|(place, image)| ContainerImage {
        container: interner.text(&place),
        image: interner.text(&image),
        reference: interner.reference(&image),
    });
    let containers = containers.collect();
    let images = PodImages {
        containers,
        pull_secrets: [].into(),
        service_account: interner.text("default"),
        constraint: std::sync::Arc::default(),
        mentioned: None,
    };
    Workload {
        kind: interner.text(kind),
        namespace: interner.text(&metadata.namespace),
        name: interner.text(&metadata.name),
        owner: None,
        images: interner.images(images),
        created: metadata.created(),
        idle: None,
        status: None,
        mark: interner.mark(metadata),
    }
}

#[derive(Default)]
struct Told {
    now: Images,
    history: Vec<(Option<Via>, Images)>,
    problem: Option<String>,
}

impl Told {
    fn application(&mut self, object: &Value) {
        for (index, image) in self
            .list(object, "/status/summary/images")
            .iter()
            .enumerate()
        {
            match image.as_str() {
                Some(image) => {
                    let place = format!("status.summary.images[{index}]");
                    self.now.push((place, image.to_owned()));
                }
                None => self.problem("status.summary.images", "it is not a list of texts"),
            }
        }
        for entry in self.list(object, "/status/history") {
            let via = Via::Object(format!("history/{}", entry["id"]).into());
            self.history.push((Some(via), sources(entry)));
        }
        for place in ["/operation/sync", "/status/operationState/operation/sync"] {
            if let Some(sync) = object.pointer(place) {
                let via = Via::Object("operation".into());
                self.history.push((Some(via), sources(sync)));
            }
        }
    }

    fn image_policy(&mut self, object: &Value) {
        let status = &object["status"];
        let mut images = Images::new();
        for field in ["latestRef", "observedPreviousRef"] {
            let of = &status[field];
            let image = composed("", text(of, "name"), text(of, "tag"), text(of, "digest"));
            images.extend(image.map(|image| (format!("status.{field}"), image)));
        }
        // Before v1 as one text.
        for field in ["latestImage", "observedPreviousImage"] {
            let image = Some(text(status, field)).filter(|it| is_image(it));
            images.extend(image.map(|image| (format!("status.{field}"), image.to_owned())));
        }
        images.dedup_by(|a, b| a.1 == b.1);
        self.history.push((None, images));
    }

    fn kustomization(&mut self, object: &Value) {
        let mut images = Images::new();
        for (index, of) in self.list(object, "/spec/images").iter().enumerate() {
            let name = [text(of, "newName"), text(of, "name")];
            let name = name
                .into_iter()
                .find(|it| !it.is_empty())
                .unwrap_or_default();
            let image = composed("", name, text(of, "newTag"), text(of, "digest"));
            images.extend(image.map(|image| (format!("spec.images[{index}]"), image)));
        }
        self.history.push((None, images));
    }

    fn list<'value>(&mut self, object: &'value Value, pointer: &str) -> &'value [Value] {
        match object.pointer(pointer) {
            None | Some(Value::Null) => &[],
            Some(Value::Array(items)) => items,
            Some(_) => {
                let place = pointer.trim_start_matches('/').replace('/', ".");
                self.problem(&place, "it is not a list");
                &[]
            }
        }
    }

    fn problem(&mut self, place: &str, problem: &str) {
        self.problem
            .get_or_insert_with(|| format!(".{place}: {problem}"));
    }
}

/// The images in the `source` or the `sources` of a sync.
fn sources(of: &Value) -> Images {
    let one = of.get("source").into_iter();
    let many = of.get("sources").and_then(Value::as_array);
    let mut images = Images::new();
    for source in one.chain(many.into_iter().flatten()) {
        overrides(source, &mut images);
    }
    images.sort_unstable();
    images.dedup();
    images
}

fn overrides(source: &Value, found: &mut Images) {
    let listed = |place: &str| {
        let items = source.pointer(place).and_then(Value::as_array);
        items.into_iter().flatten()
    };
    for image in listed("/kustomize/images") {
        // `name=new:tag`, `name:tag`, `name@digest`
        let image = image.as_str().unwrap_or_default();
        let image = image.rsplit('=').next().unwrap_or_default();
        if is_image(image) {
            found.push(("kustomize.images".to_owned(), image.to_owned()));
        }
    }
    let helm = &source["helm"];
    let parameters: BTreeMap<String, String> = listed("/helm/parameters")
        .map(|it| (text(it, "name").to_owned(), text(it, "value").to_owned()))
        .collect();
    let parameter = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    for (name, value) in &parameters {
        let (group, key) = name.rsplit_once('.').unwrap_or(("", name));
        let beside = |key: &str| match group {
            "" => parameter(key),
            group => parameter(&format!("{group}.{key}")),
        };
        let image = match key {
            "image" => Some(value.clone()).filter(|it| is_image(it)),
            "repository" => composed(beside("registry"), value, beside("tag"), beside("digest")),
            _ => None,
        };
        found.extend(image.map(|image| (format!("helm.parameters.{name}"), image)));
    }
    values(&helm["valuesObject"], "helm.valuesObject", found);
    // A text that is no YAML names nothing; Argo CD could not apply it either.
    for value in manifests::values(text(helm, "values"), DuplicateKeyPolicy::Error).flatten() {
        values(&value, "helm.values", found);
    }
}

/// The images in the values of a chart, written as most charts have them.
fn values(value: &Value, place: &str, found: &mut Images) {
    match value {
        Value::Object(fields) => {
            let tag = match &value["tag"] {
                Value::Number(number) => number.to_string(),
                tag => tag.as_str().unwrap_or_default().to_owned(),
            };
            let repository = text(value, "repository");
            let image = composed(
                text(value, "registry"),
                repository,
                &tag,
                text(value, "digest"),
            );
            found.extend(image.map(|image| (place.to_owned(), image)));
            let image = Some(text(value, "image")).filter(|it| is_image(it));
            found.extend(image.map(|image| (format!("{place}.image"), image.to_owned())));
            for (key, value) in fields {
                values(value, &format!("{place}.{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                values(item, &format!("{place}[{index}]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// `None` where a repository, or both tag and digest, are missing.
fn composed(registry: &str, repository: &str, tag: &str, digest: &str) -> Option<String> {
    let mut image = match registry {
        "" => repository.to_owned(),
        registry => format!("{registry}/{repository}"),
    };
    if !tag.is_empty() {
        image = format!("{image}:{tag}");
    }
    if !digest.is_empty() {
        image = format!("{image}@{digest}");
    }
    (!repository.is_empty() && is_image(&image)).then_some(image)
}

/// Whether it is a reference that says which of its repository's images it means.
fn is_image(text: &str) -> bool {
    let is_pinned = |it: &Reference| {
        let name = text.rsplit('/').next().unwrap_or_default();
        it.digest().is_some() || name.contains(':')
    };
    text.parse::<Reference>().is_ok_and(|it| is_pinned(&it))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `place image [via]`
    fn told(teller: Teller, mut object: Value) -> (Vec<String>, Option<String>) {
        object["metadata"] = json!({"namespace": "argocd", "name": "web"});
        let extracted = teller.extract(&object, &mut Interner::default());
        let now = extracted.workloads.iter().map(|workload| (None, workload));
        let history = extracted.history.iter();
        let all = now.chain(history.map(|(via, workload)| (Some(via), workload)));
        let lines = all.flat_map(|(via, workload)| {
            let via = match via {
                Some(Some(via)) => format!(" {via}"),
                Some(None) => " -".to_owned(),
                None => String::new(),
            };
            let images = workload.images.containers.iter();
            images.map(move |it| format!("{} {}{via}", it.container, it.image))
        });
        (lines.collect(), extracted.problem.map(Into::into))
    }

    #[test]
    fn an_application_tells_what_runs_and_what_its_history_overrode() {
        let object = json!({
            "spec": {"source": {"kustomize": {"images": ["not=read:here"]}}},
            "status": {
                "summary": {"images": ["web:v3", "registry.example/side@sha256:5"]},
                "history": [
                    {"id": 1, "source": {"kustomize": {"images": ["web=registry.example/web:v1", "side:v1", "x=:v1", "bare"]}}},
                    {"id": 2, "sources": [
                        {"helm": {"parameters": [{"name": "image.repository", "value": "registry.example/web"},
                            {"name": "image.tag", "value": "v2"}, {"name": "job.image", "value": "job:v2"},
                            {"name": "only.tag", "value": "v9"}]}},
                        {"helm": {"valuesObject": {"image": {"registry": "registry.example", "repository": "obj", "tag": 2}},
                            "values": "side:\n  image: side:v2\nlist: [{repository: in/list, tag: v2}]\n"}},
                    ]},
                    {"id": 3, "revision": "abc"},
                ],
            },
            "operation": {"sync": {"source": {"kustomize": {"images": ["web:v4"]}}}},
        });
        let (told, problem) = told(Teller::Application, object);
        assert_eq!(problem, None);
        assert_eq!(
            told,
            [
                "status.summary.images[0] web:v3",
                "status.summary.images[1] registry.example/side@sha256:5",
                "kustomize.images registry.example/web:v1 history/1",
                "kustomize.images side:v1 history/1",
                "helm.parameters.image.repository registry.example/web:v2 history/2",
                "helm.parameters.job.image job:v2 history/2",
                "helm.values.list[0] in/list:v2 history/2",
                "helm.values.side.image side:v2 history/2",
                "helm.valuesObject.image registry.example/obj:2 history/2",
                "kustomize.images web:v4 operation",
            ]
        );
    }

    #[test]
    fn what_is_wrongly_typed_is_told() {
        for (status, expected) in [
            (
                json!({"summary": {"images": "x"}}),
                ".status.summary.images: it is not a list",
            ),
            (
                json!({"summary": {"images": [5]}}),
                ".status.summary.images: it is not a list of texts",
            ),
            (json!({"history": {}}), ".status.history: it is not a list"),
        ] {
            let (_, problem) = told(Teller::Application, json!({"status": status}));
            assert_eq!(
                problem.unwrap(),
                format!("Application argocd/web: {expected}")
            );
        }
        assert_eq!(
            told(Teller::Application, json!({"status": null})),
            (vec![], None)
        );
    }

    #[test]
    fn flux_tells_what_a_policy_chose_and_what_is_overridden() {
        let status = json!({"latestRef": {"name": "registry.example/web", "tag": "v2"},
            "observedPreviousRef": {"name": "registry.example/web", "tag": "v1"}});
        let (lines, _) = told(Teller::ImagePolicy, json!({"status": status}));
        let expected = [
            "status.latestRef registry.example/web:v2 -",
            "status.observedPreviousRef registry.example/web:v1 -",
        ];
        assert_eq!(lines, expected);
        let status = json!({"latestImage": "registry.example/web:v2"});
        let (lines, _) = told(Teller::ImagePolicy, json!({"status": status}));
        assert_eq!(lines, ["status.latestImage registry.example/web:v2 -"]);
        let images = json!([{"name": "web", "newName": "registry.example/web", "newTag": "v2"},
            {"name": "side", "newTag": "v3"}, {"name": "bare"}]);
        let (lines, problem) = told(Teller::Kustomization, json!({"spec": {"images": images}}));
        assert_eq!(problem, None);
        assert_eq!(
            lines,
            [
                "spec.images[0] registry.example/web:v2 -",
                "spec.images[1] side:v3 -"
            ]
        );
    }
}
