//! New prices at a reload, and what `sidecache check` shows of them.

use super::{PRICES, billionths, call_of, chat, spent_and_saved};
use crate::support::{Setup, Upstream, eventually, run};

#[test]
fn a_hit_saves_by_the_prices_in_force_and_only_a_restart_changes_the_currency() {
    run(async {
        let talk = chat();
        let (_upstream, sidecache) = talk.start(false, "").await;
        let client = sidecache.client();
        talk.ask(&client, false, "before").await;
        // Prices are not asked for what came before them.
        sidecache.reconfigure(PRICES);
        sidecache.log.lifecycle("reloaded").await;
        assert_eq!(spent_and_saved(&sidecache).await, (0, 0));
        talk.ask(&client, false, "priced").await;
        call_of(&sidecache, "priced").await;
        assert_eq!(spent_and_saved(&sidecache).await, (0, talk.cost));

        let doubled =
            "[[price]]\nmodel = \"*\"\ninput = 4\ncached_input = 1\noutput = 20\ncurrency = \"USD\"\n";
        sidecache.reconfigure(doubled);
        let dearer = async || {
            talk.ask(&client, false, "x").await;
            let lines = sidecache.log.all().into_iter();
            let mut calls = lines.filter(|line| line["event_type"] == "llm_call" && line["cost"].is_f64());
            calls.find(|line| billionths(&line["cost"]) == 2 * talk.cost)
        };
        eventually("the new price", dearer).await;

        sidecache.reconfigure(&doubled.replace("USD", "EUR"));
        let failed = sidecache.log.lifecycle("reload failed").await;
        let expected =
            "the prices are in EUR, and the sums so far are in USD; restart to change the currency";
        assert_eq!(failed["errors"], serde_json::json!([expected]));
        assert_eq!(sidecache.health().await["cache"]["currency"], "USD");
    });
}

#[test]
fn stats_shows_what_was_saved_and_spent() {
    run(async {
        let talk = chat();
        let upstream = Upstream::always(talk.script(false)).await;
        let sidecache = Setup::to(&upstream.url()).config(PRICES).admin().start().await;
        for id in ["miss", "hit", "hit-2"] {
            talk.ask(&sidecache.client(), false, id).await;
            call_of(&sidecache, id).await;
        }
        let admin = format!("http://{}", sidecache.admin());
        let setup = Setup::bare().arguments(&["stats", "--admin", &admin]);
        let shown = String::from_utf8(setup.command().output().expect("it runs").stdout).expect("text");
        assert!(shown.contains("cost saved    0.0038 USD\ncost spent    0.0019 USD\n"), "{shown}");
    });
}

#[test]
fn check_lists_the_prices() {
    let setup = Setup::to("http://127.0.0.1:9").config(PRICES).arguments(&["check"]);
    let output = setup.command().output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let expected = "\nprices for a million tokens, in USD, the first for a model counts:\n  \
                    m-*  input 2  cached_input 0.5  cache_write 4  output 10\n";
    assert!(text.contains(expected), "{text}");
    let without = Setup::to("http://127.0.0.1:9").arguments(&["check"]).command().output().expect("it runs");
    assert!(!String::from_utf8_lossy(&without.stdout).contains("prices"));
}
