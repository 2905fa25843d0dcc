//! Strings that name an image of a listed registry where Kubernetes expects none: in a `ConfigMap`, in
//! the environment and the arguments of a container, in a custom resource.
//!
//! An operator that is told by an environment variable which image to start names it nowhere else. What
//! looks like an image is kept and never paged for: it may be a note that somebody left. Objects are
//! read as a stream, and only what was found stays.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::oci::reference::{REFERENCE_BYTES_MAX, Reference};

use super::{ContainerImage, Interner, Mentioned, PodImages, Workload};

/// What is looked for, and where in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Hosts of registries, as workloads write them.
    pub hosts: Arc<[String]>,
    pub part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything but the metadata, where annotations repeat what an object once was.
    Whole,
    /// Values of the environment, arguments and commands of containers.
    Containers,
}

/// A string that starts like an image of a listed registry, and reads like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// As `data.config.yaml`, or `containers[0].env[1].value`.
    pub place: String,
    pub image: String,
}

impl Search {
    /// The mentions in each item of a list, in its order.
    pub fn in_page(&self, content: &[u8]) -> serde_json::Result<Vec<Vec<Mention>>> {
        let mut found = Vec::new();
        let mut scan = Scan::new(self);
        let field = Field {
            name: "items",
            inner: Items {
                scan: &mut scan,
                found: &mut found,
            },
        };
        field.deserialize(&mut serde_json::Deserializer::from_slice(content))?;
        Ok(found)
    }

    /// The mentions in the object of a watch's event.
    pub fn in_event(&self, line: &[u8]) -> serde_json::Result<Vec<Mention>> {
        let mut scan = Scan::new(self);
        let field = Field {
            name: "object",
            inner: Inside(&mut scan),
        };
        field.deserialize(&mut serde_json::Deserializer::from_slice(line))?;
        Ok(scan.found)
    }
}

/// Everything in a text that starts with one of the hosts and reads like an image.
fn mentions<'text>(hosts: &[String], text: &'text str) -> Vec<&'text str> {
    let starts = hosts
        .iter()
        .filter(|host| !host.is_empty())
        .flat_map(|host| text.match_indices(host.as_str()))
        .filter(|(at, host)| {
            let before = text.get(..*at).unwrap_or_default();
            let after = text.get(at + host.len()..).unwrap_or_default();
            after.starts_with('/') && begins_there(before)
        });
    let mut found: Vec<&str> = starts
        .filter_map(|(at, host)| {
            let rest = text.get(at..)?;
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            // A sentence ends behind it, or what follows is no part of it.
            let image = rest.get(..end)?;
            let image = image.trim_end_matches(['.', ':', '/', '@', '-', '_', '+']);
            let is_one = image.len() > host.len()
                && image.len() <= REFERENCE_BYTES_MAX
                && image.parse::<Reference>().is_ok();
            is_one.then_some(image)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a string begins behind this: a longer host name ends in the same letters, and a URL of the
/// web leads to a page.
fn begins_there(before: &str) -> bool {
    match before.chars().next_back() {
        Some('/') => before.ends_with("oci://") || before.ends_with("docker://"),
        Some(c) => !is_part(c),
        None => true,
    }
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+')
}

/// Goes through one value, wherever it is.
struct Scan<'a> {
    search: &'a Search,
    place: String,
    found: Vec<Mention>,
}

impl<'a> Scan<'a> {
    fn new(search: &'a Search) -> Self {
        Self {
            search,
            place: String::new(),
            found: Vec::new(),
        }
    }

    fn text(&mut self, text: &str) {
        let images = mentions(&self.search.hosts, text);
        if images.is_empty() {
            return;
        }
        let place = match self.search.part {
            Part::Whole => Some(self.place.trim_start_matches('.')),
            Part::Containers => of_container(&self.place),
        };
        let Some(place) = place else { return };
        self.found.extend(images.into_iter().map(|image| Mention {
            place: place.to_owned(),
            image: image.to_owned(),
        }));
    }

    /// Whether the value of the key that the place ends with says nothing of its own.
    fn is_passed_over(&self) -> bool {
        matches!(
            self.place.as_str(),
            ".metadata" | ".apiVersion" | ".kind" | ".binaryData"
        )
    }
}

/// The part of a place from the list of containers on, so that a Pod's is its template's.
fn of_container(place: &str) -> Option<&str> {
    let lists = ["containers[", "initContainers[", "ephemeralContainers["];
    let begin = lists
        .iter()
        .filter_map(|list| {
            let at = place.find(&format!(".{list}"))?;
            Some(at + 1)
        })
        .min()?;
    let place = place.get(begin..)?;
    let (_, inside) = place.split_once("].")?;
    let is_value = inside.starts_with("env[") && inside.ends_with("].value");
    (is_value || inside.starts_with("args[") || inside.starts_with("command[")).then_some(place)
}

struct Inside<'scan, 'a>(&'scan mut Scan<'a>);

impl<'de> DeserializeSeed<'de> for Inside<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inside<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.text(text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let length = self.0.place.len();
        for index in 0.. {
            self.0.place.push_str(&format!("[{index}]"));
            let next = items.next_element_seed(Inside(self.0))?;
            self.0.place.truncate(length);
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let length = self.0.place.len();
        while fields.next_key_seed(Key(&mut self.0.place))?.is_some() {
            if self.0.is_passed_over() {
                fields.next_value::<IgnoredAny>()?;
            } else {
                fields.next_value_seed(Inside(self.0))?;
            }
            self.0.place.truncate(length);
        }
        Ok(())
    }
}

/// Appends a key to a place.
struct Key<'place>(&'place mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        self.0.push('.');
        self.0.push_str(key);
        Ok(())
    }
}

/// One field of a map; the others are passed over.
struct Field<T> {
    name: &'static str,
    inner: T,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Field<T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: DeserializeSeed<'de>> Visitor<'de> for Field<T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut inner = Some(self.inner);
        let mut key = String::new();
        while fields.next_key_seed(Key(&mut key))?.is_some() {
            match inner.take_if(|_| key.strip_prefix('.') == Some(self.name)) {
                Some(inner) => drop(fields.next_value_seed(inner)?),
                None => drop(fields.next_value::<IgnoredAny>()?),
            }
            key.clear();
        }
        Ok(())
    }
}

/// The items of a page, one by one.
struct Items<'scan, 'a> {
    scan: &'scan mut Scan<'a>,
    found: &'scan mut Vec<Vec<Mention>>,
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    /// Go writes an empty slice as `null`.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Inside(self.scan))?.is_some() {
            self.found.push(std::mem::take(&mut self.scan.found));
        }
        Ok(())
    }
}

impl Workload {
    /// An object that names no image but mentions some.
    pub fn of_mentions(
        kind: &str,
        namespace: &str,
        name: &str,
        mentions: &[Mention],
        interner: &mut Interner,
    ) -> Self {
        let images = PodImages {
            containers: Box::default(),
            pull_secrets: [].into(),
            service_account: interner.text("default"),
            constraint: Arc::default(),
            mentioned: None,
        };
        let workload = Self {
            kind: interner.text(kind),
            namespace: interner.text(namespace),
            name: interner.text(name),
            owner: None,
            images: Arc::new(images),
            created: None,
            idle: None,
            status: None,
            mark: None,
        };
        workload.with_mentions(mentions, interner)
    }

    #[must_use]
    pub fn with_mentions(self, mentions: &[Mention], interner: &mut Interner) -> Self {
        if mentions.is_empty() {
            return self;
        }
        let mentioned = mentions.iter().map(|mention| ContainerImage {
            container: interner.text(&mention.place),
            image: interner.text(&mention.image),
            reference: interner.reference(&mention.image),
        });
        let images = PodImages {
            mentioned: Some(Box::new(Mentioned(mentioned.collect()))),
            ..PodImages::clone(&self.images)
        };
        Self {
            images: interner.images(images),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hosts() -> Vec<String> {
        vec![
            "registry.example:5000".to_owned(),
            "registry.example".to_owned(),
        ]
    }

    fn search(part: Part) -> Search {
        Search {
            hosts: hosts().into(),
            part,
        }
    }

    fn told(mentions: &[Mention]) -> Vec<String> {
        let mentions = mentions.iter();
        mentions
            .map(|mention| format!("{} {}", mention.place, mention.image))
            .collect()
    }

    #[test]
    fn only_what_starts_with_a_listed_host_and_reads_like_an_image_counts() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = format!("registry.example/app@{digest}");
        for (text, expected) in [
            ("registry.example/app:v1", vec!["registry.example/app:v1"]),
            (
                "registry.example:5000/a/b:v1",
                vec!["registry.example:5000/a/b:v1"],
            ),
            (pinned.as_str(), vec![pinned.as_str()]),
            (
                "image: \"registry.example/app:v1\"\nother: x",
                vec!["registry.example/app:v1"],
            ),
            (
                "--image=registry.example/app:v1,--x",
                vec!["registry.example/app:v1"],
            ),
            (
                "a registry.example/b:2. Then (registry.example/a:1)",
                vec!["registry.example/a:1", "registry.example/b:2"],
            ),
            (
                "oci://registry.example/chart:1",
                vec!["registry.example/chart:1"],
            ),
            (
                "docker://registry.example/app:1",
                vec!["registry.example/app:1"],
            ),
            ("registry.example/app", vec!["registry.example/app"]),
            // A page of the web, other hosts, and what is no reference.
            ("https://registry.example/app", vec![]),
            ("my-registry.example/app:v1", vec![]),
            ("other.registry.example/app:v1", vec![]),
            ("registry.example.org/app:v1", vec![]),
            ("registry.example:5001/app:v1", vec![]),
            ("registry.example", vec![]),
            ("registry.example/", vec![]),
            ("registry.example/App:v1", vec![]),
            ("registry.example/${NAME}:v1", vec![]),
            ("docker.io/library/nginx:1", vec![]),
        ] {
            assert_eq!(mentions(&hosts(), text), expected, "{text}");
        }
        let long = format!("registry.example/{}", "a/".repeat(300));
        assert!(mentions(&hosts(), &long).is_empty());
    }

    #[test]
    fn a_page_is_searched_item_by_item_without_its_metadata() {
        let item = |data| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"annotations": {"last": "registry.example/old:1"}}})
        };
        let page = json!({"metadata": {"continue": "registry.example/x:1"}, "items": [
            item(json!({"a.yaml": "image: registry.example/a:1", "b": "x"})),
            item(json!({})),
            item(json!({"c": "registry.example/c:1 registry.example/d:1", "n": null, "l": [[], {"x": 1.5}]})),
        ]});
        let found = search(Part::Whole)
            .in_page(page.to_string().as_bytes())
            .unwrap();
        let found: Vec<Vec<String>> = found.iter().map(|mentions| told(mentions)).collect();
        assert_eq!(
            found,
            [
                vec!["data.a.yaml registry.example/a:1"],
                vec![],
                vec!["data.c registry.example/c:1", "data.c registry.example/d:1"],
            ]
        );
        assert!(
            search(Part::Whole)
                .in_page(br#"{"items":null}"#)
                .unwrap()
                .is_empty()
        );
        assert!(search(Part::Whole).in_page(b"[").is_err());
    }

    #[test]
    fn of_containers_only_environment_arguments_and_commands_count() {
        let pod = json!({"containers": [{"name": "app", "image": "registry.example/app:1",
            "env": [{"name": "registry.example/name:1", "value": "registry.example/env:1"}],
            "args": ["x", "--side=registry.example/args:1"], "command": ["registry.example/command:1"]}],
            "initContainers": [{"args": ["registry.example/init:1"]}],
            "hostname": "registry.example/odd:1"});
        let event = json!({"type": "ADDED", "object": {"metadata": {"name": "registry.example/x:1"},
            "spec": {"template": {"spec": pod}}}});
        let found = search(Part::Containers)
            .in_event(event.to_string().as_bytes())
            .unwrap();
        let mut found = told(&found);
        found.sort();
        assert_eq!(
            found,
            [
                "containers[0].args[1] registry.example/args:1",
                "containers[0].command[0] registry.example/command:1",
                "containers[0].env[0].value registry.example/env:1",
                "initContainers[0].args[0] registry.example/init:1",
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(registry\\.example|:5000|/|[a-z]|:|@|\\PC){0,12}") {
            for image in mentions(&hosts(), &text) {
                prop_assert!(text.contains(image) && image.parse::<Reference>().is_ok());
            }
        }
    }
}
