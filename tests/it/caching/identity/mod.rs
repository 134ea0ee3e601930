//! Callers who are known by claims of their tokens, or by an access key: they keep their entries when a token rotates, and
//! nobody gets another one's.

mod accepted;
mod access_keys;
mod forged;
mod login;
mod operations;
mod verified;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde_json::json;

use crate::support::{Answer, Client, Received, Script, Upstream, samples::query_answer};

/// Two routes that are scoped alike.
const ROUTES: [&str; 2] = ["/ask", "/tell"];

/// The settings of both, with this scope.
fn routes(scope: &str) -> String {
    let route = |path: &str| {
        format!("[[route]]\nmatch = \"POST {path}\"\nkind = \"query\"\ndialect = \"rag\"\nscope = {scope}\n")
    };
    ROUTES.map(route).concat()
}

/// A service with a login: who has which credentials. It answers with the name of whoever asks, and 401 to all others.
#[derive(Clone, Default)]
struct Members(Arc<Mutex<HashMap<String, String>>>);

impl Members {
    fn admit(&self, credentials: &str, name: &str) {
        self.0.lock().unwrap().insert(credentials.to_owned(), name.to_owned());
    }

    fn revoke(&self, credentials: &str) {
        self.0.lock().unwrap().remove(credentials);
    }

    /// What it answers to a request. An `X-API-Key` counts before a token does.
    fn answer(&self, request: &Received) -> Script {
        let presented = request.header("x-api-key").or(request.header("authorization")).unwrap_or_default();
        match self.0.lock().unwrap().get(presented) {
            Some(name) => {
                let mut answer = query_answer();
                answer["answer"] = name.as_str().into();
                Script::json(&answer)
            }
            None => Script::json_with(401, &[], &json!({"detail": "who are you?"})),
        }
    }

    async fn serve(&self) -> Upstream {
        let members = self.clone();
        Upstream::start(move |request| members.answer(request)).await
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Asks with these credentials.
async fn ask(client: &Client, path: &str, question: &str, credentials: &str) -> Answer {
    let body = json!({"query": question});
    client.post_with(path, &[("authorization", credentials)], &body).await
}

/// Whom an answer is for.
fn name(answer: &Answer) -> String {
    answer.json()["answer"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}
