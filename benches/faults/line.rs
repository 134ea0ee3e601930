//! A line to a server that can be made slow, or dead.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often a held byte looks whether it may go.
const LOOK: Duration = Duration::from_millis(1);

/// The line; its threads end with the process.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Where it begins, on 127.0.0.1.
    pub(crate) port: u16,
    server: Arc<AtomicU16>,
    delay_ms: Arc<AtomicU64>,
}

impl Line {
    /// One that leads to `server`.
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let line = Self { port, server: Arc::new(AtomicU16::new(server)), delay_ms: Arc::default() };
        let this = line.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|client| this.join(client)));
        line
    }

    /// From now on, what the server says comes so much later; for ever: not at all.
    pub(crate) fn delay(&self, by: Duration) {
        self.delay_ms.store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Where new connections lead from now on.
    pub(crate) fn lead_to(&self, server: u16) {
        self.server.store(server, Ordering::Relaxed);
    }

    fn join(&self, client: TcpStream) {
        // Without a server, the client finds its connection closed.
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server.load(Ordering::Relaxed)));
        let Ok(server) = server else { return };
        let clone = |stream: &TcpStream| stream.try_clone().expect("a second handle");
        let (up, down) = ((clone(&client), clone(&server)), (server, client));
        let delay = Arc::clone(&self.delay_ms);
        thread::spawn(move || copy(up.0, up.1, &AtomicU64::new(0)));
        thread::spawn(move || copy(down.0, down.1, &delay));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, delay_ms: &AtomicU64) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let came = Instant::now();
        while came.elapsed() < Duration::from_millis(delay_ms.load(Ordering::Relaxed)) {
            thread::sleep(LOOK);
        }
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
