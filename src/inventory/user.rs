//! Who uses an image, as people look for it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Class;
use crate::second::Second;

/// One container of one workload. It reads like its [`TopOwner`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct User {
    #[serde(flatten)]
    pub owner: Arc<TopOwner>,
    pub container: Arc<str>,
    /// The image as it is written there, possibly malformed.
    pub image: Arc<str>,
    pub class: Class,
    /// What named it where that is not the workload itself.
    #[serde(default)]
    pub via: Option<Via>,
    /// Since when it names this image, as far as objects tell: when its oldest `ReplicaSet` or
    /// `ControllerRevision` with the image was made, or else the object itself. Of what is remembered,
    /// when it was last named.
    #[serde(default)]
    pub since: Option<Second>,
    /// Why nothing of it runs now, where that is meant.
    #[serde(default)]
    pub idle: Option<Idle>,
}

/// Why a workload has no Pods, although nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    ScaledToZero,
    /// A Job, or a `CronJob`.
    Suspended,
    /// A Job that has completed or failed, or a Pod that has ended.
    Done,
}

impl fmt::Display for Idle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ScaledToZero => "scaled to zero",
            Self::Suspended => "suspended",
            Self::Done => "done",
        })
    }
}

/// What is the same for all containers of a workload, and for all lines of a list.
///
/// A Pod of a Deployment is the Deployment's.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopOwner {
    /// `None` where clusters are not named.
    pub cluster: Option<Arc<str>>,
    /// Empty for a list.
    pub namespace: Arc<str>,
    /// As Kubernetes writes it (`Deployment`), or `List`.
    pub kind: Arc<str>,
    pub name: Arc<str>,
}

// A list of 100,000 references has as many.
const _: () = assert!(size_of::<User>() <= 72);

/// The kind under which references given on the command line are users of their images.
pub const ARGUMENT: &str = "Argument";

impl User {
    /// Whether it is nobody's workload but what an operator typed.
    pub fn is_argument(&self) -> bool {
        &*self.kind == ARGUMENT
    }
}

impl Deref for User {
    type Target = TopOwner;

    fn deref(&self) -> &TopOwner {
        &self.owner
    }
}

/// The place that named an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// Of a list, from 1.
    Line(u32),
    /// `ReplicaSet/web-6f7c`
    Object(Arc<str>),
}

const LINE: &str = "line ";

impl fmt::Display for Via {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(formatter, "{LINE}{number}"),
            Self::Object(object) => formatter.write_str(object),
        }
    }
}

impl From<&str> for Via {
    fn from(text: &str) -> Self {
        let number = text.strip_prefix(LINE).and_then(|line| line.parse().ok());
        number.map_or_else(|| Self::Object(text.into()), Self::Line)
    }
}

impl Serialize for Via {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Via {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(text.as_str().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_written_flat_and_read_back_the_same() {
        for (via, written) in [
            (None, serde_json::Value::Null),
            (Some(Via::Line(12)), "line 12".into()),
            (
                Some("ReplicaSet/web-6f7c".into()),
                "ReplicaSet/web-6f7c".into(),
            ),
        ] {
            let user = User {
                owner: Arc::new(TopOwner {
                    cluster: Some("prod".into()),
                    namespace: "shop".into(),
                    kind: "Deployment".into(),
                    name: "web".into(),
                }),
                container: "app".into(),
                image: "app:1".into(),
                class: Class::Rollback,
                via,
                since: Some(Second::new(1_600_000_000)),
                idle: Some(Idle::ScaledToZero),
            };
            let json = serde_json::json!({"cluster": "prod", "namespace": "shop",
                "kind": "Deployment", "name": "web", "container": "app", "image": "app:1",
                "class": "rollback", "via": written, "since": "2020-09-13T12:26:40Z",
                "idle": "scaled_to_zero"});
            assert_eq!(serde_json::to_value(&user).unwrap(), json);
            assert_eq!(serde_json::from_value::<User>(json).unwrap(), user);
        }
    }

    #[test]
    fn lines_are_in_order_of_their_numbers() {
        assert!(Via::from("line 9") < Via::from("line 10"));
        assert_eq!(Via::from("line x"), Via::Object("line x".into()));
    }
}
