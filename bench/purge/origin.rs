//! The upstream: documents; every tenth has one tag.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};

use crate::fill_store::END;

/// Starts it, on threads that end with the process; its port.
pub(crate) fn start() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Answers one request after the other until the connection ends.
fn serve(mut stream: TcpStream) {
    let (mut buffer, mut unread) = (vec![0; 16 * 1024], Vec::new());
    stream.set_nodelay(true).expect("a socket without delay");
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        unread.extend_from_slice(&buffer[..len]);
        while let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            if stream.write_all(answer(&head).as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn answer(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let target = head.split(' ').nth(1).unwrap_or_default();
    let tag = if target.ends_with('7') { "Cache-Tag: tenth\r\n" } else { "" };
    let body = format!("{{\"at\": \"{target}\", \"text\": \"{:600}{}\"}}", "", String::from_utf8_lossy(END));
    let len = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{tag}Content-Length: {len}\r\n\r\n{body}")
}
