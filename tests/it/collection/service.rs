//! Replicas that the EndpointSlices of a Service name, on a real API server. That refuses loopback addresses, so
//! each is reached by an address of this machine, which leads to a registry on loopback.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::contested::looker;
use super::desk::Desk;
use crate::storage::between::{Between, Fault};
use crate::support::cluster::Cluster;
use crate::support::http::client;
use crate::support::parts::require_cluster;
use crate::support::registry::{Options, Registry, Version};

/// What this machine is reached by. Nothing is sent to find out.
fn own_address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    let own = socket.local_addr().ok()?;
    (!own.ip().is_loopback()).then_some(own)
}

/// Leads from an address that is no loopback to one that is.
struct Door {
    address: SocketAddr,
    /// It ends with this.
    _task: JoinSet<()>,
}

impl Door {
    async fn to(host: String) -> Self {
        let own = own_address().expect("this machine has an address").ip();
        let listener = TcpListener::bind((own, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let host = host.clone();
                open.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(host).await {
                        tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
                    }
                });
            }
        });
        Self {
            address,
            _task: task,
        }
    }

    /// An `EndpointSlice` with it alone.
    fn slice(&self, namespace: &str, name: &str, is_ready: bool) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": "registry"},
            },
            "ports": [
                {"name": "http", "port": self.address.port()},
                {"name": "debug", "port": 5001},
            ],
            "endpoints": [{
                "addresses": [self.address.ip()],
                "conditions": {"ready": is_ready, "serving": is_ready, "terminating": false},
            }],
        })
    }
}

struct Scene {
    cluster: &'static Cluster,
    namespace: String,
    desk: Desk,
    /// One with a cache, over the same storage.
    other: Registry,
}

impl Scene {
    async fn start() -> Self {
        let cluster = Cluster::shared().await;
        let namespace = cluster.new_namespace().await;
        let desk = Desk::start(Version::V3).await;
        let options = Options::new(Version::V3, desk.root()).with_deletes();
        let other = Registry::start(options.with_descriptor_cache()).await;
        desk.configure("quarantine", r#""settle": {"cache": "unknown"}"#);
        let service = json!({"namespace": namespace, "name": "registry"});
        desk.change(|it| it["registries"][0]["service"] = service);
        let scene = Self {
            cluster,
            namespace,
            desk,
            other,
        };
        // The other one believes in what goes.
        let layer = scene.desk.tree.find("untagged.layer-1").digest;
        let url = format!("{}/v2/app/blobs/{layer}", scene.other.url());
        assert_eq!(
            client().head(url).send().await.unwrap().status().as_u16(),
            200
        );
        scene
    }

    async fn apply(&self, slice: &Value) {
        self.cluster.apply_yaml(&slice.to_string()).await;
    }

    fn has_layer(&self) -> bool {
        let layer = self.desk.tree.find("untagged.layer-1");
        self.desk.tree.layer_of("app", &layer).exists()
    }
}

#[tokio::test]
async fn every_endpoint_of_the_service_is_asked_whether_it_is_ready_or_not() {
    require_cluster!("registry-3.1");
    let scene = Scene::start().await;
    let desk = &scene.desk;
    let unknown = async |why: &str| {
        let ran = desk.gc(&["run"]).await;
        assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
        assert_eq!(ran.codes(), ["replicas_unknown"], "{ran:?}");
        let message = ran.view["refusals"][0]["message"].as_str().unwrap();
        assert!(message.contains(why), "{why}: {ran:?}");
        assert!(desk.held().is_empty());
    };
    desk.use_cluster(&scene.cluster.new_identity().kubeconfig);
    unknown("endpointslices.discovery.k8s.io is forbidden").await;
    let looker = looker(scene.cluster, &scene.namespace).await;
    desk.use_cluster(&looker.kubeconfig);
    unknown("it has no endpoint; see to that, or name the replicas under `replicaEndpoints`").await;

    let doors = [
        Door::to(desk.registry.host()).await,
        Door::to(scene.other.host()).await,
    ];
    scene
        .apply(&doors[0].slice(&scene.namespace, "one", true))
        .await;
    scene
        .apply(&doors[1].slice(&scene.namespace, "two", false))
        .await;
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr.contains("may still answer for what was taken"),
        "{ran:?}"
    );
    assert!(scene.has_layer() && !desk.held().is_empty());
    // One that is gone believes in nothing.
    scene
        .cluster
        .kubectl(&["delete", "endpointslice", "two", "-n", &scene.namespace])
        .await;
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stderr.contains("may still answer"), "{ran:?}");
    assert!(!scene.has_layer(), "{ran:?}");
    // Each of them has to say that it takes no pushes.
    desk.gc(&["restore", "--all"]).await;
    desk.change(|it| it["gc"]["readOnly"] = json!({"mode": "required"}));
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.codes(), ["registry_writable"], "{ran:?}");
    let address = doors[0].address.to_string();
    assert!(
        ran.view["refusals"].to_string().contains(&address),
        "{ran:?}"
    );
    // A port that might be any.
    let mut slice = doors[0].slice(&scene.namespace, "one", true);
    slice["ports"][0]["name"] = json!("a");
    desk.change(|it| it["gc"]["readOnly"] = json!({"mode": "notRequired"}));
    scene.apply(&slice).await;
    unknown("(a, debug): name it `http`").await;
}

#[tokio::test]
async fn one_that_comes_while_another_is_asked_is_asked_too() {
    require_cluster!("registry-3.1");
    let scene = Scene::start().await;
    let desk = &scene.desk;
    desk.use_cluster(&looker(scene.cluster, &scene.namespace).await.kubeconfig);
    let other = Door::to(scene.other.host()).await;
    let slice = other.slice(&scene.namespace, "two", true);
    let cluster = scene.cluster;
    // It is asked once after the batch, and once more when all has settled: then it is the last time.
    let came = Arc::new(AtomicBool::new(false));
    let comes = {
        let came = Arc::clone(&came);
        move || {
            let (slice, came) = (slice.to_string(), Arc::clone(&came));
            async move {
                cluster.apply_yaml(&slice).await;
                came.store(true, Ordering::Relaxed);
            }
            .boxed()
        }
    };
    let between = Between::start(&desk.registry.host());
    let path = format!(
        "/v2/app/blobs/{}",
        desk.tree.find("untagged.layer-1").digest
    );
    let is_it = move |method: &str, asked: &str| method == "HEAD" && asked == path;
    between.when(1..2, Fault::Meanwhile(Arc::new(comes)), is_it);
    let one = Door::to(format!("127.0.0.1:{}", between.port())).await;
    scene.apply(&one.slice(&scene.namespace, "one", true)).await;
    let ran = desk.gc(&["run"]).await;
    assert!(came.load(Ordering::Relaxed));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr.contains("may still answer for what was taken"),
        "{ran:?}"
    );
    assert!(scene.has_layer());
}
