"""Checks with the `cohere`, `google-genai` and `openai` packages that what sidecache puts together of parts is what the
service says: each question is asked of the service alone and through sidecache, with some of its inputs asked before.

    pip install cohere google-genai openai
    python python_items.py PATH/TO/sidecache

Starts an upstream that computes its answers and sidecache in front of it, both on free ports. Exits 1 on any difference.
"""

import contextlib
import hashlib
import json
import pathlib
import sys
import tempfile

import cohere
import openai
from google import genai
from google.genai import types
from python_forms import Upstream, plain, sidecache

ROUTE = """
[[route]]
match = "POST /v2/rerank"
kind = "rerank"
per_item = true
"""


def numbers(*said):
    return list(hashlib.sha256(json.dumps(said).encode()).digest())


def rerank(body):
    scored = [
        {"index": at, "relevance_score": numbers(body["query"], text)[0] / 256} for at, text in enumerate(body["documents"])
    ]
    scored.sort(key=lambda result: -result["relevance_score"])
    return {"id": "rank", "results": scored[: body.get("top_n")], "meta": {"billed_units": {"search_units": 1}}}


def embed(body):
    bytes_of = [numbers(body["input_type"], text) for text in body["texts"]]
    lists = {"float": [[number / 7 for number in own[:4]] for own in bytes_of], "int8": [own[:4] for own in bytes_of]}
    kinds = body.get("embedding_types") or ["float"]
    return {
        "id": "embed",
        "embeddings": {kind: lists[kind] for kind in kinds},
        "texts": body["texts"],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": len(body["texts"])}},
        "response_type": "embeddings_by_type",
    }


def vectors(body):
    texts = [request["content"]["parts"][0]["text"] for request in body["requests"]]
    return {"embeddings": [{"values": [number / 9 for number in numbers(text)[:4]]} for text in texts]}


def moderation(body):
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    results = [{"flagged": numbers(text)[0] > 127, "categories": {}, "category_scores": {}} for text in texts]
    return {"id": "modr", "model": "m", "results": results}


def reply(path, body):
    known = {"/v2/rerank": rerank, "/v2/embed": embed, "/v1/moderations": moderation}
    return "application/json", [json.dumps(known.get(path, vectors)(body))]


def ask_rerank(url, texts):
    answer = cohere.ClientV2("key", base_url=url).rerank(model="r", query="plums", documents=texts, top_n=3)
    return [(result.index, result.relevance_score) for result in answer.results]


def ask_embed(url, texts):
    client = cohere.ClientV2("key", base_url=url)
    answer = client.embed(model="e", input_type="search_query", embedding_types=["float", "int8"], texts=texts)
    return plain(answer.embeddings), answer.texts


def ask_gemini(url, texts):
    client = genai.Client(api_key="key", http_options=types.HttpOptions(base_url=url))
    return [plain(vector) for vector in client.models.embed_content(model="e", contents=texts).embeddings]


def ask_moderation(url, texts):
    client = openai.OpenAI(api_key="key", base_url=f"{url}/v1")
    return [result.flagged for result in client.moderations.create(input=texts).results]


BATCHES = [["a", "b", "c", "d"], ["d", "e", "b", "e", "f"], ["f", "a", "b", "c"], ["g"], ["g", "a"]]


def main():
    upstream, failures = Upstream(reply), 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        pathlib.Path("sidecache.toml").write_text(ROUTE)
        with sidecache(str(COMMAND), upstream) as through:
            for ask in (ask_rerank, ask_embed, ask_gemini, ask_moderation):
                for texts in BATCHES:
                    same = ask(through, texts) == ask(upstream.url, texts)
                    failures += not same
                    print(f"{ask.__name__:<15} {' '.join(texts):<12} {'same' if same else 'DIFFERENT'}")
    asked = upstream.calls
    # Alone each batch takes a call, and through sidecache those that have something new.
    expected = 4 * len(BATCHES) + 4 * 3
    if asked != expected:
        print(f"The upstream was asked {asked} times, not {expected}.", file=sys.stderr)
        failures += 1
    return 1 if failures else 0


COMMAND = pathlib.Path(sys.argv[1]).resolve()

if __name__ == "__main__":
    sys.exit(main())
