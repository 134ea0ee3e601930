"""Checks with the `anthropic` package that a message answered as JSON streams as the same message, and the other way.

    pip install anthropic
    python python_forms_anthropic.py PATH/TO/sidecache

Starts an upstream with canned answers and sidecache in front of it, both on free ports. Exits 1 on any difference.
"""

import json
import sys

import anthropic
from python_forms import pieces, plain, run, sse

CITATION = {
    "type": "char_location",
    "cited_text": "Paris.\u2028",
    "document_index": 0,
    "document_title": "Städte",
    "start_char_index": 0,
    "end_char_index": 6,
    "file_id": None,
}
RESULT = {
    "type": "web_search_result",
    "url": "https://example.com/",
    "title": "Example",
    "encrypted_content": "EqgfCioIARgBIiQ3YTAw",
    "page_age": None,
}

# Each case: the content, the reason to stop, and what usage says besides `input_tokens` and `output_tokens`.
CASES = {
    "text": ([{"type": "text", "text": "Café \"au\" lait\n\u0085😀 " * 700}], "end_turn", {}),
    "tools": (
        [
            {"type": "thinking", "thinking": "The user wants the weather.\n", "signature": "EqQBCgIYAhIM1gbcDa9GJw=="},
            {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"},
            {"type": "text", "text": "Let me look.", "citations": [CITATION, CITATION]},
            {
                "type": "tool_use",
                "id": "toolu_01",
                "name": "weather",
                "input": {"city": "Köln\u2028", "days": [1, 2.5, 1e-7], "deep": {"a": None, "b": {}}},
            },
            {"type": "tool_use", "id": "toolu_02", "name": "now", "input": {}},
        ],
        "tool_use",
        {"cache_creation_input_tokens": 7, "cache_read_input_tokens": 11, "service_tier": "standard"},
    ),
    "search": (
        [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "Paris"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [RESULT]},
            {"type": "text", "text": "Here it is.", "citations": []},
        ],
        "end_turn",
        {"server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0}},
    ),
}


def message(case):
    content, stop_reason, usage = CASES[case]
    return {
        "id": f"msg_{case}",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 75, **usage},
    }


def deltas(block):
    """A block as the API begins it, and the deltas that follow."""
    match block["type"]:
        case "text":
            told = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            told += [{"type": "citations_delta", "citation": citation} for citation in block.get("citations", [])]
            return {**block, "text": "", **({"citations": []} if "citations" in block else {})}, told
        case "thinking":
            told = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            told.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, told
        case "tool_use" | "server_tool_use":
            text = json.dumps(block["input"]) if block["input"] else ""
            told = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(text)]]
            return {**block, "input": {}}, told
    return block, []


def events(whole):
    usage = {name: count for name, count in whole["usage"].items() if name != "server_tool_use"}
    start = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(whole["content"]):
        begun, told = deltas(block)
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        yield {"type": "ping"}
        for delta in told:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": whole["usage"]}
    yield {"type": "message_stop"}


def reply(_path, body):
    whole = message(body["messages"][0]["content"].split(",")[0])
    if body.get("stream"):
        return "text/event-stream; charset=utf-8", sse(events(whole))
    return "application/json", [json.dumps(whole)]


def question(base_url, case, mark):
    client = anthropic.Anthropic(base_url=base_url, api_key="test", max_retries=0)
    messages = [{"role": "user", "content": f"{case}, {mark}"}]
    return client, {"model": "claude-test", "max_tokens": 1000, "messages": messages}


def ask_json(base_url, case, mark):
    client, request = question(base_url, case, mark)
    raw = client.messages.with_raw_response.create(**request)
    return plain(raw.parse()), raw.headers.get("x-cache")


def ask_stream(base_url, case, mark):
    client, request = question(base_url, case, mark)
    with client.messages.stream(**request) as stream:
        return plain(stream.get_final_message()), stream.response.headers.get("x-cache")


if __name__ == "__main__":
    sys.exit(run("anthropic", reply, CASES, ask_json, ask_stream))
