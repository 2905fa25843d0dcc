//! Which resources of a cluster are read, and where they are found.

use std::borrow::Cow;
use std::sync::Arc;

use crate::inventory::extract::{CustomResource, Part, Releases, Search, Teller};

/// One resource of the API, in a namespace or in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub name: Cow<'static, str>,
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    /// `None` where discovery has not told it yet.
    plural: Option<Cow<'static, str>>,
    is_namespaced: bool,
    /// Whether the API server may not have it: then discovery is asked before each list.
    pub is_optional: bool,
    /// Whether another version than its own will do.
    pub takes_any_version: bool,
    pub content: Content,
    /// In which turn it is listed when all are listed once. An image moves from owner to child (a
    /// `Job` outlives its `CronJob`), so owners go first: whatever moves meanwhile is seen again.
    pub turn: usize,
    /// What is looked for in its objects besides.
    search: Option<Search>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Workload,
    /// Service accounts may be forbidden: then pull secrets are unknown, the images are not.
    Account,
    /// Nodes may be forbidden: then every platform is needed.
    Node,
    /// Namespaces may be forbidden, or not be had for a while: no image is known by them, only what people
    /// say of alerts.
    Namespace,
    Custom(Arc<CustomResource>),
    /// What may mention images, and may be forbidden.
    Mentions,
    /// An object that writes images out.
    Teller(Teller),
    /// Revisions of Helm's releases, with the custom resources that may be in them.
    Helm(Arc<[Arc<CustomResource>]>),
    /// What kubelets tell of pulls. May be forbidden, and makes nothing incomplete: it is only ever one more
    /// word.
    Event,
}

/// What is to be asked for, and how the answer is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    pub path: String,
    pub field_selector: Option<&'static str>,
    pub shape: Shape,
    pub search: Option<Search>,
}

/// How an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Through the fields that Kubernetes' own kinds name images with; nothing else is kept.
    Typed,
    /// As it is. It takes several times the room of its text.
    Free,
    /// Its metadata alone.
    Names,
    /// As a revision of a release of Helm: unpacked at once, since it holds secrets.
    Release,
    /// As an event. These are never listed: what happens from now on is all that is looked at.
    Event,
}

/// Of all events those that may be about an image; most are not even sent.
const EVENTS: &str = "involvedObject.kind=Pod,reason!=Scheduled,reason!=Pulling,reason!=Created,\
    reason!=Started,reason!=Killing,reason!=Unhealthy,reason!=FailedScheduling,reason!=FailedMount";

impl Shape {
    /// How many objects a page has; for `Typed` as many as client-go asks for.
    pub(super) fn page_objects(self) -> u32 {
        match self {
            Self::Typed | Self::Names | Self::Event => 500,
            Self::Free => 100,
            Self::Release => 20,
        }
    }

    /// Objects have at most some 1.5 MiB (etcd), so a page of few always fits.
    pub(super) fn page_bytes(self) -> u64 {
        match self {
            Self::Typed | Self::Names | Self::Release | Self::Event => 32 << 20,
            Self::Free => 8 << 20,
        }
    }
}

pub(super) const TURNS: usize = 3;

pub(super) static KINDS: [Kind; 13] = [
    workload("Deployment", "apps", "deployments", 0),
    workload("StatefulSet", "apps", "statefulsets", 0),
    workload("DaemonSet", "apps", "daemonsets", 0),
    workload("CronJob", "batch", "cronjobs", 0),
    workload("ReplicationController", "", "replicationcontrollers", 0),
    workload("PodTemplate", "", "podtemplates", 0),
    workload("ReplicaSet", "apps", "replicasets", 1),
    workload("ControllerRevision", "apps", "controllerrevisions", 1),
    workload("Job", "batch", "jobs", 1),
    workload("Pod", "", "pods", 2),
    native("ServiceAccount", "", "serviceaccounts", Content::Account, 0),
    whole_cluster("Node", "nodes", Content::Node),
    whole_cluster("Namespace", "namespaces", Content::Namespace),
];

const fn whole_cluster(name: &'static str, plural: &'static str, content: Content) -> Kind {
    Kind {
        name: Cow::Borrowed(name),
        group: Cow::Borrowed(""),
        version: Cow::Borrowed("v1"),
        plural: Some(Cow::Borrowed(plural)),
        is_namespaced: false,
        is_optional: false,
        takes_any_version: false,
        content,
        turn: 0,
        search: None,
    }
}

const fn workload(
    name: &'static str,
    group: &'static str,
    plural: &'static str,
    turn: usize,
) -> Kind {
    native(name, group, plural, Content::Workload, turn)
}

const fn native(
    name: &'static str,
    group: &'static str,
    plural: &'static str,
    content: Content,
    turn: usize,
) -> Kind {
    Kind {
        name: Cow::Borrowed(name),
        group: Cow::Borrowed(group),
        version: Cow::Borrowed("v1"),
        plural: Some(Cow::Borrowed(plural)),
        is_namespaced: true,
        is_optional: false,
        takes_any_version: false,
        content,
        turn,
        search: None,
    }
}

impl Kind {
    /// A configured custom resource. Its objects own what Kubernetes makes of them.
    pub(super) fn custom(resource: &Arc<CustomResource>) -> Self {
        Self {
            name: Cow::Owned(resource.kind.clone()),
            group: Cow::Owned(resource.group.clone()),
            version: Cow::Owned(resource.version.clone()),
            plural: None,
            is_namespaced: true,
            is_optional: true,
            takes_any_version: false,
            content: Content::Custom(Arc::clone(resource)),
            turn: 0,
            search: None,
        }
    }

    /// What keeps the history of these.
    pub(super) fn releases(releases: Releases, customs: &[Arc<CustomResource>]) -> Vec<Self> {
        let teller = |name, group, version, teller| Self {
            name: Cow::Borrowed(name),
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: None,
            is_namespaced: true,
            is_optional: true,
            takes_any_version: true,
            content: Content::Teller(teller),
            turn: 0,
            search: None,
        };
        let mut kinds = Vec::new();
        if releases.argocd {
            let group = "argoproj.io";
            kinds.push(teller(
                "Application",
                group,
                "v1alpha1",
                Teller::Application,
            ));
        }
        if releases.flux {
            let group = "image.toolkit.fluxcd.io";
            kinds.push(teller("ImagePolicy", group, "v1", Teller::ImagePolicy));
            let group = "kustomize.toolkit.fluxcd.io";
            kinds.push(teller("Kustomization", group, "v1", Teller::Kustomization));
        }
        if releases.helm {
            kinds.push(native(
                "Secret",
                "",
                "secrets",
                Content::Helm(customs.into()),
                0,
            ));
        }
        kinds
    }

    /// The kind whose objects hold text for others.
    pub(super) fn config_map() -> Self {
        native("ConfigMap", "", "configmaps", Content::Mentions, 0)
    }

    /// What kubelets tell. It is of no turn: to read once says nothing of what happens.
    pub(super) fn events() -> Self {
        native("Event", "", "events", Content::Event, TURNS)
    }

    /// The same, with its objects searched for images of these hosts.
    pub(super) fn searched(self, hosts: &Arc<[String]>) -> Self {
        let part = match self.content {
            Content::Workload => Part::Containers,
            Content::Custom(_) | Content::Mentions => Part::Whole,
            Content::Account
            | Content::Node
            | Content::Namespace
            | Content::Teller(_)
            | Content::Helm(_)
            | Content::Event => return self,
        };
        let hosts = Arc::clone(hosts);
        Self {
            search: Some(Search { hosts, part }),
            ..self
        }
    }

    /// With what discovery tells of it.
    pub(super) fn found(&self, version: String, plural: String, is_namespaced: bool) -> Self {
        Self {
            version: Cow::Owned(version),
            plural: Some(Cow::Owned(plural)),
            is_namespaced,
            ..self.clone()
        }
    }

    pub(super) fn is_namespaced(&self) -> bool {
        self.is_namespaced
    }

    /// As the API server's messages write it: `cronjobs.batch`. Before discovery by its kind.
    pub(super) fn resource(&self) -> String {
        let plural = self.plural.as_ref().unwrap_or(&self.name);
        if self.group.is_empty() {
            plural.to_string()
        } else {
            format!("{plural}.{}", self.group)
        }
    }

    /// The path of its group and version.
    pub(super) fn api(&self) -> String {
        let Self { group, version, .. } = self;
        if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        }
    }

    /// `namespace` has been checked to be a name, or the path could lead anywhere; so have the others.
    pub(super) fn address(&self, namespace: Option<&str>) -> Resource {
        debug_assert!(namespace.is_none_or(is_namespace_name));
        let api = self.api();
        let plural = self.plural.as_ref().unwrap_or(&self.name);
        Resource {
            path: match namespace.filter(|_| self.is_namespaced) {
                Some(namespace) => format!("{api}/namespaces/{namespace}/{plural}"),
                None => format!("{api}/{plural}"),
            },
            // Other secrets are not even sent.
            field_selector: match self.content {
                Content::Helm(_) => Some("type=helm.sh/release.v1"),
                Content::Event => Some(EVENTS),
                _ => None,
            },
            shape: match self.content {
                Content::Workload | Content::Account | Content::Node => Shape::Typed,
                Content::Custom(_) | Content::Teller(_) => Shape::Free,
                Content::Mentions | Content::Namespace => Shape::Names,
                Content::Helm(_) => Shape::Release,
                Content::Event => Shape::Event,
            },
            search: self.search.clone(),
        }
    }
}

/// A DNS label (RFC 1123).
pub(super) fn is_namespace_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && is_label(name)
}

/// A DNS subdomain, as the names of secrets are. The API server takes any text as the name of a pull
/// secret in a pod, and this one becomes part of a path.
pub(super) fn is_object_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    label.bytes().next().is_some_and(is_word)
        && label.bytes().last().is_some_and(is_word)
        && label.bytes().all(|byte| is_word(byte) || byte == b'-')
}
