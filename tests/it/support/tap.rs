//! A wire between a client and a server that writes down what the client says.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub(crate) struct Tap {
    port: u16,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// In front of `upstream`, a host with its port. Its threads end with their connections, and the
    /// one that listens with the test's process.
    pub(crate) fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let port = listener.local_addr().expect("it is bound").port();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (heard, upstream) = (Arc::clone(&said), upstream.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&upstream) else {
                    continue;
                };
                let (back, forth) = (client.try_clone(), server.try_clone());
                let (Ok(back), Ok(forth)) = (back, forth) else {
                    continue;
                };
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || pass_on(client, forth, Some(&heard)));
                std::thread::spawn(move || pass_on(server, back, None));
            }
        });
        Self { port, said }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What all clients have said so far.
    pub(crate) fn said(&self) -> String {
        let said = self.said.lock().expect("never held across a panic");
        String::from_utf8_lossy(&said).into_owned()
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, heard: Option<&Mutex<Vec<u8>>>) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..count).expect("it was read into it");
        if let Some(heard) = heard {
            heard
                .lock()
                .expect("never held across a panic")
                .extend_from_slice(bytes);
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    // The other direction may still have something to say.
    to.shutdown(Shutdown::Write).ok();
}
