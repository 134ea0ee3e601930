//! Fills the store through the proxy as fast as possible, with many pipelined requests on each connection.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
};

const CONNECTIONS: usize = 8;

/// Requests that are under way on a connection.
const BATCH: usize = 64;

/// Ends every answer of the origin.
pub(crate) const END: &[u8] = b"end-of-document";

/// Asks once for each of `entries` documents.
pub(crate) fn fill(port: u16, entries: usize) {
    let each = entries.div_ceil(CONNECTIONS);
    thread::scope(|scope| {
        for first in (0..entries).step_by(each) {
            scope.spawn(move || ask(port, first..(first + each).min(entries)));
        }
    });
}

fn ask(port: u16, documents: std::ops::Range<usize>) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    stream.set_nodelay(true).expect("a socket without delay");
    let mut buffer = vec![0; 64 * 1024];
    for first in documents.clone().step_by(BATCH) {
        let batch = first..(first + BATCH).min(documents.end);
        let request = |id| format!("GET /api/v1/documents/{id} HTTP/1.1\r\nHost: bench\r\n\r\n");
        let requests: String = batch.clone().map(request).collect();
        stream.write_all(requests.as_bytes()).expect("requests that are sent");
        // An end that is cut by a read is found with the bytes kept from before.
        let (mut ends, mut kept) = (0, Vec::new());
        while ends < batch.len() {
            let len = stream.read(&mut buffer).expect("answers");
            assert!(len > 0, "the connection was closed in the midst of answers");
            kept.extend_from_slice(&buffer[..len]);
            ends += kept.windows(END.len()).filter(|window| *window == END).count();
            kept.drain(..kept.len().saturating_sub(END.len() - 1));
        }
    }
}
