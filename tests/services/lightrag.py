"""LightRAG's server, with a key, over llama.cpp: one model for answers and one for vectors."""

import pathlib

from checks import WORK, Checks, Counted, Model, Process, Sidecache, ask, free_port, python, upload, version, wait_until

KEY = {"X-API-Key": "secret"}
BUILT = {"query": "Who built the Eiffel Tower?", "mode": "naive"}
STORE = {"query": "Where does Redis keep its data?", "mode": "naive"}


def files(answer):
    told = answer.json()
    return sorted(reference["file_path"] for reference in told.get("data", told)["references"])


def stream_text(answer):
    return "".join(line.get("response", "") for line in answer.lines())


def main():
    model, vectors = Model(), Model("embeddings", "embeddings")
    models = Counted(model.port)
    port = free_port()
    tokens = pathlib.Path(python("lightrag")).parent.parent.glob(
        "lib/*/site-packages/litellm/litellm_core_utils/tokenizers"
    )
    service = Process(
        "service",
        [python("lightrag"), "-m", "lightrag.api.lightrag_server", "--host", "127.0.0.1", "--port", str(port)]
        + ["--working-dir", str(WORK / "store"), "--input-dir", str(WORK / "inputs")],
        port,
        env={
            "LIGHTRAG_API_KEY": KEY["X-API-Key"],
            "LLM_BINDING": "openai",
            "LLM_BINDING_HOST": f"http://127.0.0.1:{models.port}/v1",
            "LLM_BINDING_API_KEY": "none",
            "LLM_MODEL": "gemma",
            "OPENAI_LLM_MAX_TOKENS": "16",
            "OPENAI_LLM_TEMPERATURE": "0",
            "EMBEDDING_BINDING": "openai",
            "EMBEDDING_BINDING_HOST": f"http://127.0.0.1:{vectors.port}/v1",
            "EMBEDDING_BINDING_API_KEY": "none",
            "EMBEDDING_MODEL": "gemma",
            "EMBEDDING_DIM": "640",
            "COSINE_THRESHOLD": "0",
            # Its own cache of the model's answers would hide what is asked.
            "ENABLE_LLM_CACHE": "false",
            # Without the graph, which so small a model cannot make.
            "LIGHTRAG_PARSER": "txt:legacy-!",
            # The files that tokens are made with come from another package; else they are loaded from the network.
            "TIKTOKEN_CACHE_DIR": str(next(tokens)),
        },
        ready="/health",
    )
    proxy = Sidecache(service.port, "lightrag")
    proxy.headers = KEY

    def direct(method, path, data):
        return ask(service.port, method, path, data, headers=KEY)

    def indexed():
        state = ask(service.port, "GET", "/documents/pipeline_status", headers=KEY, note=False).json()
        return not (state["busy"] or state["pending_enqueues"] or state["scanning"] or state["destructive_busy"])

    def found():
        """The files that LightRAG itself finds now."""
        return files(direct("POST", "/query/data", STORE))

    def stored_again(question, path="/query"):
        """Asks until the answer is a HIT, and returns that one."""
        answers = []

        def hit():
            answers.append(proxy.ask("POST", path, question, note=False))
            return answers[-1].cache == "HIT"

        wait_until("a HIT", hit, 120)
        return answers[-1]

    with Checks(f"LightRAG {version('lightrag', 'lightrag-hku')}") as check:
        with check("documents changed", "an upload passes, and is indexed"):
            proxy.expect(
                "PASS", "POST", "/documents/upload", **upload("paris.txt", "Gustave Eiffel built the Eiffel Tower.")
            )
            wait_until(
                "paris.txt is indexed", lambda: "paris.txt" in files(direct("POST", "/query", BUILT)) and indexed()
            )
            stored_again(BUILT)

        with check("MISS and HIT", "a question as JSON"):
            question = {**BUILT, "query": "Who was Gustave Eiffel?"}
            before = models.count()
            first, _ = proxy.miss_hit("POST", "/query", question)
            assert first.json()["llm_generated"] is True and files(first) == ["paris.txt"], first.text
            assert models.count() - before == 1, f"the model was asked {models.count() - before} times, not once"
        with check("MISS and HIT", "what only streams ask for does not count, and all else does"):
            proxy.expect("HIT", "POST", "/query", {**question, "stream": True})
            proxy.expect("MISS", "POST", "/query", {**question, "top_k": 3})
            history = [{"role": "user", "content": "Hello"}]
            proxy.expect("MISS", "POST", "/query", {**question, "conversation_history": history})
        with check("MISS and HIT", "what retrieval finds"):
            first, _ = proxy.miss_hit("POST", "/query/data", BUILT)
            assert first.json()["data"]["references"], "no references"
        with check("MISS and HIT", "what is about this moment passes"):
            for path in ("/documents/pipeline_status", "/documents/status_counts", "/graph/label/list", "/api/tags"):
                for answer in proxy.never_hit("GET", path):
                    assert (answer.status, answer.cache) == (200, "PASS"), f"{path}: {answer.status} {answer.cache}"

        with check("streams", "JSON lines, twice"):
            first, _ = proxy.miss_hit("POST", "/query/stream", BUILT)
            assert first.headers["content-type"] == "application/x-ndjson", first.headers["content-type"]
            assert len(first.lines()) > 3, "not in pieces"
            assert stream_text(first) == direct("POST", "/query", BUILT).json()["response"], "another text"
        with check("streams", "with stream false it is one line"):
            first, _ = proxy.miss_hit("POST", "/query/stream", {**BUILT, "stream": False})
            assert len(first.lines()) == 1, "not one line"

        chat = {
            "model": "lightrag:latest",
            "messages": [{"role": "user", "content": "/naive Who built the Eiffel Tower?"}],
        }
        with check("both forms", "Ollama's chat that came as JSON is served as a stream, and the other way round"):
            first, _ = proxy.miss_hit("POST", "/api/chat", {**chat, "stream": False})
            made = proxy.expect("HIT", "POST", "/api/chat", {**chat, "stream": True})
            text = "".join(line["message"]["content"] for line in made.lines() if line.get("message"))
            assert text == first.json()["message"]["content"], "another text"
            chat["messages"][0]["content"] = "/naive Where is the Eiffel Tower?"
            first, _ = proxy.miss_hit("POST", "/api/chat", {**chat, "stream": True})
            text = "".join(line["message"]["content"] for line in first.lines() if line.get("message"))
            made = proxy.expect("HIT", "POST", "/api/chat", {**chat, "stream": False})
            assert text == made.json()["message"]["content"], "another text"
        with check("both forms", "Ollama's generate"):
            prompt = {"model": "lightrag:latest", "prompt": "The sea is"}
            first, _ = proxy.miss_hit("POST", "/api/generate", {**prompt, "stream": False})
            made = proxy.expect("HIT", "POST", "/api/generate", {**prompt, "stream": True})
            assert "".join(line["response"] for line in made.lines()) == first.json()["response"], "another text"

        # What retrieval finds is asked for here: it comes at once, while the change is still being worked on.
        with check("documents changed", "nothing from before an upload is stored while it is indexed"):
            stored_again(STORE, "/query/data")
            stored_again(STORE)
            long = "Redis keeps its data in memory. " * 60
            proxy.expect("PASS", "POST", "/documents/upload", **upload("redis.txt", long))
            before = proxy.never_hit("POST", "/query/data", STORE)
            print(f"        found right after the upload: {[files(answer) for answer in before]}")
            wait_until("redis.txt is indexed", lambda: "redis.txt" in found() and indexed())
            kept = stored_again(STORE, "/query/data")
            assert files(kept) == found() == ["paris.txt", "redis.txt"], f"a HIT that cites {files(kept)}"
            assert "redis.txt" in files(stored_again(STORE)), "a HIT from before the upload"
            proxy.miss_hit("POST", "/query/stream", STORE)
        with check("documents changed", "nothing from before a delete is stored, which goes on behind its answer"):
            page = direct("POST", "/documents/paginated", {"page": 1, "page_size": 10}).json()["documents"]
            gone = next(document["id"] for document in page if document["file_path"] == "redis.txt")
            answer = proxy.expect("PASS", "DELETE", "/documents/delete_document", {"doc_ids": [gone]})
            assert answer.json()["status"] == "deletion_started", answer.text
            before = proxy.never_hit("POST", "/query/data", STORE)
            print(f"        found right after the delete: {[files(answer) for answer in before]}")
            wait_until("redis.txt is gone", lambda: "redis.txt" not in found() and indexed())
            kept = stored_again(STORE, "/query/data")
            assert files(kept) == ["paris.txt"], f"a HIT that cites {files(kept)}"
            assert files(stored_again(STORE)) == ["paris.txt"], "a HIT from before the delete"
        with check("documents changed", "clearing LightRAG's cache ends answers"):
            proxy.expect("HIT", "POST", "/query", STORE)
            proxy.expect("PASS", "POST", "/documents/clear_cache", {})
            proxy.expect("MISS", "POST", "/query", STORE)
            proxy.expect("HIT", "POST", "/query", STORE)

        with check("errors", "with the model down, a 200 without an answer is not stored"):
            model.kill()
            down = {"query": "Is the model down?", "mode": "naive"}
            for answer in proxy.never_hit("POST", "/query", down):
                assert answer.status == 200 and answer.json()["llm_generated"] is False, answer.text
            for answer in proxy.never_hit("POST", "/query/stream", down):
                assert answer.status == 200, answer.status
            chat["messages"][0]["content"] = "/naive Is the model down?"
            for stream in (False, True):
                for answer in proxy.never_hit("POST", "/api/chat", {**chat, "stream": stream}):
                    assert answer.status in (200, 500), answer.status
            proxy.expect("HIT", "POST", "/query", STORE)
        with check("errors", "with the model back, the same questions get answers"):
            model.start()
            first, _ = proxy.miss_hit("POST", "/query", down)
            assert first.json()["llm_generated"] is True, first.text
            first, _ = proxy.miss_hit("POST", "/query/stream", down)
            assert len(first.lines()) > 1, first.text
            first, _ = proxy.miss_hit("POST", "/api/chat", {**chat, "stream": False})
            assert first.json()["message"]["content"] != "No response generated", first.text
        with check("errors", "what LightRAG refuses is not stored"):
            for answer in proxy.never_hit("POST", "/query", {**BUILT, "mode": "none"}):
                assert answer.status == 422, answer.status

        with check("sessions", "whoever has not the key gets no answer from the store"):
            proxy.expect("HIT", "POST", "/query", STORE)
            for key in (None, "wrong"):
                for answer in proxy.never_hit("POST", "/query", STORE, headers={"X-API-Key": key}):
                    assert answer.status in (401, 403), answer.status
            proxy.expect("HIT", "POST", "/query", STORE)
        with check("sessions", "a request that names a session is not answered from the store"):
            for answer in proxy.never_hit("POST", "/query", {**STORE, "session_id": "s1"}):
                assert answer.cache == "BYPASS", answer.cache


main()
