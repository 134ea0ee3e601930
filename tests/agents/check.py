"""Runs an agent's loop twice, against a model of its own: python3 check.py CLIENT

Without RECORD, sidecache is between the two, and the row says how many requests of the second run hit. With RECORD=1,
the client speaks to the model, and what it sends is written to recordings/CLIENT, without paths of this machine and
without the texts of the client's vendor. tests/agents.sh sets the rest:

    SIDECACHE  the binary
    CLIENTS    the folder in which the clients are installed
    WORK       a folder for this run
    ROW        the file that gets the client's row of the table
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import model

HERE = pathlib.Path(__file__).resolve().parent
CLIENTS = pathlib.Path(os.environ["CLIENTS"])
WORK = pathlib.Path(os.environ["WORK"])
WORKSPACE = WORK / "project"
HOME = WORK / "home"
QUESTION = "What do the notes in notes.txt say?"
NOTES = "The cache holds 42 entries."

CODEX = """
model = "gpt-5.1"
model_provider = "gateway"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.gateway]
name = "Gateway"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "GATEWAY_KEY"
supports_websockets = false
"""


def claude_code(url):
    program = CLIENTS / "claude-code/node_modules/.bin/claude"
    run([program, "-p", QUESTION, "--tools", "Read", "--model", "claude-sonnet-4-5"],
        ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY="sk-dummy")


def codex(url):
    (HOME / ".codex").mkdir()
    (HOME / ".codex/config.toml").write_text(CODEX.replace("{url}", url))
    program = CLIENTS / "codex/node_modules/@openai/codex/bin/codex.js"
    run(["node", program, "exec", "--skip-git-repo-check", QUESTION], GATEWAY_KEY="sk-dummy")


def openai_agents(url):
    for api in ["chat", "responses"]:
        run([CLIENTS / "openai-agents/bin/python", HERE / "loop.py", url, api])


def opencode(url):
    options = {"baseURL": f"{url}/v1", "apiKey": "sk-dummy"}
    gateway = {"npm": "@ai-sdk/openai-compatible", "name": "Gateway", "options": options, "models": {"m": {"name": "m"}}}
    config = {
        "provider": {"gateway": gateway}, "model": "gateway/m", "small_model": "gateway/m", "autoupdate": False,
        "share": "disabled", "tools": {"*": False, "read": True},
    }
    (HOME / ".config/opencode").mkdir(parents=True)
    (HOME / ".config/opencode/opencode.json").write_text(json.dumps(config))
    run([CLIENTS / "opencode/node_modules/.bin/opencode", "run", QUESTION])


LOOPS = {"claude-code": claude_code, "codex": codex, "openai-agents": openai_agents, "opencode": opencode}


def run(command, **environment):
    """Runs a client as somebody who has only the project and the credentials of the test."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(HOME), **environment}
    done = subprocess.run([str(word) for word in command], cwd=WORKSPACE, env=environment, timeout=180,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0 or model.ANSWER not in done.stdout:
        sys.exit(f"{command[0]} did not answer:\n{done.stdout[-2000:]}")


def loop(name, url):
    """One run of the client, in a home without a past."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    LOOPS[name](url)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def check(name, port):
    """Both runs through sidecache; what became of the requests of the second one."""
    config = WORK / "sidecache.toml"
    settings = HERE / "recordings" / name / "settings.toml"
    config.write_text(settings.read_text() if settings.exists() else "")
    listen, log = free_port(), WORK / "sidecache.jsonl"
    command = [os.environ["SIDECACHE"], "--config", config, "--upstream", f"http://127.0.0.1:{port}"]
    command += ["--listen", f"127.0.0.1:{listen}", "--admin-listen", "off", "--log-file", log]
    server = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", listen)) == 0:
                    break
            time.sleep(0.05)
        loop(name, f"http://127.0.0.1:{listen}")
        first = len(answers(log))
        loop(name, f"http://127.0.0.1:{listen}")
        # Lines are written a little later than answers.
        time.sleep(1)
    finally:
        server.terminate()
        server.wait()
    return [line["cache"].get("status") for line in answers(log)[first:]]


def answers(log):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["event_type"] == "http_response" and line["path"].startswith("/v1/")]


# What is written down.

def is_own(text):
    """Whether a text is no prose of the client's vendor."""
    of_test = QUESTION in text or NOTES in text or model.ANSWER in text
    return of_test or " " not in text or len(text) < 24 or text[0] == "{" or text.startswith("x-anthropic-billing-header")


def neutral(text):
    text = text.replace(str(WORKSPACE), "/home/user/project").replace(str(HOME), "/home/user").replace(str(WORK), "/home")
    return re.sub(r"\((?:Debian|Ubuntu|Linux)[^;)]*; [^)]*\)", "(Linux; x86_64)", text)


def brief(value, name=""):
    """The value with each foreign text as its length and hash: what differs stays different."""
    if isinstance(value, dict):
        if name in ("parameters", "input_schema", "schema"):
            return {"$comment": digest(neutral(json.dumps(value)))}
        return {inner_name: brief(inner, inner_name) for inner_name, inner in value.items()}
    if isinstance(value, list):
        return [brief(inner, name) for inner in value]
    if not isinstance(value, str):
        return value
    text = neutral(value)
    if is_own(text) and name != "description":
        return text
    return digest(text)


def digest(text):
    return f"[{len(text)} characters, {hashlib.sha256(text.encode()).hexdigest()[:12]}]"


UNWRITTEN = {"host", "content-length", "connection", "accept-encoding", "transfer-encoding"}


def write(exchanges, folder):
    folder.mkdir(parents=True)
    number = 0
    for exchange in exchanges:
        if not exchange.answer:
            continue
        number += 1
        body = exchange.body
        if body:
            body = json.dumps(brief(json.loads(body)), ensure_ascii=False, separators=(",", ":")).encode()
        headers = [(name, neutral(value)) for name, value in exchange.headers if name.lower() not in UNWRITTEN]
        head = "".join(f"{name}: {value}\n" for name, value in headers)
        (folder / f"{number:02}.request.http").write_bytes(f"{exchange.line}\n{head}\n".encode() + body)
        head = "".join(f"{name}: {value}\n" for name, value in exchange.answer_headers)
        answer = exchange.answer.replace(str(WORKSPACE).encode(), b"/home/user/project")
        (folder / f"{number:02}.response.http").write_bytes(f"HTTP/1.1 200 OK\n{head}\n".encode() + answer)


def main(name):
    WORKSPACE.mkdir(parents=True)
    (WORKSPACE / "notes.txt").write_text(NOTES + "\n")
    port, exchanges = model.serve(WORKSPACE)
    if os.environ.get("RECORD"):
        for run_name in ["first", "second"]:
            folder = HERE / "recordings" / name / run_name
            shutil.rmtree(folder, ignore_errors=True)
            exchanges.clear()
            loop(name, f"http://127.0.0.1:{port}")
            write(exchanges, folder)
        return
    found = check(name, port)
    hits = found.count("HIT")
    pathlib.Path(os.environ["ROW"]).write_text(f"| {name} | {len(found)} | {hits} |\n")
    if hits < len(found):
        sys.exit(f"{name}: {found}")


main(sys.argv[1])
