//! What commands show on a terminal of 80 columns and 24 lines.

use crate::support::{
    Script, Setup, Sidecache, Terminal, Upstream, eventually, run,
    samples::{CHAT, chat, chat_answer},
    terminal::{HEIGHT, WIDTH},
};

async fn upstream() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        CHAT => Script::json(&chat_answer()),
        _ => Script::json_with(404, &[], &serde_json::json!({"detail": "no such page"})),
    })
    .await
}

/// The command with these arguments, about this sidecache.
fn command(sidecache: &Sidecache, arguments: &[&str]) -> Setup {
    let admin = format!("http://{}", sidecache.admin());
    Setup::bare().arguments(arguments).arguments(&["--admin", &admin])
}

#[test]
fn top_fits_and_gives_the_terminal_back() {
    run(async {
        let upstream = upstream().await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let client = sidecache.client();
        let terminal = Terminal::open().await;
        let top = command(&sidecache, &["top"]);
        terminal.runs(&top);
        terminal.shows("q quits").await;
        for expected in ["MISS", "HIT", "HIT", "HIT"] {
            assert_eq!(client.post(CHAT, &chat()).await.cache(), expected);
        }
        client.get(&format!("/{}", "long".repeat(30))).await;
        // Three of four lookups.
        for part in [
            "75.0%",
            "sidecache",
            "hits p50",
            "openai-chat",
            "query",
            "no-route",
            " HIT       200 ",
            "/longlong",
        ] {
            terminal.shows(part).await;
        }
        let screen = terminal.screen();
        let lines: Vec<_> = screen.trim_end().lines().collect();
        assert!(lines.len() <= HEIGHT, "{screen}");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{screen}");
        terminal.types("q");
        terminal.is_back().await;
        let screen = terminal.screen();
        assert!(!screen.contains("hit rate"), "{screen}");
    });
}

#[test]
fn tail_shows_requests_until_it_is_interrupted() {
    run(async {
        let upstream = upstream().await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let terminal = Terminal::open().await;
        let tail = command(&sidecache, &["tail"]);
        terminal.runs(&tail);
        eventually("it reads", async || {
            sidecache.client().get("/shown").await;
            terminal.screen().contains("/shown").then_some(())
        })
        .await;
        sidecache.client().post(CHAT, &chat()).await;
        let screen = terminal.shows(CHAT).await;
        let line = screen.lines().find(|line| line.contains(CHAT)).expect("a line");
        assert!(line.contains("MISS      200") && line.chars().count() <= WIDTH, "{screen}");
        terminal.presses("C-c");
        terminal.is_back().await;
    });
}

#[test]
fn the_figures_stay_in_one_place() {
    run(async {
        let upstream = upstream().await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let terminal = Terminal::open().await;
        let stats = command(&sidecache, &["stats", "--watch", "1"]);
        terminal.runs(&stats);
        terminal.shows("hit rate").await;
        for (cache, counts) in [("MISS", "(0 hits, 1 misses)"), ("HIT", "(1 hits, 1 misses)")] {
            assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), cache);
            let screen = terminal.shows(counts).await;
            let rates = screen.lines().filter(|line| line.starts_with("hit rate"));
            assert_eq!(rates.count(), 1, "{screen}");
        }
        terminal.presses("C-c");
        terminal.is_back().await;
    });
}

#[test]
fn a_purge_of_all_entries_asks_first() {
    run(async {
        let upstream = upstream().await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let terminal = Terminal::open().await;
        // By what the configuration says, which names the namespace.
        let listen = sidecache.admin().to_string();
        let purge = |more: &[&str]| {
            Setup::bare().arguments(&["purge", "--all", "--admin-listen", &listen]).arguments(more)
        };
        let (asking, sure) = (purge(&[]), purge(&["--yes"]));
        for (command, answer, expected, cache) in [
            (&asking, Some("n"), "nothing was purged", "HIT"),
            (&asking, Some("y"), "1 entry purged", "MISS"),
            (&sure, None, "1 entry purged", "MISS"),
        ] {
            sidecache.client().post(CHAT, &chat()).await;
            terminal.runs(command);
            if let Some(answer) = answer {
                let question = format!("Remove all entries of {listen}, namespace sidecache? [y/N]");
                terminal.shows(&question).await;
                terminal.types(answer);
                terminal.presses("Enter");
            }
            terminal.shows(expected).await;
            assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), cache, "{answer:?}");
        }
    });
}
