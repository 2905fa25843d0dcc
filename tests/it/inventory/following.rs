//! A cluster that is followed in the test's own process, with watches that are short.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::PodTemplate;
use kube::Api;
use kube::api::PostParams;
use pullproof::clock::SystemClock;
use pullproof::inventory::cluster::{self, Access, Beyond, ClusterOptions, Times};
use pullproof::inventory::{Class, SourceState};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::cluster::Cluster;
use crate::support::http::install_crypto_provider;
use crate::support::wait::wait_until;

/// How long anything may take. Two cores may be busy elsewhere.
const BOUND: Duration = Duration::from_secs(60);

/// What a test about a cluster needs, apart from a registry.
macro_rules! require_cluster {
    () => {
        crate::support::parts::require!(
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kubectl",
            "openssl"
        );
    };
}
pub(crate) use require_cluster;

pub(crate) struct Following {
    states: watch::Receiver<Arc<SourceState>>,
    _task: JoinSet<()>,
}

impl Following {
    pub(crate) async fn start(kubeconfig: PathBuf, namespaces: &[&str], times: Times) -> Self {
        let source = cluster::connect(&options(kubeconfig, namespaces))
            .await
            .expect("a kubeconfig of ours");
        let source = source.with_times(times);
        let (publish, states) = watch::channel(Arc::new(SourceState::unread("prod")));
        let mut task = JoinSet::new();
        task.spawn(source.run(publish, Arc::new(SystemClock), std::future::pending::<()>()));
        Self {
            states,
            _task: task,
        }
    }

    pub(crate) fn now(&self) -> Arc<SourceState> {
        Arc::clone(&self.states.borrow())
    }

    pub(crate) async fn until(
        &self,
        what: &str,
        claim: impl Fn(&SourceState) -> bool,
    ) -> Arc<SourceState> {
        let probe = async || Some(self.now()).filter(|state| claim(state));
        // The state says why.
        let waited = crate::support::wait::try_until(BOUND, probe).await;
        waited.unwrap_or_else(|()| {
            let state = self.now();
            let (incomplete, images) = (&state.incomplete, images(&state));
            panic!("in vain until {what}; incomplete {incomplete:?}, images {images:?}")
        })
    }

    pub(crate) async fn until_complete(&self) -> Arc<SourceState> {
        self.until("it is complete", |state| state.incomplete.is_none())
            .await
    }

    /// Until the source is incomplete for a reason with all these texts.
    pub(crate) async fn until_incomplete(&self, texts: &[&str]) -> Arc<SourceState> {
        let what = format!("it is incomplete for {texts:?}");
        self.until(&what, |state| {
            let reason = state.incomplete.as_deref();
            reason.is_some_and(|reason| texts.iter().all(|text| reason.contains(text)))
        })
        .await
    }

    /// Until these are the images, whether complete or not.
    pub(crate) async fn until_images(&self, expected: &[&str]) -> Arc<SourceState> {
        self.until(&format!("the images are {expected:?}"), |state| {
            images(state) == expected
        })
        .await
    }
}

pub(crate) fn options(kubeconfig: PathBuf, namespaces: &[&str]) -> ClusterOptions {
    install_crypto_provider();
    ClusterOptions {
        name: Some("prod".to_owned()),
        source_name: "prod".to_owned(),
        access: Access::Kubeconfig {
            file: Some(kubeconfig),
            context: None,
        },
        class: Class::Runtime,
        namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
        beyond: Beyond::default(),
        labels: [].into(),
    }
}

/// Watches whose ends come within a test; but the API server sends a bookmark two seconds before, and
/// none where there is less time.
pub(crate) fn short() -> Times {
    Times {
        watch_seconds: 4..=5,
        stall_margin: Duration::from_secs(1),
    }
}

/// As they are written, sorted, each once.
pub(crate) fn images(state: &SourceState) -> Vec<String> {
    let images = state.uses.iter().map(|it| it.user.image.to_string());
    let mut images: Vec<String> = images.collect();
    images.sort();
    images.dedup();
    images
}

/// Makes `PodTemplate`s: they are objects with an image that no controller does anything with.
pub(crate) async fn make_templates(cluster: &Cluster, namespace: &str, names: &[String]) {
    let api: Api<PodTemplate> = Api::namespaced(cluster.client(&cluster.admin()).await, namespace);
    let made = stream::iter(names).map(|name| {
        let api = api.clone();
        async move {
            let template = json!({"metadata": {"name": name}, "template": {"spec": {
                "containers": [{"name": "app", "image": image(name)}]}}});
            let template = serde_json::from_value(template).expect("a template");
            let made = api.create(&PostParams::default(), &template).await;
            made.expect("the API server takes it");
        }
    });
    made.buffer_unordered(32).collect::<()>().await;
}

/// Of a template.
pub(crate) fn image(name: &str) -> String {
    format!("registry.example/{name}:1")
}

/// `PREFIX-0000` and so on.
pub(crate) fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}-{number:04}"))
        .collect()
}

/// Waits for something that is no state.
pub(crate) async fn until(what: &str, claim: impl Fn() -> bool) {
    wait_until(what, BOUND, async || claim().then_some(())).await;
}
