//! An upstream whose name gets other addresses.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{Client, Hosts, MOVING, Script, Setup, Upstream, eventually, run};

/// An address of this machine.
fn local(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// An upstream on a port that it chooses, and one on the same port of the second address. Each says which one it is.
async fn two(closes: bool) -> (Upstream, Upstream) {
    let script = |name: &str| {
        let script = Script::json(&json!(name));
        if closes { script.close() } else { script }
    };
    let first = Upstream::always(script("first")).await;
    let second = SocketAddr::new(local(2), first.address().port());
    (first, Upstream::always_at(second, script("second")).await)
}

fn setup(hosts: &Hosts, upstream: &Upstream) -> Setup {
    hosts.rule(Setup::to(&format!("http://{MOVING}:{}", upstream.address().port())))
}

/// Which upstream answers; an error's status if none does.
async fn asked(client: &Client) -> Result<String, u16> {
    let answer = client.get("/some").await;
    match answer.status {
        200 => Ok(answer.json().as_str().expect("a name").to_owned()),
        status => Err(status),
    }
}

#[test]
fn a_service_that_moves_is_followed_though_its_old_connections_are_open() {
    run(async {
        let hosts = Hosts::new();
        hosts.set(&[local(1)]);
        let (first, _second) = two(false).await;
        let often = "[upstream]\nresolve_every = \"100ms\"";
        let sidecache = setup(&hosts, &first).config(often).start().await;
        let client = sidecache.client();
        for _ in 0..10 {
            assert_eq!(asked(&client).await.as_deref(), Ok("first"));
        }
        hosts.set(&[local(2)]);
        eventually("the second", async || {
            let name = asked(&client).await.expect("no request fails");
            (name == "second").then_some(())
        })
        .await;
        let before = first.calls();
        for _ in 0..10 {
            assert_eq!(asked(&client).await.as_deref(), Ok("second"));
        }
        assert_eq!(first.calls(), before);
    });
}

#[test]
fn after_a_failed_connection_the_name_is_looked_up_at_once() {
    run(async {
        let hosts = Hosts::new();
        hosts.set(&[local(1)]);
        let (first, _second) = two(true).await;
        let rarely = "[upstream]\nresolve_every = \"24h\"";
        let sidecache = setup(&hosts, &first).config(rarely).start().await;
        let client = sidecache.client();
        assert_eq!(asked(&client).await.as_deref(), Ok("first"));
        hosts.set(&[local(2)]);
        assert_eq!(asked(&client).await.as_deref(), Ok("first"), "nothing has failed yet");
        drop(first);
        let began = Instant::now();
        // Only in the first moment after a lookup there is none.
        eventually("the second", async || asked(&client).await.ok().filter(|name| name == "second")).await;
        assert!(began.elapsed() < Duration::from_secs(60));
    });
}

#[test]
fn several_addresses_are_tried_in_turn() {
    run(async {
        let hosts = Hosts::new();
        hosts.set(&[local(3), local(4), local(2)]);
        let (first, _second) = two(true).await;
        let sidecache = setup(&hosts, &first).start().await;
        for _ in 0..3 {
            assert_eq!(asked(&sidecache.client()).await.as_deref(), Ok("second"));
        }
    });
}
