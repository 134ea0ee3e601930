"""LangServe with three chains (apps/langserve_app.py) over llama.cpp."""

from checks import HERE, Checks, Counted, Model, Process, Sidecache, ask, free_port, preset_text, python, version

FRANCE = {"input": {"question": "What is the capital of France?"}}
SPAIN = {"input": {"question": "What is the capital of Spain?"}}


def output(answer):
    return answer.json()["output"]


def text(answer):
    """What the stream's events say, put together."""
    return "".join(
        data.strip('"').encode().decode("unicode_escape") for name, data in answer.events() if name == "data"
    )


def events(answer):
    return [event for event in answer.events() if event[0] != "metadata"]


def main():
    model = Model()
    models = Counted(model.port)
    port = free_port()
    service = Process(
        "service",
        [
            python("langserve"),
            "-m",
            "uvicorn",
            "langserve_app:app",
            "--app-dir",
            str(HERE / "apps"),
            "--port",
            str(port),
        ],
        port,
        env={"OPENAI_BASE_URL": f"http://127.0.0.1:{models.port}/v1", "OPENAI_API_KEY": "none"},
        ready="/openapi.json",
    )
    proxy = Sidecache(service.port, "langserve")
    with Checks(f"LangServe {version('langserve', 'langserve')}") as check:
        with check("MISS and HIT", "invoke"):
            before = models.count()
            first, second = proxy.miss_hit("POST", "/rag/invoke", FRANCE, same=output)
            assert output(first).strip(), "no output"
            assert models.count() - before == 1, f"the model was asked {models.count() - before} times, not once"
            assert first.json()["metadata"]["run_id"], "the caller's own answer has no run id"
            assert second.json()["metadata"]["run_id"] is None, "the hit has the first caller's run id"
        with check("MISS and HIT", "invoke of the model alone"):
            first, _ = proxy.miss_hit("POST", "/llm/invoke", {"input": "Hello"}, same=output)
            assert output(first)["content"], "no content"
        with check("MISS and HIT", "what names or describes the run does not count, and all else does"):
            config = {"tags": ["a"], "metadata": {"trace": "1"}, "run_name": "first"}
            proxy.expect("MISS", "POST", "/rag/invoke", {**FRANCE, "config": config})
            config = {"tags": ["b"], "metadata": {"trace": "2"}, "run_name": "second"}
            proxy.expect("HIT", "POST", "/rag/invoke", {**FRANCE, "config": config})
            proxy.expect("MISS", "POST", "/rag/invoke", {**FRANCE, "config": {"configurable": {"x": 1}}})
            proxy.expect("MISS", "POST", "/rag/invoke", SPAIN)
        with check("MISS and HIT", "schemas pass"):
            for answer in proxy.never_hit("GET", "/rag/input_schema"):
                assert (answer.status, answer.cache) == (200, "PASS"), f"{answer.status} {answer.cache}"

        divided = "batch_answer" in preset_text("langserve")
        if not divided:
            with check("batch", "passes, whole"):
                for answer in proxy.never_hit("POST", "/rag/batch", {"inputs": [FRANCE["input"], SPAIN["input"]]}):
                    assert (answer.status, answer.cache) == (200, "PASS"), f"{answer.status} {answer.cache}"
        else:
            with check("batch", "each input is an entry of its own"):
                both = {"inputs": [FRANCE["input"], SPAIN["input"]]}
                first, _ = proxy.miss_hit("POST", "/rag/batch", both, same=output)
                direct = ask(service.port, "POST", "/rag/batch", both)
                assert output(first) == output(direct), "another output"
                before = models.count()
                other = {"inputs": [{"question": "What is ice?"}, SPAIN["input"]]}
                mixed = proxy.expect("PARTIAL", "POST", "/rag/batch", other)
                assert models.count() - before == 1, f"the model was asked {models.count() - before} times, not once"
                assert output(mixed) == output(ask(service.port, "POST", "/rag/batch", other)), "another output"
                swapped = proxy.expect("HIT", "POST", "/rag/batch", {"inputs": [SPAIN["input"], FRANCE["input"]]})
                assert output(swapped) == output(direct)[::-1], "the outputs are not in the order of the inputs"
            with check("batch", "the run ids are the first caller's alone"):
                both = {"inputs": [{"question": "What is snow?"}, {"question": "What is rain?"}]}
                first = proxy.expect("MISS", "POST", "/rag/batch", both)
                assert all(first.json()["metadata"]["run_ids"]), first.text
                second = proxy.expect("HIT", "POST", "/rag/batch", both)
                for run in first.json()["metadata"]["run_ids"]:
                    assert run not in second.text, "the hit has the first caller's run id"

        with check("streams", "events, twice, with the run id for its own caller alone"):
            first, second = proxy.miss_hit("POST", "/rag/stream", FRANCE, same=events)
            assert first.events()[-1][0] == "end", first.events()[-1]
            assert text(first) == output(proxy.expect("HIT", "POST", "/rag/invoke", FRANCE)), text(first)
            runs = [answer.data()[0]["run_id"] for answer in (first, second)]
            assert runs[0] and runs[1] is None, f"{runs}"
        with check("streams", "streams of a run's steps pass"):
            for path in ("/rag/stream_log", "/rag/stream_events"):
                for answer in proxy.never_hit("POST", path, FRANCE):
                    assert (answer.status, answer.cache) == (200, "PASS"), f"{path}: {answer.status} {answer.cache}"

        with check("sessions", "a turn is asked each time"):
            turn = {"input": {"question": "Next"}, "config": {"configurable": {"session_id": "s1"}}}
            told = [output(answer) for answer in proxy.never_hit("POST", "/talk/invoke", turn, times=3)]
            assert told == ["Next: turn 1", "Next: turn 2", "Next: turn 3"], f"{told}"
            for path, body in (
                ("/talk/stream", turn),
                ("/talk/batch", {"inputs": [turn["input"]], "config": turn["config"]}),
            ):
                proxy.never_hit("POST", path, body)
        with check("sessions", "callers with different keys do not share"):
            for key in ("a", "b"):
                headers = {"Authorization": f"Bearer {key}"}
                proxy.miss_hit("POST", "/rag/invoke", FRANCE, headers=headers, same=output)

        with check("errors", "with the model down, nothing is stored: neither a 500 nor a stream with an error"):
            model.kill()
            down = {"question": "Is it down?"}
            for path, body in (("/rag/invoke", {"input": down}), ("/rag/batch", {"inputs": [down]})):
                for answer in proxy.never_hit("POST", path, body):
                    assert answer.status == 500, answer.status
            for answer in proxy.never_hit("POST", "/rag/stream", {"input": down}):
                assert "error" in [name for name, _ in answer.events()] or not answer.whole, answer.text
            answer = proxy.ask("POST", "/rag/batch", {"inputs": [FRANCE["input"], down]})
            assert answer.status == 500, f"a batch with a part that fails: {answer.status}"
            proxy.expect("HIT", "POST", "/rag/invoke", FRANCE)
        with check("errors", "with the model back, the same questions get answers"):
            model.start()
            proxy.miss_hit("POST", "/rag/invoke", {"input": down}, same=output)
            proxy.miss_hit("POST", "/rag/stream", {"input": down}, same=events)
            if divided:
                proxy.miss_hit("POST", "/rag/batch", {"inputs": [down]}, same=output)
        with check("errors", "what LangServe refuses is not stored"):
            for answer in proxy.never_hit("POST", "/rag/invoke", {"input": 7}):
                assert answer.status in (422, 500), answer.status


main()
