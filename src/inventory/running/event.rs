//! What kubelets tell by events (core/v1): that they pulled an image, or why they did not.
//!
//! Events are many and most say nothing of images. What is kept is the last word of each container, and
//! of successes only those that contradict what we say. Times are the kubelet's.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::refusal::{self, Blame, Reason, Refusal};
use crate::inventory::extract::{Interner, Metadata, nullable};
use crate::second::Second;

/// An event, as far as it is about the image of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventObject {
    #[serde(deserialize_with = "nullable")]
    pub metadata: Metadata,
    #[serde(deserialize_with = "nullable")]
    involved_object: Involved,
    #[serde(deserialize_with = "nullable")]
    reason: String,
    #[serde(deserialize_with = "nullable")]
    message: String,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    series: Option<Series>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Involved {
    #[serde(deserialize_with = "nullable")]
    kind: String,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    field_path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Series {
    last_observed_time: Option<Timestamp>,
}

/// The last word of a kubelet on a container's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub pod: Arc<str>,
    pub container: Arc<str>,
    pub what: Pull,
    pub at: Second,
    /// The event's own name: when it goes, so does what it said.
    pub event: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pull {
    /// This image, as it is written in the Pod.
    Done(Arc<str>),
    Failed(Refusal),
}

impl EventObject {
    /// What it says; `None` for all that is not about an image or says nothing. `now` is when it came, for
    /// one without a time.
    pub fn word(&self, now: Timestamp, interner: &mut Interner) -> Option<Word> {
        if self.involved_object.kind != "Pod" {
            return None;
        }
        let what = match self.reason.as_str() {
            "Pulled" => {
                // "Container image … already present on machine" has the same reason, and pulled nothing.
                let (image, _) = quoted(&self.message, "Successfully pulled image ")?;
                Pull::Done(interner.text(image))
            }
            "Failed" => {
                let (_, why) = quoted(&self.message, "Failed to pull image ")?;
                let message = refusal::told(why.trim_start_matches([':', ' ']));
                Pull::Failed(Refusal {
                    reason: Reason::ErrImagePull,
                    message: interner.text(&message),
                })
            }
            "BackOff" => {
                quoted(&self.message, "Back-off pulling image ")?;
                let refusal = Refusal {
                    reason: Reason::ImagePullBackOff,
                    message: interner.text(&refusal::told(&self.message)),
                };
                // Most only repeat that there was a failure.
                (refusal.blame() != Blame::Untold).then_some(Pull::Failed(refusal))?
            }
            _ => return None,
        };
        let (_, container) = self.involved_object.field_path.split_once('{')?;
        let series = self.series.as_ref();
        let at = series
            .and_then(|series| series.last_observed_time)
            .or(self.last_timestamp)
            .or(self.event_time);
        Some(Word {
            pod: interner.text(&self.involved_object.name),
            container: interner.text(container.strip_suffix('}')?),
            what,
            // A clock that goes ahead makes nothing newer than it is.
            at: at.unwrap_or(now).min(now).into(),
            event: interner.text(&self.metadata.name),
        })
    }
}

/// The text in quotes behind these words, and the rest.
fn quoted<'a>(message: &'a str, words: &str) -> Option<(&'a str, &'a str)> {
    let rest = message.strip_prefix(words)?.strip_prefix('"')?;
    rest.split_once('"')
}

/// The words on the containers of Pods, by namespace and Pod.
#[derive(Debug, Default)]
pub struct Words<'a>(HashMap<(&'a str, &'a str), Vec<&'a Word>>);

impl<'a> Words<'a> {
    pub fn add(&mut self, namespace: &'a str, word: &'a Word) {
        let place = (namespace, &*word.pod);
        self.0.entry(place).or_default().push(word);
    }

    /// What was said of a Pod.
    pub fn of<'b>(&'b self, namespace: &'b str, pod: &'b str) -> &'b [&'a Word] {
        if self.0.is_empty() {
            return &[];
        }
        self.0.get(&(namespace, pod)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_about_a_pull_is_a_word() {
        let now: Timestamp = "2026-08-01T12:00:00Z".parse().unwrap();
        let mut interner = Interner::default();
        let mut word = |kind: &str, reason: &str, message: &str, path: &str| {
            let event: EventObject = serde_json::from_value(json!({
                "metadata": {"name": "web.1", "namespace": "shop"}, "reason": reason,
                "message": message, "lastTimestamp": "2026-08-01T11:00:00Z", "eventTime": null,
                "involvedObject": {"kind": kind, "name": "web", "fieldPath": path}}))
            .unwrap();
            event.word(now, &mut interner)
        };
        let app = "spec.containers{app}";
        let pulled = "Successfully pulled image \"app:1\" in 1.2s (1.2s including waiting)";
        let word_of_app = word("Pod", "Pulled", pulled, app).unwrap();
        assert_eq!((&*word_of_app.pod, &*word_of_app.container), ("web", "app"));
        assert_eq!(word_of_app.what, Pull::Done("app:1".into()));
        assert_eq!(word_of_app.at.to_string(), "2026-08-01T11:00:00Z");
        let init = word("Pod", "Pulled", pulled, "spec.initContainers{setup}");
        assert_eq!(&*init.unwrap().container, "setup");
        for (reason, message, expected) in [
            (
                "Failed",
                "Failed to pull image \"app:1\": rpc error: not found",
                "rpc error: not found",
            ),
            (
                "BackOff",
                "Back-off pulling image \"app:1\": ErrImagePull: 404 Not Found",
                "Back-off pulling image \"app:1\": ErrImagePull: 404 Not Found",
            ),
        ] {
            match word("Pod", reason, message, app).unwrap().what {
                Pull::Failed(refusal) => assert_eq!(&*refusal.message, expected),
                Pull::Done(image) => panic!("{image}"),
            }
        }
        for (kind, reason, message, path) in [
            ("Node", "Pulled", pulled, app),
            ("Pod", "Pulling", "Pulling image \"app:1\"", app),
            (
                "Pod",
                "Pulled",
                "Container image \"app:1\" already present on machine",
                app,
            ),
            ("Pod", "Failed", "Error: ErrImagePull", app),
            ("Pod", "Failed", "Failed to pull image", app),
            ("Pod", "BackOff", "Back-off pulling image \"app:1\"", app),
            (
                "Pod",
                "BackOff",
                "Back-off restarting failed container app",
                app,
            ),
            ("Pod", "Pulled", pulled, ""),
            ("Pod", "Pulled", pulled, "spec.containers{app"),
        ] {
            assert_eq!(
                word(kind, reason, message, path),
                None,
                "{reason} {message}"
            );
        }
        let ahead: EventObject =
            serde_json::from_value(json!({"reason": "Pulled", "message": pulled,
            "series": {"count": 2, "lastObservedTime": "2027-01-01T00:00:00.000000Z"},
            "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": app}}))
            .unwrap();
        assert_eq!(
            ahead.word(now, &mut interner).unwrap().at,
            Second::from(now)
        );
    }
}
