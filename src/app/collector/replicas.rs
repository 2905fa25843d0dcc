//! Where each replica of a registry is asked: as the configuration says, or as the cluster does now.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use tokio::runtime::Handle;

use super::cluster::{self, answer};
use crate::collection::replicas::{Address, addresses};
use crate::config::endpoint::{Endpoint, Scheme};
use crate::config::{Named, Registry};

/// By which Kubernetes says whose an EndpointSlice is.
const SERVICE: &str = "kubernetes.io/service-name";

/// All of them, at least one; the error says why that is not known, and what to do. It blocks.
pub(super) fn of(registry: &Registry, runtime: &Handle) -> Result<Vec<Endpoint>, String> {
    if !registry.replica_endpoints.is_empty() {
        return Ok(registry.replica_endpoints.clone());
    }
    if let Some(service) = &registry.service {
        let named = |problem: String| format!("the Service {service} (`service`): {problem}");
        return behind(service, &registry.endpoint, runtime).map_err(named);
    }
    if registry.single || registry.endpoint.is_loopback() {
        return Ok(vec![registry.endpoint.clone()]);
    }
    Err(
        "nobody said how many replicas the registry has: write `single: true`, name each under `replicaEndpoints`, or \
         name their `service`"
            .to_owned(),
    )
}

fn behind(
    service: &Named,
    as_dialled: &Endpoint,
    runtime: &Handle,
) -> Result<Vec<Endpoint>, String> {
    let client = cluster::client(runtime, "service")?;
    let api: Api<EndpointSlice> = Api::namespaced(client, &service.namespace);
    let own = ListParams::default().labels(&format!("{SERVICE}={}", service.name));
    let slices = runtime.block_on(answer(api.list(&own)));
    let slices = slices.map_err(|failure| {
        format!(
            "its EndpointSlices cannot be read: {failure}; whoever collects has to be allowed to list them, or name \
             the replicas under `replicaEndpoints`"
        )
    })?;
    let found = addresses(&slices.items, as_dialled.scheme == Scheme::Https);
    let found = found.map_err(|problem| {
        format!("{problem}; see to that, or name the replicas under `replicaEndpoints`")
    })?;
    Ok(found
        .into_iter()
        .map(|it| endpoint(it, as_dialled))
        .collect())
}

fn endpoint(address: Address, as_dialled: &Endpoint) -> Endpoint {
    let Address { ip, port, is_https } = address;
    Endpoint {
        scheme: if is_https {
            Scheme::Https
        } else {
            Scheme::Http
        },
        host: if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip
        },
        port,
        path_prefix: as_dialled.path_prefix.clone(),
    }
}
