//! Requests that are signed by AWS Signature Version 4: each signature is another credential, and only the session token
//! tells a caller.

use serde_json::json;

use super::{Members, ROUTES, name, routes};
use crate::support::{Answer, Client, Setup, run};

fn signed(key: &str, signature: usize, covers_token: bool) -> String {
    let token = if covers_token { ";x-amz-security-token" } else { "" };
    format!(
        "AWS4-HMAC-SHA256 Credential={key}/20261201/eu-west-1/bedrock/aws4_request, \
         SignedHeaders=host;x-amz-date{token}, Signature={signature:064x}"
    )
}

async fn ask(client: &Client, authorization: &str, token: Option<&str>, at: usize) -> Answer {
    let date = format!("20261201T{at:06}Z");
    let invocation = format!("00000000-0000-0000-0000-{at:012}");
    let mut headers =
        vec![("authorization", authorization), ("x-amz-date", &date), ("amz-sdk-invocation-id", &invocation)];
    headers.extend(token.map(|token| ("x-amz-security-token", token)));
    client.post_with(ROUTES[0], &headers, &json!({"query": "one"})).await
}

#[test]
fn an_access_key_counts_only_with_an_accepted_session_token() {
    run(async {
        let members = Members::default();
        let upstream = members.serve().await;
        let sidecache = Setup::to(&upstream.url()).config(&routes("[\"aws:access-key\"]")).start().await;
        let client = sidecache.client();
        for signature in 0..50 {
            let line = signed("ASIAVICTIM", signature, true);
            members.admit(&line, "victim");
            let answer = ask(&client, &line, Some("session"), signature).await;
            let expected = if signature == 0 { "MISS" } else { "HIT" };
            assert_eq!((answer.cache(), &*name(&answer)), (expected, "victim"), "{signature}");
        }
        for signature in 100..120 {
            for (key, token, covers) in [
                ("ASIAVICTIM", None, true),
                ("ASIAVICTIM", Some("guessed"), true),
                ("ASIAVICTIM", Some("session"), false),
                ("ASIAOTHER", Some("session"), true),
            ] {
                let answer = ask(&client, &signed(key, signature, covers), token, signature).await;
                assert_eq!(answer.status, 401, "{key} {token:?} {covers}: {}", answer.cache());
            }
        }
        // Without a session token, each signature is a credential of its own.
        for signature in 200..203 {
            let line = signed("AKIASTATIC", signature, false);
            members.admit(&line, "static");
            assert_eq!(ask(&client, &line, None, signature).await.cache(), "MISS");
            assert_eq!(ask(&client, &line, None, signature).await.cache(), "HIT", "the very same request");
        }
    });
}

#[test]
fn a_refused_signature_ends_what_was_accepted() {
    run(async {
        let members = Members::default();
        let upstream = members.serve().await;
        let sidecache = Setup::to(&upstream.url()).config(&routes("[\"aws:access-key\"]")).start().await;
        let client = sidecache.client();
        let line = signed("ASIA", 0, true);
        members.admit(&line, "caller");
        for expected in ["MISS", "HIT"] {
            assert_eq!(ask(&client, &line, Some("session"), 0).await.cache(), expected);
        }
        members.revoke(&line);
        let headers = [("authorization", &*line), ("x-amz-security-token", "session")];
        let refused = client.post_with(ROUTES[0], &headers, &json!({"query": "two"})).await;
        assert_eq!(refused.status, 401);
        assert_eq!(ask(&client, &line, Some("session"), 0).await.status, 401);
    });
}
