//! The one address behind a name: requests go to one replica after the other, and to the next if one dies over them.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
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
                let shared = Arc::clone(&shared);
                // Either side may hang up at any time.
                thread::spawn(move || carry(client, &shared));
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

/// One request, and the answer of the first replica that has one.
fn carry(mut client: TcpStream, backends: &Mutex<Backends>) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend(&buffer[..read]),
        }
    }
    for _ in 0..TRIES {
        let next = backends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next();
        let Some(port) = next else { return Ok(()) };
        let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut server| {
            server.write_all(&request)?;
            let read = server.read(&mut buffer)?;
            Ok((server, read))
        });
        // Nobody there, or gone before the first octet: nothing was promised to the client.
        if let Ok((mut server, read @ 1..)) = asked {
            client.write_all(&buffer[..read])?;
            io::copy(&mut server, &mut client)?;
            return Ok(());
        }
    }
    Ok(())
}

/// The dead are in the list until somebody has noticed.
const TRIES: usize = 3;
