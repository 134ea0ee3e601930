"""Hayhooks with five Haystack pipelines (apps/hayhooks) over llama.cpp."""

import shutil

from checks import HERE, WORK, Checks, Counted, Model, Process, Sidecache, ask, free_port, program, upload, version

APP = HERE / "apps" / "hayhooks"
FRANCE = {"query": "What is the capital of France?"}
STORE = {"query": "Where does Redis keep its data?"}


def chat(question, **more):
    return {"model": "rag", "messages": [{"role": "user", "content": question}], **more}


def main():
    model = Model()
    models = Counted(model.port)
    # A copy: what is undeployed, Hayhooks deletes.
    pipelines = shutil.copytree(APP / "pipelines", WORK / "pipelines")
    port = free_port()
    service = Process(
        "service",
        [program("hayhooks", "hayhooks"), "run", "--host", "127.0.0.1", "--port", str(port)],
        port,
        env={
            "HAYHOOKS_PIPELINES_DIR": str(pipelines),
            "HAYHOOKS_ADDITIONAL_PYTHON_PATH": str(APP),
            # In parallel, Hayhooks 2.1.0 now and then leaves one out.
            "HAYHOOKS_STARTUP_DEPLOY_STRATEGY": "sequential",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{models.port}/v1",
            "OPENAI_API_KEY": "none",
            "HAYSTACK_TELEMETRY_ENABLED": "false",
            "HOME": str(WORK),
        },
        ready="/status",
    )
    proxy = Sidecache(service.port, "hayhooks")
    deployed = ask(service.port, "GET", "/status").json()["pipelines"]
    assert len(deployed) == 5, f"only {deployed} are there"
    with Checks(f"Hayhooks {version('hayhooks', 'hayhooks')} (Haystack {version('hayhooks', 'haystack-ai')})") as check:
        with check("MISS and HIT", "a run as JSON"):
            before = models.count()
            first, _ = proxy.miss_hit("POST", "/rag/run", FRANCE)
            assert first.json()["result"]["documents"][0]["id"] == "paris", first.text
            assert first.json()["result"]["answer"].strip(), "no answer"
            assert models.count() - before == 1, f"the model was asked {models.count() - before} times, not once"
        with check("MISS and HIT", "another question, and another pipeline, are others"):
            proxy.expect("MISS", "POST", "/rag/run", STORE)
            proxy.expect("MISS", "POST", "/streamed/run", STORE)
        with check("MISS and HIT", "what is about this moment passes"):
            for path in ("/status", "/v1/models"):
                for answer in proxy.never_hit("GET", path):
                    assert (answer.status, answer.cache) == (200, "PASS"), f"{path}: {answer.status} {answer.cache}"

        with check("streams", "chunks of plain text, twice"):
            first, _ = proxy.miss_hit("POST", "/streamed/run", FRANCE)
            assert first.headers["content-type"].startswith("text/plain"), first.headers["content-type"]
            plain = proxy.expect("HIT", "POST", "/rag/run", FRANCE).json()["result"]["answer"]
            assert first.text == plain, f"{first.text!r}, not {plain!r}"
        with check("streams", "server-sent events, twice"):
            first, _ = proxy.miss_hit("POST", "/events/run", FRANCE)
            assert first.headers["content-type"].startswith("text/event-stream"), first.headers["content-type"]
            assert len(first.events()) > 2, "not in pieces"

        with check("both forms", "a chat that came as JSON, and the stream"):
            plain, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat(FRANCE["query"]))
            text = plain.json()["choices"][0]["message"]["content"]
            # Asked for again, whichever form it is made from: the text must be the service's.
            made = proxy.ask("POST", "/v1/chat/completions", chat(FRANCE["query"], stream=True))
            streamed = "".join(c["delta"].get("content") or "" for e in made.data() for c in e["choices"] if c["delta"])
            assert streamed == text, f"{streamed!r}, not {text!r}"
            assert made.cache == "HIT", f"X-Cache {made.cache}, not HIT"
        with check("both forms", "a chat that came as a stream, twice, and the JSON"):
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat(STORE["query"], stream=True))
            streamed = "".join(
                c["delta"].get("content") or "" for e in first.data() for c in e["choices"] if c["delta"]
            )
            made = proxy.ask("POST", "/v1/chat/completions", chat(STORE["query"]))
            assert made.json()["choices"][0]["message"]["content"] == streamed, made.text
            # The stream told no usage, which JSON has: so the service is asked.
            assert made.cache == "MISS", f"X-Cache {made.cache}, not MISS"
            proxy.expect("HIT", "POST", "/v1/chat/completions", chat(STORE["query"]))
            proxy.expect("HIT", "POST", "/v1/chat/completions", chat(STORE["query"], stream=True))

        def ended(what):
            """All answers are asked for again, and then stored again."""
            for path, body in (("/rag/run", STORE), ("/streamed/run", STORE), ("/v1/chat/completions", chat("Hello"))):
                answer = proxy.ask("POST", path, body)
                assert answer.cache == "MISS", f"{path} after {what}: X-Cache {answer.cache}, not MISS"
                proxy.expect("HIT", "POST", path, body)

        with check("documents changed", "a run that is no question ends answers"):
            proxy.miss_hit("POST", "/v1/chat/completions", chat("Hello"))
            proxy.expect("PASS", "POST", "/index/run", {"name": "redis", "text": "Redis keeps its data on the moon."})
            answer = proxy.expect("MISS", "POST", "/rag/run", STORE)
            assert "moon" in answer.json()["result"]["documents"][0]["content"], answer.text
            proxy.expect("MISS", "POST", "/streamed/run", STORE)
            proxy.expect("MISS", "POST", "/v1/chat/completions", chat("Hello"))
        with check("documents changed", "an upload passes, and ends answers"):
            answer = proxy.expect("PASS", "POST", "/upload/run", **upload("redis", "Redis keeps its data in a drawer.", "files"))
            answer = proxy.expect("MISS", "POST", "/rag/run", STORE)
            assert "drawer" in answer.json()["result"]["documents"][0]["content"], answer.text
            proxy.expect("MISS", "POST", "/streamed/run", STORE)
            proxy.expect("MISS", "POST", "/v1/chat/completions", chat("Hello"))
        with check("documents changed", "another pipeline under the same name ends answers"):
            proxy.expect("PASS", "POST", "/undeploy/events")
            ended("undeploy")
            code = (APP / "pipelines" / "streamed" / "pipeline_wrapper.py").read_text()
            files = {"name": "added", "files": {"pipeline_wrapper.py": code}, "save_files": False}
            proxy.expect("PASS", "POST", "/deploy_files", files)
            ended("deploy_files")
            proxy.miss_hit("POST", "/added/run", FRANCE)

        with check(
            "errors", "with the model down, nothing is stored: neither the 500 nor streams that are cut or empty"
        ):
            model.kill()
            for path, body in (
                ("/rag/run", {"query": "Is it down?"}),
                ("/streamed/run", {"query": "Is it down?"}),
                ("/v1/chat/completions", chat("Is it down?")),
                ("/v1/chat/completions", chat("Is it down?", stream=True)),
            ):
                for answer in proxy.never_hit("POST", path, body):
                    assert answer.status >= 500 or not answer.whole or "rror" in answer.text, (
                        f"{path}: {answer.status} {answer.text!r}"
                    )
            proxy.expect("HIT", "POST", "/rag/run", STORE)
        with check("errors", "with the model back, the same questions get answers"):
            model.start()
            for path in ("/rag/run", "/streamed/run"):
                proxy.miss_hit("POST", path, {"query": "Is it down?"})
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("Is it down?", stream=True))
            assert any(c["finish_reason"] == "stop" for e in first.data() for c in e["choices"]), first.text
        with check("errors", "what Hayhooks refuses is not stored"):
            for answer in proxy.never_hit("POST", "/rag/run", {"query": {"a": 1}}):
                assert answer.status == 422, answer.status
            for answer in proxy.never_hit("POST", "/nothing/run", FRANCE):
                assert answer.status == 404, answer.status

        with check("sessions", "callers with different keys do not share"):
            for key in ("a", "b"):
                proxy.miss_hit("POST", "/rag/run", STORE, headers={"Authorization": f"Bearer {key}"})
        with check("sessions", "a run that names a session is not answered from the store"):
            for answer in proxy.never_hit("POST", "/rag/run", {**STORE, "session_id": "s1"}):
                assert answer.cache == "BYPASS", answer.cache
            for answer in proxy.never_hit("POST", "/v1/chat/completions", chat("Hello", chat_id="c1")):
                assert answer.cache == "BYPASS", answer.cache


main()
