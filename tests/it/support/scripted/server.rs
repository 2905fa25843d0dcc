//! The connections of a scripted registry.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::answer::answer;
use super::wire::{self, Stream};

/// SETTINGS, and GOAWAY with ENHANCE_YOUR_CALM for a connection on which nothing was processed.
const GO_AWAY: &[u8] = &[
    0, 0, 0, 4, 0, 0, 0, 0, 0, //
    0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11,
];

/// Answers until it is dropped, and all its connections with it.
pub(crate) async fn accept(
    listener: TcpListener,
    world: Shared,
    tls: Option<Arc<rustls::ServerConfig>>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(socket, Arc::clone(&world), acceptor.clone()));
    }
}

async fn serve(socket: TcpStream, world: Shared, acceptor: Option<TlsAcceptor>) {
    socket.set_nodelay(true).ok();
    let connection = {
        let mut world = world.lock().expect("no handler panics");
        world.connections += 1;
        world.connections
    };
    let mut stream = match acceptor {
        None => Stream::Plain(socket),
        Some(acceptor) => match acceptor.accept(socket).await {
            Ok(mut tls) => {
                // Nobody here speaks HTTP/2 but to say goodbye.
                if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                    tls.write_all(GO_AWAY).await.ok();
                    tls.shutdown().await.ok();
                    return;
                }
                Stream::Tls(Box::new(tls))
            }
            Err(_the_client_did_not_like_it) => return,
        },
    };
    while let Some(seen) = wire::read(&mut stream, connection).await {
        let is_head = seen.method == "HEAD";
        let reply = answer(&mut world.lock().expect("no handler panics"), seen);
        match wire::write(stream, reply, is_head).await {
            Some(open) => stream = open,
            None => return,
        }
    }
}
