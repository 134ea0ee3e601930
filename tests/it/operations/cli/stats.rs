//! `sidecache stats`.

use super::command;
use crate::support::{
    RedisServer, Script, Setup, Upstream, eventually,
    logs::Lines,
    run,
    samples::{CHAT, chat, chat_answer},
};

#[test]
fn stats_prints_figures_of_the_running_proxy() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let client = sidecache.client();
        for cache in ["MISS", "HIT", "HIT"] {
            assert_eq!(client.post(CHAT, &chat()).await.cache(), cache);
        }
        let (admin, listen) = (format!("http://{}", sidecache.admin()), sidecache.admin().to_string());
        // By URL, and by what the configuration says.
        for arguments in [&["stats", "--admin", &admin][..], &["stats", "--admin-listen", &listen]] {
            let ended = command(&Setup::bare().arguments(arguments), "");
            assert!(ended.success, "{}", ended.complaint);
            for line in [
                "store         memory, connected",
                "entries       1",
                "hit rate      66.67% (2 hits, 1 misses)",
            ] {
                assert!(ended.output.lines().any(|own| own == line), "{line}: {}", ended.output);
            }
        }
        let received = command(&Setup::bare().arguments(&["stats", "--json", "--admin", &admin]), "").json();
        assert_eq!(received, sidecache.health().await["cache"]);
    });
}

#[test]
fn stats_are_shown_again_and_again() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let admin = format!("http://{}", sidecache.admin());
        for (arguments, counted) in
            [(&["--watch", "1"][..], "memory, connected"), (&["--watch", "1", "--json"], "\"hits\":")]
        {
            let setup = Setup::bare().arguments(&["stats", "--admin", &admin]).arguments(arguments);
            let mut child = setup.command().spawn().expect("the binary");
            let output = Lines::collect(child.stdout.take().expect("its output"));
            eventually("three blocks", async || (output.text().matches(counted).count() >= 3).then_some(()))
                .await;
            child.kill().expect("it is ours to kill");
            child.wait().expect("it ends");
            let text = output.text();
            assert!(!text.contains('\u{1b}'), "{text}");
            let blocks = text.split("\n\nstore ").count();
            assert!(blocks >= 3 || arguments.contains(&"--json"), "{text}");
        }
        let ended = Setup::bare().arguments(&["stats", "--watch", "0"]).command().output().expect("it runs");
        assert_eq!(ended.status.code(), Some(2));
    });
}

#[test]
fn stats_reports_in_one_line_why_it_cannot_ask() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let token = "a-token-of-some-length";
        let sidecache = Setup::to(&upstream.url()).admin().env("ADMIN_TOKEN", token).start().await;
        let admin = format!("http://{}", sidecache.admin());
        let proxy = format!("http://{}", sidecache.address());
        let nobody = format!("http://127.0.0.1:{}", RedisServer::free_port());
        let stats = |url: &str| Setup::bare().arguments(&["stats", "--admin", url]);
        for (setup, received) in [
            (stats(&nobody), "is sidecache running"),
            (stats(&admin), "set ADMIN_TOKEN"),
            (stats(&admin).env("ADMIN_TOKEN", "another-token-of-some-length"), "another token"),
            (stats(&proxy), "no admin listener"),
            (stats(&upstream.url()), "no admin listener"),
            (Setup::bare().arguments(&["stats"]), "admin.listen is off"),
        ] {
            let ended = command(&setup, "");
            assert!(ended.one_complaint().contains(received), "{received}: {}", ended.complaint);
            assert!(!ended.complaint.contains("token-of"), "{}", ended.complaint);
        }
        let good = command(&stats(&admin).env("ADMIN_TOKEN", token), "");
        assert!(good.success, "{}", good.complaint);
    });
}
