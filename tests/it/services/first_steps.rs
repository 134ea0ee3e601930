//! What a newcomer sees: which preset there is for the service, and on a terminal what is where.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::support::{Script, Setup, Upstream, run};

#[test]
fn a_request_that_a_preset_covers_names_it_once() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"response": "Yes."}))).await;
        let sidecache = Setup::to(&upstream.url()).start().await;
        let client = sidecache.client();
        for _ in 0..2 {
            client.post("/query/stream", &json!({"query": "q"})).await;
            client.post("/nobody/knows", &json!({"query": "q"})).await;
            client.post("/v1/chat-messages", &json!({"query": "q"})).await;
        }
        for presets in [json!(["lightrag", "langserve"]), json!(["dify"])] {
            sidecache.log.wait_for("a preset", |line| line["presets"] == presets).await;
        }
        let hint = |preset: &str| {
            let message = format!("then --preset {preset} does");
            sidecache.log.all().iter().filter(|line| line["message"].to_string().contains(&message)).count()
        };
        assert_eq!((hint("lightrag"), hint("dify")), (1, 1));
        let lines = sidecache.log.all();
        let line =
            lines.iter().find(|line| line["presets"] == json!(["lightrag", "langserve"])).expect("a line");
        assert_eq!(line["pattern"], "POST /query/stream");
        assert_eq!(
            line["message"],
            "no route covers POST /query/stream: is this lightrag or langserve? then --preset lightrag does"
        );
        let with_preset = Setup::to(&upstream.url()).arguments(&["--preset", "dify"]).start().await;
        with_preset.client().post("/query/stream", &json!({"query": "q"})).await;
        assert!(with_preset.log.all().iter().all(|line| line.get("presets").is_none()));
    });
}

/// `script` runs a program on a terminal of its own.
#[test]
fn on_a_terminal_all_lines_are_for_people() {
    let setup =
        Setup::to("http://127.0.0.1:9").config("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n");
    let command = setup.command();
    let program = command.get_program().to_string_lossy().into_owned();
    let mut line = vec![program];
    line.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    let mut on_terminal = Command::new("script");
    on_terminal.args(["-qec", &format!("{} --preset tei", line.join(" ")), "/dev/null"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => on_terminal.env(name, value),
            None => on_terminal.env_remove(name),
        };
    }
    let dir = command.get_current_dir().expect("a folder").to_owned();
    let mut child = on_terminal
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, which every Linux has");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(" ready on ") {
        let len = stdout.read(&mut buffer).expect("output");
        assert!(len > 0, "it has ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..len]));
    }
    child.kill().expect("a process");
    child.wait().expect("a process");
    let (log, people): (Vec<_>, Vec<_>) = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .partition(|line| line.starts_with("20"));
    assert!(log[0].contains("Z INFO    starting"), "{text}");
    assert!(people[0].starts_with("sidecache 0."), "{text}");
    for (at, (name, part)) in [
        ("service", "http://127.0.0.1:9"),
        ("clients", "http://127.0.0.1:"),
        ("hit rate", "/health"),
        ("admin", ""),
        ("store", "in this process, at most 256MiB"),
        ("routes", "1 (file), "),
        ("settings", ".toml"),
    ]
    .into_iter()
    .enumerate()
    {
        let line = people[at + 1].trim_start();
        assert!(line.starts_with(name) && line.contains(part), "{line:?} in {text}");
    }
    assert!(people[6].contains("(preset tei), 47 (built in); `sidecache check` lists them"), "{text}");
}
