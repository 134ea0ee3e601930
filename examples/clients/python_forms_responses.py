"""Checks with the `openai` package that a response answered as JSON streams as the same response, and the other way.

    pip install openai
    python python_forms_responses.py PATH/TO/sidecache

Starts an upstream with canned answers and sidecache in front of it, both on free ports. Exits 1 on any difference.
"""

import json
import sys

import openai
from python_forms import pieces, plain, run, sse

TOKENS = ["Par", "is", ".", "\u2028"]
LOGPROBS = [{"token": token, "bytes": list(token.encode()), "logprob": -0.25, "top_logprobs": []} for token in TOKENS]
ANNOTATION = {"type": "url_citation", "start_index": 0, "end_index": 5, "url": "https://example.com/", "title": "Ä"}


def said(text, annotations=(), logprobs=()):
    part = {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": list(logprobs)}
    return {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}


REFUSED = {**said(""), "id": "msg_2", "content": [{"type": "refusal", "refusal": "I had rather not."}]}
REASONED = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "First this."}, {"type": "summary_text", "text": "Then that."}],
    "encrypted_content": "gAAAAABo",
}
THOUGHT = {**REASONED, "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm, hm."}]}
CALLS = [
    {
        "id": f"fc_{at}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{at}",
        "name": "weather",
        "arguments": arguments,
    }
    for at, arguments in enumerate(['{"city": "Köln", "days": [1, 2.50]}', "{}"])
]
CUSTOM = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_9", "name": "sql", "input": "SELECT 1;\n"}
SEARCHES = [
    {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "Paris"}},
    {"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["Paris"], "results": None},
]

# Each case: the output, and why it is incomplete.
CASES = {
    "text": ([said("Café \"au\" lait\n\u0085😀 " * 700)], None),
    "logprobs": ([said("".join(TOKENS), [ANNOTATION], LOGPROBS)], None),
    "tools": ([REASONED, *CALLS, CUSTOM], None),
    "search": ([THOUGHT, *SEARCHES, said("Here it is.", [ANNOTATION])], None),
    "refusal": ([REFUSED], None),
    "incomplete": ([{**said("Half of it"), "status": "incomplete"}], "max_output_tokens"),
}


def response(case):
    output, why = CASES[case]
    return {
        "id": f"resp_{case}",
        "object": "response",
        "created_at": 1741476542,
        "status": "incomplete" if why else "completed",
        "error": None,
        "incomplete_details": {"reason": why} if why else None,
        "instructions": None,
        "max_output_tokens": 1000,
        "model": "gpt-test",
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 123,
        },
        "metadata": {},
    }


def item_events(index, item):
    """The events of an item, in the order the API sends them."""
    emptied = {"content": [], "summary": [], "arguments": "", "input": "", "status": "in_progress"}
    added = {name: emptied.get(name, value) for name, value in item.items()}
    at = {"item_id": item["id"], "output_index": index}

    def text_events(stem, name, text, place):
        for piece in pieces(text):
            yield {"type": f"response.{stem}.delta", **place, "delta": piece, "obfuscation": "x" * 9}
        yield {"type": f"response.{stem}.done", **place, name: text}

    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    for number, part in enumerate(item.get("content") or []):
        place = {**at, "content_index": number}
        begun = {"text": "", "refusal": "", "annotations": [], "logprobs": []}
        begun = {name: begun.get(name, value) for name, value in part.items()}
        yield {"type": "response.content_part.added", **place, "part": begun}
        if part["type"] == "output_text":
            told = [(one["token"], [one]) for one in part["logprobs"]] or [(one, []) for one in pieces(part["text"])]
            for piece, logprobs in told:
                yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": logprobs}
            for count, annotation in enumerate(part["annotations"]):
                added = {"annotation_index": count, "annotation": annotation}
                yield {"type": "response.output_text.annotation.added", **place, **added}
            done = {"text": part["text"], "logprobs": part["logprobs"]}
            yield {"type": "response.output_text.done", **place, **done}
        else:
            stem, name = ("refusal", "refusal") if part["type"] == "refusal" else ("reasoning_text", "text")
            yield from text_events(stem, name, part[name], place)
        yield {"type": "response.content_part.done", **place, "part": part}
    for number, part in enumerate(item.get("summary") or []):
        place = {**at, "summary_index": number}
        yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
        yield from text_events("reasoning_summary_text", "text", part["text"], place)
        yield {"type": "response.reasoning_summary_part.done", **place, "part": part}
    if "arguments" in item:
        yield from text_events("function_call_arguments", "arguments", item["arguments"], at)
    if "input" in item:
        yield from text_events("custom_tool_call_input", "input", item["input"], at)
    if item["type"].endswith("_search_call"):
        for step in ("in_progress", "searching", "completed"):
            yield {"type": f"response.{item['type']}.{step}", **at}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def events(whole):
    begun = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    told = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    for index, item in enumerate(whole["output"]):
        told += item_events(index, item)
    told.append({"type": f"response.{whole['status']}", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(told)]


def reply(_path, body):
    whole = response(body["input"].split(",")[0])
    if body.get("stream"):
        return "text/event-stream; charset=utf-8", sse(events(whole))
    return "application/json", [json.dumps(whole)]


def question(base_url, case, mark):
    headers = []
    hooks = {"response": [lambda response: headers.append(response.headers)]}
    http = openai.DefaultHttpxClient(event_hooks=hooks)
    client = openai.OpenAI(base_url=f"{base_url}/v1", api_key="test", max_retries=0, http_client=http)
    return client, headers, {"model": "gpt-test", "input": f"{case}, {mark}", "max_output_tokens": 1000}


def ask_json(base_url, case, mark):
    client, headers, request = question(base_url, case, mark)
    return plain(client.responses.create(**request)), headers[0].get("x-cache")


def ask_stream(base_url, case, mark):
    """The response at the stream's end; and what the events before it say must be the same."""
    client, headers, request = question(base_url, case, mark)
    items, texts, end = [], {}, None
    with client.responses.stream(**request) as stream:
        for number, event in enumerate(stream):
            assert event.sequence_number == number
            match event.type:
                case "response.output_item.done":
                    items.append(plain(event.item))
                case "response.output_text.delta":
                    texts[event.output_index] = texts.get(event.output_index, "") + event.delta
                    assert event.snapshot == texts[event.output_index]
                case "response.function_call_arguments.delta":
                    texts[event.output_index] = texts.get(event.output_index, "") + event.delta
                case "response.completed" | "response.incomplete":
                    end = plain(event.response)
    drop = ("parsed", "parsed_arguments")
    end = json.loads(json.dumps(end), object_hook=lambda o: {k: v for k, v in o.items() if k not in drop})
    assert items == end["output"], (items, end["output"])
    for index, text in texts.items():
        item = end["output"][index]
        assert text == (item["arguments"] if "arguments" in item else item["content"][0]["text"])
    return end, headers[0].get("x-cache")


if __name__ == "__main__":
    sys.exit(run("responses", reply, CASES, ask_json, ask_stream))
