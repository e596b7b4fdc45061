//! The one address behind a name: connections go to one replica after the other.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

pub(crate) struct Balancer(Arc<Mutex<Backends>>);

#[derive(Default)]
struct Backends {
    ports: Vec<u16>,
    next: usize,
}

impl Balancer {
    /// Listens on this port of loopback for as long as the process lives.
    pub(crate) fn listen(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let backends = Arc::new(Mutex::new(Backends::default()));
        let shared = Arc::clone(&backends);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let next = shared.lock().unwrap_or_else(PoisonError::into_inner).next();
                // Nobody there: the client's connection breaks, as it would.
                if let Some(Ok(server)) = next.map(|port| TcpStream::connect(("127.0.0.1", port))) {
                    thread::spawn(move || carry(client, server));
                }
            }
        });
        Ok(Self(backends))
    }

    /// Those that are healthy, by port.
    pub(crate) fn set(&self, ports: impl IntoIterator<Item = u16>) {
        let mut backends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        backends.ports = ports.into_iter().collect();
    }
}

impl Backends {
    fn next(&mut self) -> Option<u16> {
        self.next += 1;
        let at = self.next.checked_rem(self.ports.len())?;
        self.ports.get(at).copied()
    }
}

fn carry(client: TcpStream, server: TcpStream) {
    let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let pass = |mut from: TcpStream, mut to: TcpStream| {
        // Either may hang up at any time.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::spawn(move || pass(from, to));
    pass(server, client);
}
