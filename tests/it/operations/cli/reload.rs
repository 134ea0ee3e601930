//! `sidecache reload`.

use serde_json::json;

use super::{Ended, command};
use crate::support::{
    Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, chat, chat_answer},
};

fn reload(sidecache: &Sidecache) -> Ended {
    let admin = format!("http://{}", sidecache.admin());
    command(&Setup::bare().arguments(&["reload", "--admin", &admin]), "")
}

#[test]
fn a_reload_says_what_changed_or_what_is_wrong() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let path = sidecache.dir().join("sidecache.toml");
        let before = std::fs::read_to_string(&path).expect("a file");
        let write = |lines: &str| std::fs::write(&path, format!("{before}\n{lines}")).expect("a file");
        let first = reload(&sidecache);
        assert_eq!(
            (first.success, &*first.output),
            (true, "reloaded; nothing changed\n"),
            "{}",
            first.complaint
        );

        write(
            "[log]\nlevel = \"DEBUG\"\n[store]\nnamespace = \"other\"\n[[route]]\nmatch = \"POST /off\"\nkind = \"query\"",
        );
        let second = reload(&sidecache);
        assert_eq!(second.output, "reloaded; changed: log.level, route\nneeds a restart: store.namespace\n");
        let line = sidecache.log.lifecycle("reloaded").await;
        assert_eq!(line["message"], "reloaded");

        write("[[route]]\nmatch = \"POST /off\"\nkind = \"quiry\"");
        let failed = reload(&sidecache);
        let complaint = failed.one_complaint();
        assert!(complaint.contains("the old settings stay") && complaint.contains("quiry"), "{complaint}");
        let page = sidecache.operator().get("/metrics").await.text();
        assert!(page.contains("\nsidecache_reload_success 0"), "{page}");
        for expected in ["MISS", "HIT"] {
            assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), expected, "it goes on");
        }
        write("");
        assert!(reload(&sidecache).success);
        let page = sidecache.operator().get("/metrics").await.text();
        assert!(page.contains("\nsidecache_reload_success 1"));
    });
}

#[test]
fn a_reload_must_come_as_what_changes_something() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let setup = Setup::to(&upstream.url()).admin().env("ADMIN_TOKEN", "sesame");
        let sidecache = setup.start().await;
        let operator = sidecache.operator();
        let token = ("authorization", "Bearer sesame");
        let json = ("content-type", "application/json");
        for (method, headers, status) in [
            ("POST", &[json][..], 401),
            ("POST", &[token], 415),
            ("GET", &[token, json], 405),
            ("POST", &[token, json], 200),
        ] {
            let answer = operator.request(method, "/reload", headers, b"{}".to_vec()).await;
            assert_eq!(answer.status, status, "{method} {headers:?}: {}", answer.text());
        }
        let answer = operator.request("POST", "/reload", &[token, json], Vec::new()).await;
        assert_eq!(answer.json(), json!({"changed": [], "waiting_for_restart": []}));
    });
}
