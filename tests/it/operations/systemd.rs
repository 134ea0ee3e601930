//! What systemd hands over, and what it is told.

use std::net::TcpListener;

use tokio::net::UnixDatagram;

use crate::support::{
    Client, Script, Setup, Upstream, run,
    samples::{CHAT, chat, chat_answer},
    soon,
};

fn listener(host: &str) -> TcpListener {
    TcpListener::bind((host, 0)).expect("a port")
}

#[test]
fn sockets_that_are_handed_over_are_served() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        for names in [["http", "admin"], ["admin", "http"], ["admin", "unknown"]] {
            let sockets = [listener("127.0.0.1"), listener("127.0.0.1")];
            let [first, second] = sockets.each_ref().map(|socket| socket.local_addr().expect("an address"));
            let (clients, admin) = if names[0] == "admin" { (second, first) } else { (first, second) };
            // A connection from before its start is served, too.
            let early = tokio::spawn(async move { Client::new(clients).post(CHAT, &chat()).await });
            let [one, other] = sockets;
            let setup = Setup::to(&upstream.url()).admin();
            let mut sidecache = setup.inherits(names[0], one).inherits(names[1], other).start().await;
            assert_eq!((sidecache.address(), sidecache.admin()), (clients, admin), "{names:?}");
            assert_eq!(soon("an answer", early).await.expect("no panic").status, 200);
            assert_eq!(sidecache.operator().get("/stats").await.status, 200);
            assert_eq!(sidecache.stop().await.code(), Some(0));
        }
    });
}

#[test]
fn one_socket_is_for_clients_and_the_admin_listener_stays_that_of_the_settings() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let socket = listener("127.0.0.1");
        let clients = socket.local_addr().expect("an address");
        let sidecache = Setup::to(&upstream.url()).admin().inherits("http", socket).start().await;
        assert_eq!(sidecache.address(), clients);
        assert_eq!(sidecache.operator().get("/stats").await.status, 200);
    });
}

/// The socket is systemd's: it stays open while the service restarts, and keeps who connects in between.
#[test]
fn a_restart_behind_a_socket_unit_loses_nobody() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let socket = listener("127.0.0.1");
        let again = socket.try_clone().expect("another descriptor");
        let mut first = Setup::to(&upstream.url()).inherits("http", socket).start().await;
        let client = first.client();
        assert_eq!(client.post(CHAT, &chat()).await.status, 200);
        assert_eq!(first.stop().await.code(), Some(0));
        let between = tokio::spawn(async move { client.post(CHAT, &chat()).await });
        let _second = Setup::to(&upstream.url()).inherits("http", again).start().await;
        assert_eq!(soon("an answer", between).await.expect("no panic").status, 200);
    });
}

#[test]
fn sockets_of_no_use_are_reported_in_one_line() {
    let upstream = "http://127.0.0.1:9";
    let datagram = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    for (what, setup, expected) in [
        (
            "two for clients",
            Setup::to(upstream).inherits("a", listener("127.0.0.1")).inherits("b", listener("127.0.0.1")),
            None,
        ),
        ("a datagram socket", Setup::to(upstream).inherits("a", datagram), Some("of no use")),
        (
            "an admin listener that is open to all",
            Setup::to(upstream).inherits("admin", listener("0.0.0.0")),
            Some("ADMIN_TOKEN"),
        ),
    ] {
        let ended = setup.command().output().expect("the binary");
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{what}: {complaint}");
        // With two sockets, the second is where the complaint would go.
        if let Some(expected) = expected {
            assert!(complaint.contains(expected), "{what}: {complaint}");
            assert_eq!(complaint.trim_end().lines().count(), 1, "{what}: {complaint}");
        }
    }
}

#[test]
fn systemd_is_told_what_the_service_does() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let setup = Setup::to(&upstream.url());
        let path = setup.dir().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        let told = async || {
            let mut bytes = [0; 256];
            let length = soon("news", manager.recv(&mut bytes)).await.expect("news");
            String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
        };
        let setup = setup.env("NOTIFY_SOCKET", path.to_str().expect("UTF-8"));
        let mut sidecache = setup.start().await;
        assert_eq!(told().await, "READY=1");
        for bad in [false, true] {
            sidecache.reconfigure(if bad { "[ttl" } else { "" });
            let reloading = told().await;
            let (first, time) = reloading.split_once('\n').expect("two lines");
            assert_eq!(first, "RELOADING=1");
            let time = time.strip_prefix("MONOTONIC_USEC=").expect("a time");
            assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{time}");
            assert_eq!(told().await, "READY=1", "it goes on, with the old settings if the new ones are bad");
        }
        sidecache.terminate();
        assert_eq!(told().await, "STOPPING=1");
        assert_eq!(sidecache.ended().await.code(), Some(0));
    });
}

#[test]
fn a_watchdog_hears_of_it_again_and_again() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let setup = Setup::to(&upstream.url());
        let path = setup.dir().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        let setup = setup.env("NOTIFY_SOCKET", path.to_str().expect("UTF-8")).env("WATCHDOG_USEC", "200000");
        let _sidecache = setup.start().await;
        let mut ticks = 0;
        while ticks < 3 {
            let mut bytes = [0; 64];
            let length = soon("news", manager.recv(&mut bytes)).await.expect("news");
            ticks += usize::from(bytes[..length].starts_with(b"WATCHDOG=1"));
        }
    });
}
