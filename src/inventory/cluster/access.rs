//! How a cluster is reached: the service account in a pod, or a kubeconfig.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::api::told;
use super::kinds::is_namespace_name;
use super::{Access, ClusterOptions};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a cluster's client cannot be made, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cluster source {source_name}: {place}: {problem}; {way_out}")]
pub struct ConnectError {
    pub source_name: String,
    pub place: String,
    pub problem: String,
    pub way_out: String,
}

/// A client for the cluster. It does not talk to the cluster yet, but may run the kubeconfig's
/// credential plugin.
pub(super) async fn client(options: &ClusterOptions) -> Result<Client, ConnectError> {
    let error = |problem: &dyn fmt::Display, way_out: &str| ConnectError {
        source_name: options.source_name.clone(),
        place: options.access.to_string(),
        problem: told(&problem.to_string()),
        way_out: way_out.to_owned(),
    };
    if let Some(namespace) = options
        .namespaces
        .iter()
        .find(|namespace| !is_namespace_name(namespace))
    {
        let problem = format!("`{namespace}` is not the name of a namespace");
        return Err(error(
            &problem,
            "give names of lower-case letters, digits and dashes",
        ));
    }
    reach(&options.access, &options.source_name).await
}

/// The same for whoever is no source: `what` needs it.
pub async fn reach(access: &Access, what: &str) -> Result<Client, ConnectError> {
    let error = |problem: &dyn fmt::Display, way_out: &str| ConnectError {
        source_name: what.to_owned(),
        place: access.to_string(),
        problem: told(&problem.to_string()),
        way_out: way_out.to_owned(),
    };
    let mut config = match access {
        Access::Infer => Config::infer().await.map_err(|problem| {
            error(&problem, "set KUBECONFIG, name a context, or run in a pod")
        })?,
        Access::InCluster => Config::incluster().map_err(|problem| {
            error(
                &problem,
                "run in a pod whose service account's token is mounted, or name a kubeconfig",
            )
        })?,
        Access::Kubeconfig { file, context } => {
            let kubeconfig = match file {
                Some(file) => Kubeconfig::read_from(file),
                None => Kubeconfig::read(),
            };
            let kubeconfig = kubeconfig.map_err(|problem| {
                error(
                    &problem,
                    "name a kubeconfig that can be read, or set KUBECONFIG",
                )
            })?;
            let contexts = contexts(&kubeconfig);
            let kubeconfig_options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            Config::from_custom_kubeconfig(kubeconfig, &kubeconfig_options)
                .await
                .map_err(|problem| error(&problem, &contexts))?
        }
    };
    // kube would repeat a refused request fifteen times, up to a quarter of an hour apart, before
    // anybody learnt that the cluster does not answer. We pace ourselves.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // A credential plugin is run to its end by the constructor, so not on this thread.
    let made = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
    let way_out = "see that its credentials and certificates are in order";
    match made {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(problem)) => Err(error(&problem, way_out)),
        Err(problem) => Err(error(&problem, way_out)),
    }
}

fn contexts(kubeconfig: &Kubeconfig) -> String {
    let names: Vec<&str> = kubeconfig
        .contexts
        .iter()
        .map(|context| context.name.as_str())
        .collect();
    if names.is_empty() {
        "add a context to it, since it has none".to_owned()
    } else {
        format!("its contexts are: {}", names.join(", "))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file_text = |file: &Option<PathBuf>| match file {
            Some(file) => format!("kubeconfig {}", file.display()),
            None => "the current kubeconfig".to_owned(),
        };
        match self {
            Self::Infer => {
                formatter.write_str("the current kubeconfig, or the pod's service account")
            }
            Self::InCluster => formatter.write_str("the pod's service account"),
            Self::Kubeconfig {
                file,
                context: Some(context),
            } => write!(formatter, "context `{context}` of {}", file_text(file)),
            Self::Kubeconfig {
                file,
                context: None,
            } => write!(formatter, "the current context of {}", file_text(file)),
        }
    }
}
