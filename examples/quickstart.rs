//! The main job in one process: a RAG service that takes 800 ms for an answer, sidecache in front of it, and the same
//! question asked twice.
//!
//!     cargo run --example quickstart            # stays up for you to try, until Ctrl-C
//!     cargo run --example quickstart -- --once  # asks, and exits: 0 if the second answer was a hit

mod rag;

use std::{
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use sidecache::{
    app::{App, StartError},
    config::{Inputs, load},
};
use tokio::{net::TcpListener, sync::oneshot};

/// How long the service's model seems to think.
const DELAY: Duration = Duration::from_millis(800);
const QUESTION: &str = r#"{"query": "What happens when Redis is down?"}"#;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
#[allow(clippy::print_stderr, reason = "a terminal program says what went wrong")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let once = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--once"] => true,
        _ => {
            eprintln!("usage: quickstart [--once]");
            return ExitCode::from(2);
        }
    };
    match run(once).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "a terminal program tells what it does")]
async fn run(once: bool) -> Outcome<()> {
    let service = start_service().await?;
    let app = start_proxy(&service).await?;
    let proxy = format!("http://{}", app.address()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(app.run(async {
        // A dropped sender stops the proxy too.
        let _ = stopped.await;
    }));

    println!("service    {service}  takes {} ms for an answer", DELAY.as_millis());
    println!("sidecache  {proxy}  in front of it, keeping answers in memory\n");
    let judged = ask_twice(&proxy).await;
    if judged.is_ok() && !once {
        tell_what_to_try(&proxy);
        tokio::signal::ctrl_c().await?;
        println!("\nstopping");
    }
    drop(stop);
    running.await?;
    judged
}

/// The service, as it would run on its own; it ends with the process.
async fn start_service() -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let service = rag::Service::new(rag::Options { docs: rag::builtin_docs(), delay: DELAY });
    tokio::spawn(rag::serve(listener, service, std::future::pending()));
    Ok(url)
}

/// sidecache on its usual port, or on any other one where that is taken.
async fn start_proxy(upstream: &str) -> Outcome<App> {
    let config = |listen: &str| {
        let flags = [("upstream.url", upstream), ("listen", listen), ("admin.listen", "off")];
        let flags = flags.map(|(key, value)| (key, value.to_owned())).to_vec();
        load(&Inputs { flags, ..Inputs::default() }).map(|loaded| loaded.config)
    };
    Ok(match App::bind(config("127.0.0.1:8080")?).await {
        Err(StartError::Listen { .. }) => App::bind(config("127.0.0.1:0")?).await?,
        bound => bound?,
    })
}

/// Asks the same question twice, and fails unless the second answer is the first one from the store.
#[allow(clippy::print_stdout, reason = "a terminal program tells what it does")]
async fn ask_twice(proxy: &str) -> Outcome<()> {
    let client: HttpClient = Client::builder(TokioExecutor::new()).build_http();
    println!("POST /api/v1/query {QUESTION}");
    let first = ask(&client, Method::POST, proxy, "/api/v1/query", QUESTION).await?;
    println!("  first    {first}");
    println!("           {}", serde_json::from_slice::<Value>(&first.body)?["answer"]);
    let second = ask(&client, Method::POST, proxy, "/api/v1/query", QUESTION).await?;
    println!("  second   {second}");

    let health = ask(&client, Method::GET, proxy, "/health", "").await?;
    let health: Value = serde_json::from_slice(&health.body)?;
    let said = |name: &str| health["cache"][name].to_string().trim_matches('"').to_owned();
    println!("GET /health\n  hit rate {}, {} s saved so far", said("hit_rate"), said("seconds_saved"));

    if second.x_cache != "HIT" {
        return Err(format!("the second answer was a {}, not a HIT", second.x_cache).into());
    }
    if second.body != first.body {
        return Err("the second answer is not the first one".into());
    }
    Ok(())
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// An answer, and what there is to show of it.
struct Answer {
    x_cache: String,
    took: Duration,
    body: Bytes,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { x_cache, took, body } = self;
        write!(f, "X-Cache: {x_cache:<5}{:>8.1} ms, {} bytes", took.as_secs_f64() * 1e3, body.len())
    }
}

async fn ask(
    client: &HttpClient,
    method: Method,
    proxy: &str,
    path: &str,
    body: &'static str,
) -> Outcome<Answer> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{proxy}{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))?;
    let started = Instant::now();
    let response = client.request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("{path} answered {}", response.status()).into());
    }
    let x_cache = response.headers().get("x-cache").map_or("none", |value| value.to_str().unwrap_or("?"));
    let x_cache = x_cache.to_owned();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer { x_cache, took: started.elapsed(), body })
}

#[allow(clippy::print_stdout, reason = "a terminal program tells what it does")]
fn tell_what_to_try(proxy: &str) {
    println!(
        r#"
Both stay up until Ctrl-C. From another terminal, each of these twice:

  curl -i {proxy}/api/v1/query -H 'Content-Type: application/json' -d '{{"query": "How are keys made?"}}'
  curl -iN {proxy}/api/v1/query -H 'Content-Type: application/json' -d '{{"query": "How are keys made?", "stream": true}}'
  curl -i {proxy}/api/v1/documents/store
  curl {proxy}/health"#
    );
}
