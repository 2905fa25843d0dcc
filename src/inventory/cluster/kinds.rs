//! Which resources of a cluster are read, and where they are found.

/// One resource of the API, in a namespace or in all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub name: &'static str,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    pub content: Content,
    /// In which turn it is listed when all are listed once. An image moves from owner to child (a
    /// `Job` outlives its `CronJob`), so owners go first: whatever moves meanwhile is seen again.
    pub turn: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Workload,
    /// Service accounts may be forbidden: then pull secrets are unknown, the images are not.
    Account,
    /// Nodes may be forbidden: then every platform is needed.
    Node,
}

pub(super) const TURNS: usize = 3;

pub(super) static KINDS: [Kind; 12] = [
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
    Kind {
        name: "ServiceAccount",
        group: "",
        version: "v1",
        plural: "serviceaccounts",
        content: Content::Account,
        turn: 0,
    },
    Kind {
        name: "Node",
        group: "",
        version: "v1",
        plural: "nodes",
        content: Content::Node,
        turn: 0,
    },
];

const fn workload(
    name: &'static str,
    group: &'static str,
    plural: &'static str,
    turn: usize,
) -> Kind {
    Kind {
        name,
        group,
        version: "v1",
        plural,
        content: Content::Workload,
        turn,
    }
}

impl Kind {
    /// As the API server's messages write it: `cronjobs.batch`.
    pub(super) fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `namespace` has been checked to be a name, or the path could lead anywhere.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        debug_assert!(namespace.is_none_or(is_namespace_name));
        let Self {
            group,
            version,
            plural,
            ..
        } = self;
        let api = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        match namespace {
            Some(namespace) => format!("{api}/namespaces/{namespace}/{plural}"),
            None => format!("{api}/{plural}"),
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
