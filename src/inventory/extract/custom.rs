//! What an object of a configured custom resource says about images.

use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::Value;

use crate::inventory::{NodeConstraint, Via};
use crate::oci::reference::shown;

use super::path::FieldPath;
use super::{ContainerImage, Hits, Interner, Metadata, PodImages, Spec, Template, Workload};

/// A kind that Kubernetes does not know, and where its objects name images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomResource {
    pub group: String,
    pub version: String,
    pub kind: String,
    /// Leads to pod templates, or to the specs of pods.
    pub pod_template: Option<FieldPath>,
    /// Lead to images outside pod templates.
    pub images: Vec<FieldPath>,
    /// Lead to the names of the pull secrets of `images`.
    pub pull_secrets: Vec<FieldPath>,
    /// Whether a path may lead to nothing in all of its objects.
    pub may_be_empty: bool,
}

/// What one object gave that is no workload of Kubernetes itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    pub workloads: Box<[Workload]>,
    /// What a rollback would pull, each with what says so.
    pub history: Box<[(Option<Via>, Workload)]>,
    /// Why that may not be all; names the object and the place.
    pub problem: Option<Box<str>>,
    /// What of it nobody asked to be read, and may be an image.
    pub unread: Option<Box<str>>,
    /// Which paths of a custom resource led to something; of one that may be empty it is not looked at.
    pub hits: Hits,
}

impl CustomResource {
    /// `group/version`
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    pub fn extract(&self, object: &Value, interner: &mut Interner) -> Extracted {
        let metadata = match Metadata::deserialize(&object["metadata"]) {
            Ok(metadata) => metadata,
            Err(error) => {
                let problem = format!("a {} whose metadata cannot be read: {error}", self.kind);
                return Extracted {
                    problem: Some(problem.into()),
                    ..Extracted::default()
                };
            }
        };
        let mut reading = Reading {
            resource: self,
            metadata: &metadata,
            interner,
            workloads: Vec::new(),
            problem: None,
            hits: Hits::default(),
        };
        reading.pod_templates(object);
        reading.images(object);
        Extracted {
            workloads: reading.workloads.into(),
            history: Box::default(),
            problem: reading.problem.map(Into::into),
            unread: None,
            hits: reading.hits,
        }
    }
}

/// Each with its place.
type Found<'value> = Vec<(String, &'value Value)>;

struct Reading<'a> {
    resource: &'a CustomResource,
    metadata: &'a Metadata,
    interner: &'a mut Interner,
    workloads: Vec<Workload>,
    problem: Option<String>,
    hits: Hits,
}

impl Reading<'_> {
    fn pod_templates(&mut self, object: &Value) {
        let Some(path) = &self.resource.pod_template else {
            return;
        };
        // Argo's Rollout takes its template from a Deployment then.
        if object
            .pointer("/spec/workloadRef")
            .is_some_and(Value::is_object)
        {
            self.refers();
        }
        let found = self.find(path, object);
        self.hit(0, &found);
        for (place, value) in found {
            match pod_spec(value) {
                Ok(spec) => {
                    let images = spec.into_images(self.interner);
                    self.workload(images);
                }
                Err(problem) => self.problem(&place, &problem),
            }
        }
    }

    fn images(&mut self, object: &Value) {
        let mut containers = Vec::new();
        for (index, path) in (1..).zip(&self.resource.images) {
            let found = self.find(path, object);
            self.hit(index, &found);
            for (place, image) in self.texts(found) {
                // A variable that is filled in at run time (Tekton's, KubeVirt's) is no image yet:
                // the Pod that runs names what came of it.
                if image.is_empty() || image.contains("$(") {
                    continue;
                }
                containers.push(ContainerImage {
                    container: self.interner.text(place.trim_start_matches('.')),
                    image: self.interner.text(image),
                    reference: self.interner.reference(image),
                });
            }
        }
        let mut pull_secrets: Vec<Arc<str>> = Vec::new();
        for path in &self.resource.pull_secrets {
            let found = self.find(path, object);
            for (_, name) in self.texts(found) {
                let name = self.interner.text(name);
                if !name.is_empty() && !pull_secrets.contains(&name) {
                    pull_secrets.push(name);
                }
            }
        }
        if containers.is_empty() {
            return;
        }
        let images = PodImages {
            containers: containers.into(),
            pull_secrets: pull_secrets.into(),
            service_account: self.interner.text("default"),
            constraint: Arc::new(NodeConstraint::default()),
            mentioned: None,
        };
        let images = self.interner.images(images);
        self.workload(images);
    }

    /// What does not fit is a problem of its own. Pull secrets are not asked for: without one an image is
    /// missed by nobody.
    fn hit(&mut self, path: usize, found: &Found<'_>) {
        let is_told = self.problem.is_some();
        if !self.resource.may_be_empty && (is_told || !found.is_empty()) {
            self.hits.hit(path);
        }
    }

    fn refers(&mut self) {
        if !self.resource.may_be_empty {
            self.hits.refers();
        }
    }

    fn texts<'value>(&mut self, found: Found<'value>) -> Vec<(String, &'value str)> {
        let mut texts = Vec::new();
        for (place, value) in found {
            match value {
                Value::String(text) => texts.push((place, text.as_str())),
                _other => self.problem(&place, "it is not text"),
            }
        }
        texts
    }

    fn find<'value>(&mut self, path: &FieldPath, object: &'value Value) -> Found<'value> {
        path.find(object).unwrap_or_else(|misfit| {
            self.problem(&misfit.place, misfit.problem);
            Vec::new()
        })
    }

    fn workload(&mut self, images: Arc<PodImages>) {
        self.workloads.push(Workload {
            kind: self.interner.text(&self.resource.kind),
            namespace: self.interner.text(&self.metadata.namespace),
            name: self.interner.text(&self.metadata.name),
            owner: self.metadata.owner(self.interner),
            images,
            created: self.metadata.created(),
            idle: None,
            status: None,
            mark: self.interner.mark(self.metadata),
        });
    }

    /// The first one is told.
    fn problem(&mut self, place: &str, problem: &str) {
        let Metadata {
            namespace, name, ..
        } = self.metadata;
        let separator = if namespace.is_empty() { "" } else { "/" };
        let kind = &self.resource.kind;
        self.problem.get_or_insert_with(|| {
            let place = shown(place);
            format!("{kind} {namespace}{separator}{name}: {place}: {problem}")
        });
    }
}

/// A pod template, or the spec of a pod itself, as Knative's `Revision` has it.
fn pod_spec(value: &Value) -> Result<Spec, String> {
    let unreadable = |error: serde_json::Error| {
        let error = shown(&error.to_string());
        format!("it is a pod template that cannot be read: {error}")
    };
    if value.get("containers").is_some() {
        return Spec::deserialize(value).map_err(unreadable);
    }
    if value.get("spec").is_none_or(Value::is_null) {
        return Err("it is not a pod template: it has no spec".to_owned());
    }
    let template = Template::deserialize(value).map_err(unreadable)?;
    Ok(template.spec)
}

#[cfg(test)]
mod tests;
