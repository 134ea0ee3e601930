//! `sidecache entries`.

use serde_json::json;

use super::{Ended, command};
use crate::support::{
    Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, QUERY, chat, chat_answer, query_answer},
};

fn entries(sidecache: &Sidecache, arguments: &[&str]) -> Ended {
    let admin = format!("http://{}", sidecache.admin());
    command(&Setup::bare().arguments(&["entries", "--admin", &admin]).arguments(arguments), "")
}

#[test]
fn entries_are_listed_filtered_and_in_pages() {
    run(async {
        let upstream = Upstream::start(|request| match request.target.as_str() {
            QUERY => Script::json(&query_answer()),
            _ => Script::json(&chat_answer()),
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let client = sidecache.client();
        let query = client.post(QUERY, &json!({"query": "q"})).await.key();
        let chat_key = client.post(CHAT, &chat()).await.key();
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "HIT");
        let first = entries(&sidecache, &["--sort", "hits", "--limit", "1"]);
        assert!(
            first.success && first.output.contains(&format!("{chat_key}  {CHAT}  openai-chat")),
            "{first:?}"
        );
        assert!(!first.output.contains(&query), "{first:?}");
        let cursor = first.complaint.trim().rsplit(' ').next().expect("a cursor").to_owned();
        let second = entries(&sidecache, &["--sort", "hits", "--limit", "1", "--cursor", &cursor]);
        assert!(second.output.contains(&query) && second.complaint.is_empty(), "{second:?}");
        let tagged = entries(&sidecache, &["--tag", "store", "--route", "api-v1-query", "--json"]).json();
        assert_eq!((&tagged["entries"][0]["key"], &tagged["more"]), (&json!(query), &json!(false)));
        let wrong = entries(&sidecache, &["--limit", "0"]);
        assert!(!wrong.success && wrong.complaint.contains("no number from 1 to 1000"), "{wrong:?}");
    });
}
