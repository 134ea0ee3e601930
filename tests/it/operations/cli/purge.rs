//! `sidecache purge`.

use serde_json::json;

use super::{Ended, command};
use crate::support::{
    Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, QUERY, chat, query_answer},
};

fn purge(sidecache: &Sidecache, arguments: &[&str]) -> Ended {
    let admin = format!("http://{}", sidecache.admin());
    command(&Setup::bare().arguments(&["purge", "--admin", &admin]).arguments(arguments), "")
}

#[test]
fn each_flag_purges_exactly_its_entries() {
    run(async {
        let upstream = Upstream::start(|request| match request.target.as_str() {
            QUERY => Script::json(&query_answer()),
            _ => Script::json(&crate::support::samples::chat_answer()),
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let client = sidecache.client();
        let url = format!("http://{}", sidecache.admin());
        let fill = async || {
            client.post(QUERY, &json!({"query": "q"})).await;
            client.post(CHAT, &chat()).await.key()
        };
        let key = fill().await;
        for (arguments, count) in [
            (&["--key", key.as_str()][..], "1 entry"),
            (&["--kind", "query"], "2 entries"),
            (&["--kind", "document"], "0 entries"),
            (&["--tag", "store"], "1 entry"),
            (&["--pattern", "sidecache:query:*"], "2 entries"),
            (&["--all"], "2 entries"),
        ] {
            let dry = purge(&sidecache, &[arguments, &["--dry-run"]].concat());
            assert_eq!(
                (dry.success, dry.output),
                (true, format!("{count} would be purged ({url})\n")),
                "{arguments:?}"
            );
            let done = purge(&sidecache, arguments);
            assert_eq!(
                (done.success, done.output),
                (true, format!("{count} purged ({url})\n")),
                "{arguments:?}"
            );
            fill().await;
        }
        for (arguments, received) in
            [(&["--key", "x"][..], "no key"), (&["--pattern", "other-app:*"], "describes no key")]
        {
            let ended = purge(&sidecache, arguments);
            assert!(ended.one_complaint().contains(received), "{}", ended.complaint);
        }
        for arguments in [&[][..], &["--all", "--kind", "query"]] {
            let ended = purge(&sidecache, arguments);
            assert!(!ended.success && ended.complaint.contains("--all"), "{}", ended.complaint);
        }
        assert_eq!(
            purge(&sidecache, &["--all", "--dry-run"]).output,
            format!("2 entries would be purged ({url})\n")
        );
    });
}
