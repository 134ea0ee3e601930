"""A model service for the loops of agents.

It speaks Anthropic's Messages and OpenAI's Chat Completions and Responses, streams and documents. It answers the first
question of a loop with a call of a tool, and what comes with that tool's result with a text. The same question gets the
same answer, ids included, as it does from a cache. It keeps what it was sent and what it answered.
"""

import dataclasses
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = "The notes say that the cache holds 42 entries."
# The tools that read a file in the clients, each with its arguments. The first one that a request offers is called.
CALLS = {
    "Read": {"file_path": "{folder}/notes.txt"},
    "read": {"filePath": "{folder}/notes.txt"},
    "read_notes": {"name": "notes.txt"},
    "exec_command": {"cmd": "cat notes.txt"},
    "shell_command": {"command": "cat notes.txt"},
    "shell": {"command": ["cat", "notes.txt"]},
}


@dataclasses.dataclass
class Exchange:
    line: str
    headers: list
    body: bytes
    answer_headers: list = dataclasses.field(default_factory=list)
    answer: bytes = b""


def identity(prefix, body):
    """An id that depends on what was asked, and not on the session that asked it."""
    asked = [body["model"], *texts(body.get("messages")), *texts(body.get("input"))]
    return prefix + hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]


def texts(value, name=None):
    """The texts that a person, a model or a tool has said."""
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in texts(inner, name)]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner, name)]
    return [value] if name in ("text", "content", "output", "arguments") and isinstance(value, str) else []


def call_for(body, names, folder):
    for name, arguments in CALLS.items():
        if name in names:
            return name, json.loads(json.dumps(arguments).replace("{folder}", folder))
    return None


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    workspace = ""
    exchanges = []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.note(b"")
        self.document({"object": "list", "data": [], "models": [], "has_more": False})

    def do_HEAD(self):
        self.note(b"")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        raw = self.read_body()
        self.note(raw)
        try:
            body = json.loads(raw)
        except ValueError:
            return self.document({"error": {"message": "no JSON"}}, 400)
        path = self.path.split("?")[0]
        if path.endswith("/count_tokens"):
            self.document({"input_tokens": 42})
        elif path.endswith("/messages"):
            self.answer_messages(body)
        elif path.endswith("/responses"):
            self.answer_responses(body)
        elif path.endswith("/chat/completions"):
            self.answer_chat(body)
        else:
            self.document({"error": {"message": "no such page"}}, 404)

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def note(self, body):
        self.exchange = Exchange(f"{self.command} {self.path}", self.headers.items(), body)
        self.exchanges.append(self.exchange)

    def document(self, answer, status=200):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.exchange.answer_headers = [("Content-Type", "application/json")]
        self.exchange.answer = body

    def events(self, events, named=True):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            data = event if isinstance(event, str) else json.dumps(event)
            name = f"event: {event['type']}\n" if named else ""
            text = f"{name}data: {data}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            self.exchange.answer += text
        self.wfile.write(b"0\r\n\r\n")
        self.exchange.answer_headers = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")]

    # Anthropic's Messages.

    def answer_messages(self, body):
        offered = {tool.get("name") for tool in body.get("tools", [])}
        call = call_for(body, offered, self.workspace)
        has_result = '"tool_result"' in json.dumps(body["messages"])
        usage = {"input_tokens": 20, "output_tokens": 10}
        if call and not has_result:
            name, arguments = call
            block = {"type": "tool_use", "id": identity("toolu_", body), "name": name, "input": arguments}
            reason = "tool_use"
        else:
            wants_json = "format" in (body.get("output_config") or {})
            text = json.dumps({"title": "Notes"}) if wants_json else ANSWER
            block, reason = {"type": "text", "text": text}, "end_turn"
        message = {
            "id": identity("msg_", body), "type": "message", "role": "assistant", "model": body["model"],
            "content": [block], "stop_reason": reason, "stop_sequence": None, "usage": usage,
        }
        if not body.get("stream"):
            return self.document(message)
        if block["type"] == "text":
            empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            empty = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        start = {**message, "content": [], "stop_reason": None, "usage": {"input_tokens": 20, "output_tokens": 1}}
        self.events([
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": empty},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 10}},
            {"type": "message_stop"},
        ])

    # OpenAI's Responses.

    def answer_responses(self, body):
        offered = {tool.get("name") for tool in body.get("tools", [])}
        call = call_for(body, offered, self.workspace)
        has_result = '"function_call_output"' in json.dumps(body["input"])
        if call and not has_result:
            name, arguments = call
            item = {
                "type": "function_call", "id": identity("fc_", body), "call_id": identity("call_", body),
                "name": name, "arguments": json.dumps(arguments), "status": "completed",
            }
        else:
            text = {"type": "output_text", "text": ANSWER, "annotations": []}
            item = {
                "type": "message", "id": identity("msg_", body), "role": "assistant", "status": "completed",
                "content": [text],
            }
        response = {
            "id": identity("resp_", body), "object": "response", "created_at": 1764572400, "status": "completed",
            "model": body["model"], "output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "temperature": 1.0,
            "top_p": 1.0,
            "usage": {
                "input_tokens": 20, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 10,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 30,
            },
        }
        if not body.get("stream"):
            return self.document(response)
        begun = {**response, "status": "in_progress", "output": [], "usage": None}
        events = [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
        ]
        place = {"item_id": item["id"], "output_index": 0}
        if item["type"] == "message":
            part, place = item["content"][0], {**place, "content_index": 0}
            events += [
                {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
                {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
                {"type": "response.output_text.delta", **place, "delta": ANSWER, "logprobs": []},
                {"type": "response.output_text.done", **place, "text": ANSWER, "logprobs": []},
                {"type": "response.content_part.done", **place, "part": part},
            ]
        else:
            arguments = item["arguments"]
            events += [
                {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress", "arguments": ""}},
                {"type": "response.function_call_arguments.delta", **place, "delta": arguments},
                {"type": "response.function_call_arguments.done", **place, "arguments": arguments, "name": item["name"]},
            ]
        events += [
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": response},
        ]
        self.events([{**event, "sequence_number": number} for number, event in enumerate(events)])

    # OpenAI's Chat Completions.

    def answer_chat(self, body):
        offered = {tool.get("function", {}).get("name") for tool in body.get("tools", [])}
        call = call_for(body, offered, self.workspace)
        has_result = any(message.get("role") == "tool" for message in body["messages"])
        if call and not has_result:
            name, arguments = call
            function = {"name": name, "arguments": json.dumps(arguments)}
            calls = [{"id": identity("call_", body), "type": "function", "function": function}]
            message, reason = {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"
        else:
            message, reason = {"role": "assistant", "content": ANSWER}, "stop"
        head = {"id": identity("chatcmpl-", body), "created": 1764572400, "model": body["model"]}
        usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            return self.document({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        delta = dict(message)
        if calls := delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": 0, **calls[0]}]
        head["object"] = "chat.completion.chunk"
        events = [
            {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
            {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        ]
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append({**head, "choices": [], "usage": usage})
        self.events([*events, "[DONE]"], named=False)


def serve(workspace):
    """Serves on a free port, in a thread of its own; its port, and the list that gets the exchanges."""
    Model.workspace, Model.exchanges = str(workspace), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1], Model.exchanges
