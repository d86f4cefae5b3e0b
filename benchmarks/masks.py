"""How long the mask of a constrained token takes: `python benchmarks/masks.py MODEL...`

Follows one JSON document through its schema and times `fill_mask` and `accept` at every token.
The last line of standard output is one JSON document; times in microseconds.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median

import numpy as np

from legato.constrain.compiler import GrammarCompiler
from legato.constrain.form import json_object, json_schema
from legato.models.hub import resolve_model
from legato.models.load import load_model
from legato.text.tokenizer import load_tokenizer

ROUNDS = 20
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "mood": {"enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
    },
    "required": ["name", "age", "mood", "tags", "zip"],
    "additionalProperties": False,
}
DOCUMENT = (
    '{"name": "Ada Lovelace, countess", "age": 36, "mood": "good", '
    '"tags": ["mathematics", "poetry", "engines of analysis"], "zip": "53111"}'
)


def measure(model: str) -> dict[str, object]:
    """Figures of one model's vocabulary."""
    tokenizer = load_tokenizer(load_model(resolve_model(model)).tokenizer)
    compiler = GrammarCompiler(tokenizer)
    start = time.perf_counter()
    compiler.compile(json_object())
    prepared = time.perf_counter()
    constraint = compiler.compile(json_schema(SCHEMA))
    compiled = time.perf_counter()
    tokens = tokenizer.encode(DOCUMENT, add_special_tokens=False)
    masks, accepts = [], []
    buffer = np.zeros_like(constraint.usable)
    for _ in range(ROUNDS):
        matcher = constraint.start()
        for token in tokens:
            begin = time.perf_counter()
            matcher.fill_mask(buffer)
            filled = time.perf_counter()
            matcher.accept(token)
            masks.append((filled - begin) * 1e6)
            accepts.append((time.perf_counter() - filled) * 1e6)
    return {
        "model": model,
        "vocabulary": tokenizer.vocab_size,
        "prepare_ms": round((prepared - start) * 1e3, 1),
        "compile_ms": round((compiled - prepared) * 1e3, 1),
        "mask_us": {"median": round(median(masks), 1), "p95": round(np.percentile(masks, 95), 1)},
        "accept_us": round(median(accepts), 1),
    }


if __name__ == "__main__":
    print(json.dumps([measure(model) for model in sys.argv[1:]]))
