//! A server of our own beside a test: a router on loopback, gone when its value is dropped.
//!
//! It runs on a thread and a runtime of its own, so that it answers while the test blocks, and so
//! that one server can serve tests that each have a runtime.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use axum::Router;
use tokio::sync::oneshot;

#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(router: Router) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a port");
        listener
            .set_nonblocking(true)
            .expect("a socket can be set so");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime starts");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("not blocking");
                // Connections that are still open end with the runtime: a client that keeps one
                // alive must not hold up the end of a test.
                tokio::select! {
                    outcome = axum::serve(listener, router) => outcome.expect("serving never ends"),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Dropping the sender wakes the receiver.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in a handler was printed by its own thread.
            thread.join().ok();
        }
    }
}
