//! The promise: a Prometheus that scrapes sidecache finds whatever the dashboard and the alerts ask for, and each alert
//! fires when it should.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    http::upstream_tls::certificates,
    semantic::world::{self, Embeddings, SERVING, question},
    support::{
        Client, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
        samples::{CHAT, chat, chat_answer},
    },
};

fn config(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)
}

/// A Prometheus that scrapes some targets five times a second, and evaluates the alerts. It ends when it is dropped.
struct Prometheus {
    child: Child,
    client: Client,
    _dir: TempDir,
}

impl Prometheus {
    /// Scrapes `targets` over TLS, and waits until it answers.
    async fn start(targets: &[&Sidecache]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let addresses: Vec<_> = targets.iter().map(|target| target.admin().to_string()).collect();
        let settings = json!({
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "1s"},
            "rule_files": [config("prometheus/alerts.yaml")],
            "scrape_configs": [{
                "job_name": "sidecache",
                "scheme": "https",
                "tls_config": {"insecure_skip_verify": true},
                "static_configs": [{"targets": addresses}],
            }],
        });
        // JSON is YAML.
        let file = dir.path().join("prometheus.yaml");
        std::fs::write(&file, settings.to_string()).expect("a file");
        let listen = format!("127.0.0.1:{}", RedisServer::free_port());
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus");
        let client = Client::new(listen.parse().expect("an address"));
        let prometheus = Self { child, client, _dir: dir };
        eventually("it is ready", async || {
            let ready = prometheus.client.try_open("GET", "/-/ready", &[], "").await;
            (ready.ok()?.status == 200).then_some(())
        })
        .await;
        prometheus
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(path).await.json();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The values of an expression now.
    async fn values(&self, expression: &str) -> Vec<f64> {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let data = self.get(&format!("/api/v1/query?{query}")).await;
        let value = |sample: &Value| sample["value"][1].as_str()?.parse().ok();
        data["result"].as_array().expect("a vector").iter().filter_map(value).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The expressions in a document: the values of all members of this name.
fn expressions(document: &Value, member: &str, found: &mut BTreeSet<String>) {
    match document {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == member => _ = found.insert(text.clone()),
                    value => expressions(value, member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, member, found)),
        _ => {}
    }
}

/// What the dashboard asks for, with its variables replaced.
fn panels() -> BTreeSet<String> {
    let text = std::fs::read_to_string(config("grafana/sidecache.json")).expect("a dashboard");
    let mut found = BTreeSet::new();
    for member in ["expr", "query"] {
        expressions(&serde_json::from_str(&text).expect("JSON"), member, &mut found);
    }
    assert!(found.remove("prometheus"), "the choice of a data source");
    let replaced = |expression: &String| {
        let values = [("$__rate_interval", "10s"), ("$__range", "1m"), ("$instance", ".*"), ("$route", ".*")];
        values.iter().fold(expression.clone(), |text, (name, value)| text.replace(name, value))
    };
    let variable = |text: String| match text.strip_prefix("label_values(") {
        Some(rest) => {
            let (series, label) = rest.trim_end_matches(')').split_once(", ").expect("a label");
            format!("count by ({label}) ({series}{{{label}!=\"\"}})")
        }
        None => text,
    };
    found.iter().map(replaced).map(variable).collect()
}

/// What the expressions select: names of metrics, with the conditions on their labels.
fn selectors(expression: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(begin) = rest.find(is_part) {
        rest = &rest[begin..];
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        rest = &rest[name.len()..];
        if name.starts_with("sidecache_") || name.starts_with("process_") {
            let labels =
                if rest.starts_with('{') { rest.find('}').map_or("", |end| &rest[..=end]) } else { "" };
            found.insert(format!("{name}{labels}"));
        }
    }
    found
}

/// Hits, a miss, a bypass, answers that are not stored, and failures of the service.
async fn traffic(sidecache: &Sidecache) {
    let client = sidecache.client();
    for _ in 0..4 {
        client.post(CHAT, &chat()).await;
    }
    client.post_with(CHAT, &[("cache-control", "no-store")], &chat()).await;
    client.post("/filtered", &json!({"query": "q"})).await;
    client.post("/broken", &json!({"query": "q"})).await;
    client.get("/none").await;
}

async fn service() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        CHAT => Script::json(&chat_answer()),
        "/broken" => Script::raw().close(),
        _ => Script::json_with(404, &[], &json!({"detail": "no such page"})),
    })
    .await
}

/// Two of them: one with its own store, and one with Redis and a token that ends.
async fn started(upstream: &Upstream, redis: &RedisServer, dir: &TempDir) -> [Sidecache; 2] {
    let path = dir.path().display();
    let common = format!(
        "[admin]\ntls_cert = \"{path}/cert.pem\"\ntls_key = \"{path}/key.pem\"\n\
         [[route]]\nmatch = [\"POST /filtered\", \"POST /broken\"]\nkind = \"query\"\n\
         [[price]]\nmodel = \"*\"\ninput = 1\noutput = 2\ncurrency = \"USD\"\n"
    );
    // {"exp":4000000000}, which no Redis without passwords looks at.
    let token = "e30.eyJleHAiOjQwMDAwMDAwMDB9.c2ln";
    std::fs::write(dir.path().join("token"), token).expect("a file");
    redis.cli(&["CONFIG", "SET", "requirepass", token]);
    let in_redis = format!("[store]\nredis = \"{}\"\nredis_password_file = \"{path}/token\"\n", redis.url());
    let setup = |more: &str| Setup::to(&upstream.url()).config(more).config(&common).admin();
    [setup("").start().await, setup(&in_redis).start().await]
}

/// One that has served a hit by meaning.
async fn serving_by_meaning(upstream: &Upstream, embeddings: &Embeddings, dir: &TempDir) -> Sidecache {
    let path = dir.path().display();
    let tls = format!("[admin]\ntls_cert = \"{path}/cert.pem\"\ntls_key = \"{path}/key.pem\"\n");
    let semantic = world::config(embeddings, SERVING, "");
    let sidecache = Setup::to(&upstream.url()).config(&tls).config(&semantic).admin().start().await;
    let client = sidecache.client();
    let mut wordings = 0..400;
    eventually("a hit by meaning", async || {
        let text = question("refund", wordings.next()?);
        (client.post(CHAT, &world::chat(&text)).await.cache() == "SIMILAR").then_some(())
    })
    .await;
    sidecache
}

#[test]
fn prometheus_finds_what_the_dashboard_and_the_alerts_ask_for() {
    run(async {
        let (upstream, redis, dir) = (service().await, RedisServer::start(), certificates());
        let embeddings = Embeddings::start().await;
        let targets = started(&upstream, &redis, &dir).await;
        let by_meaning = serving_by_meaning(&upstream, &embeddings, &dir).await;
        let [one, other] = &targets;
        let prometheus = Prometheus::start(&[one, other, &by_meaning]).await;
        let alerts = std::fs::read_to_string(config("prometheus/alerts.yaml")).expect("alerts");
        let panels = panels();
        assert!(panels.len() > 30, "{panels:?}");
        let selected = panels.iter().flat_map(|panel| selectors(panel)).chain(selectors(&alerts));
        // A comparison is to find nothing.
        let found = panels.iter().filter(|panel| !panel.contains(" == ")).cloned();
        for expression in selected.chain(found).collect::<BTreeSet<_>>() {
            eventually(format!("a value of {expression}"), async || {
                for target in &targets {
                    traffic(target).await;
                }
                (!prometheus.values(&expression).await.is_empty()).then_some(())
            })
            .await;
        }
        let groups = prometheus.get("/api/v1/rules").await["groups"].take();
        let rules: Vec<_> = groups
            .as_array()
            .expect("a list")
            .iter()
            .flat_map(|group| group["rules"].as_array())
            .flatten()
            .collect();
        assert!(rules.len() > 10, "{groups}");
        for rule in rules {
            assert_eq!((&rule["health"], &rule["lastError"]), (&"ok".into(), &Value::Null), "{rule}");
        }
    });
}

/// The hit rate in Prometheus is that of the answers that were counted here.
#[test]
fn the_hit_rate_is_what_was_counted() {
    run(async {
        let (upstream, redis, dir) = (service().await, RedisServer::start(), certificates());
        let targets = started(&upstream, &redis, &dir).await;
        let (mut hits, mut lookups) = (0.0, 0.0);
        for target in &targets {
            let client = target.client();
            for number in 0..40_u64 {
                let mut question = chat();
                question["user"] = (number * number % 7).into();
                let cache = client.post(CHAT, &question).await.cache().to_owned();
                assert!(["HIT", "MISS"].contains(&&*cache), "{cache}");
                lookups += 1.0;
                hits += f64::from(u8::from(cache == "HIT"));
            }
        }
        let prometheus = Prometheus::start(&targets.each_ref()).await;
        let of = |labels: &str| format!("sum(sidecache_lookups_total{{{labels}}})");
        let rate = format!("{} / {}", of("result=~\"hit|stale|form\""), of(""));
        let all = async || (prometheus.values(&of("")).await == [lookups]).then_some(());
        eventually("all lookups are there", all).await;
        assert_eq!(prometheus.values(&rate).await, [hits / lookups]);
    });
}

#[test]
fn each_alert_fires_for_the_figures_that_it_is_for() {
    let rules = config("prometheus/alerts.yaml");
    let figures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/operations/alerts.yaml");
    for (command, file) in [("check", &rules), ("test", &figures)] {
        let told = Command::new("promtool").args([command, "rules"]).arg(file).output().expect("promtool");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(told.status.success(), "{}{}", text(&told.stdout), text(&told.stderr));
    }
    let [rules, figures] = [&rules, &figures].map(|file| std::fs::read_to_string(file).expect("a file"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(figures.contains(&format!("alertname=\"{alert}\"")), "no figures for {alert}");
    }
}
