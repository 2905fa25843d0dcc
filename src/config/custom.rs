//! The custom resources' part of the check.

use std::sync::Arc;

use crate::inventory::extract::{CustomResource, FieldPath, PATHS_MAX};

use super::check::Checker;
use super::problem::quoted;
use super::raw;

pub(super) fn check(
    checker: &mut Checker<'_, '_>,
    raw: Vec<raw::CustomResource>,
) -> Vec<Arc<CustomResource>> {
    let mut known: Vec<Arc<CustomResource>> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let path = format!("inventory.customResources[{index}]");
        let resource = checker.custom_resource(&path, raw);
        let is_known =
            |it: &Arc<CustomResource>| (&it.group, &it.kind) == (&resource.group, &resource.kind);
        if let Some(first) = known.iter().position(is_known) {
            let message = format!(
                "{} of this group is already inventory.customResources[{first}]; one entry takes all \
                 of its paths, in one version",
                quoted(&resource.kind)
            );
            checker.report.add(&format!("{path}.kind"), message);
        }
        known.push(Arc::new(resource));
    }
    known
}

impl Checker<'_, '_> {
    fn custom_resource(&mut self, path: &str, raw: raw::CustomResource) -> CustomResource {
        let (group, version) = self.api_version(path, &raw.api_version.unwrap_or_default());
        let kind = raw.kind.unwrap_or_default();
        let is_word = kind.bytes().all(|b| b.is_ascii_alphanumeric());
        if kind.is_empty() || kind.len() > 63 || !is_word {
            let message = format!(
                "{} is not a kind: expected letters and digits, as Rollout",
                quoted(&kind)
            );
            self.report.add(&format!("{path}.kind"), message);
        }
        let has = |key: &str| self.report.has(&format!("{path}.{key}"));
        let lacks_images = raw.images.is_none() && !has("images");
        if lacks_images && raw.pod_template.is_none() && !has("podTemplate") {
            let message = "where it names images is missing; add `podTemplate: .spec.template` or \
                           `images: [.spec.image]`";
            self.report.add(path, message);
        }
        if lacks_images && raw.pull_secrets.is_some() {
            let message = "it is for `images`, which are not written; a pod template has its own";
            self.report.add(&format!("{path}.pullSecrets"), message);
        }
        let template = format!("{path}.podTemplate");
        let pod_template = raw
            .pod_template
            .and_then(|text| self.field_path(&template, &text));
        CustomResource {
            group,
            version,
            kind,
            pod_template,
            images: self.field_paths(&format!("{path}.images"), raw.images),
            pull_secrets: self.field_paths(&format!("{path}.pullSecrets"), raw.pull_secrets),
            may_be_empty: raw.may_be_empty.unwrap_or(false),
        }
    }

    /// Both become part of a path on the API server.
    fn api_version(&mut self, path: &str, text: &str) -> (String, String) {
        let path = format!("{path}.apiVersion");
        let is_label = |label: &str| {
            let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            label.bytes().next().is_some_and(is_word)
                && label.bytes().last().is_some_and(is_word)
                && label.bytes().all(|b| is_word(b) || b == b'-')
        };
        let (group, version) = text.split_once('/').unwrap_or_default();
        if text == "v1" || matches!(group, "apps" | "batch") {
            let message = format!(
                "{} is Kubernetes' own: its kinds are read anyway; take the entry out",
                quoted(text)
            );
            self.report.add(&path, message);
        } else if group.len() > 253 || !group.split('.').all(is_label) || !is_label(version) {
            let message = format!(
                "{} is not an API version: expected group/version, as argoproj.io/v1alpha1",
                quoted(text)
            );
            self.report.add(&path, message);
        }
        (group.to_owned(), version.to_owned())
    }

    fn field_paths(&mut self, path: &str, texts: Option<Vec<String>>) -> Vec<FieldPath> {
        let count = texts.as_ref().map_or(0, Vec::len);
        if count > PATHS_MAX {
            let message = format!("it has {count} paths; an entry takes at most {PATHS_MAX}");
            self.report.add(path, message);
        }
        if texts.as_ref().is_some_and(Vec::is_empty) {
            self.report
                .add(path, "it is empty; write paths, or leave it out");
        }
        let mut paths = Vec::new();
        for (index, text) in texts.into_iter().flatten().enumerate() {
            paths.extend(self.field_path(&format!("{path}[{index}]"), &text));
        }
        paths
    }

    fn field_path(&mut self, path: &str, text: &str) -> Option<FieldPath> {
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(invalid) => {
                let invalid: crate::inventory::extract::InvalidPath = invalid;
                let message = format!("{} is not a path: {invalid}", quoted(text));
                self.report.add(path, message);
                None
            }
        }
    }
}
