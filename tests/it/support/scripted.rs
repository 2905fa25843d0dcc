//! A registry whose faults are data: a small OCI registry in memory, over real sockets, that answers
//! honestly until a rule says otherwise.
//!
//! A [`Script`] is what it holds, whom it lets in and what goes wrong where ([`fault::Rule`]). It
//! speaks raw TCP, since the servers that libraries make cannot misbehave enough. Every request is
//! recorded, with the connection that it came on.
//!
//! Where the client is given its address as a proxy, it plays every host of the world at once: the
//! registry, the storage that it redirects to and the token server, each by its name.

pub(crate) mod answer;
pub(crate) mod fault;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use fault::Rule;
use store::Store;
use tokens::Access;

/// The registry's name in references, and its host where the client goes through a proxy.
pub(crate) const REGISTRY: &str = "registry.example";
/// The storage that it may redirect to: any object, by `/HEX`, to anybody.
pub(crate) const STORAGE: &str = "storage.example";
/// A token server on another host.
pub(crate) const AUTH: &str = "auth.example";

/// What the registry holds, whom it lets in, and what goes wrong.
#[derive(Debug, Default, Clone)]
pub(crate) struct Script {
    pub(crate) store: Store,
    pub(crate) access: Access,
    pub(crate) rules: Vec<Rule>,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Connections are counted from 1.
    pub(crate) connection: usize,
    pub(crate) host: String,
    pub(crate) method: String,
    /// Without its query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn is(&self, method: &str, part_of_path: &str) -> bool {
        self.method == method && self.path.contains(part_of_path)
    }
}

/// What a connection needs to answer.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) seen: Vec<Seen>,
    pub(crate) connections: usize,
    pub(crate) tokens: tokens::Issued,
}

pub(crate) type Shared = Arc<Mutex<World>>;

/// The running registry; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Scripted {
    address: SocketAddr,
    world: Shared,
    _task: JoinSet<()>,
}

impl Scripted {
    pub(crate) async fn start(script: Script) -> Self {
        Self::start_at("127.0.0.1:0", script, None).await
    }

    pub(crate) async fn start_at(
        address: &str,
        script: Script,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound");
        let world: Shared = Arc::new(Mutex::new(World {
            script,
            ..World::default()
        }));
        let mut task = JoinSet::new();
        task.spawn(server::accept(listener, Arc::clone(&world), tls));
        Self {
            address,
            world,
            _task: task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it holds and what goes wrong from now on.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.world.lock().expect("no handler panics").script);
    }

    /// How many of the requests since then are so.
    pub(crate) fn count_seen(&self, is_so: impl Fn(&Seen) -> bool) -> usize {
        let world = self.world.lock().expect("no handler panics");
        world.seen.iter().filter(|seen| is_so(seen)).count()
    }

    /// What was asked since this was last called, in the order of arrival.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.world.lock().expect("no handler panics").seen)
    }
}
