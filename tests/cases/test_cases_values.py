"""Values that work and how far: at the edges, at any size, in any company."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import legato
from cases.bodies import (
    ALL,
    CHAT,
    COMPLETIONS,
    CONTEXT,
    DETOKENIZE,
    EMBEDDINGS,
    GENERATE,
    GOOD,
    LIMIT,
    RESPONSES,
    TOKENIZE,
)
from cases.world import NEIGHBOUR, World, ask, check_alive, check_refused, text_of
from legato.server.extension import LegatoOptions
from legato.server.openapi import BODIES

WORKS = [
    *(("A1", path, {"n": 3}) for path in (CHAT, COMPLETIONS)),
    ("A2", COMPLETIONS, {"max_tokens": 0, "echo": True}),
    *(("A3", path, {LIMIT[path]: 1_000_000}) for path in GENERATE),
    *(("A5", path, {"temperature": 0}) for path in GENERATE),
    *(("A7", path, {"top_k": 98}) for path in GENERATE),
    *(("A8", path, {"frequency_penalty": 2, "presence_penalty": -2}) for path in GENERATE),
    *(("A12", path, {"logit_bias": {"96": 100, "0": -100}}) for path in GENERATE),
    *(("A18", path, {"seed": seed}) for path in GENERATE for seed in (None, 0, 2**64 - 1)),
    ("B1", TOKENIZE, {"prompt": ""}),
    ("B1", DETOKENIZE, {"tokens": []}),
    ("B3", COMPLETIONS, {"prompt": [65] * (CONTEXT - 1)}),
    ("B3", EMBEDDINGS, {"input": [65] * CONTEXT}),
    ("B7", CHAT, {"messages": [{"role": "user", "content": "\U0001f600"}]}),
    *(("B7", path, {"prompt": "\U0001f600"}) for path in (COMPLETIONS, TOKENIZE)),
    *(("B7", path, {"input": "\U0001f600"}) for path in (RESPONSES, EMBEDDINGS)),
    *(("C15", path, {"cache_salt": "a"}) for path in GENERATE),
]


@pytest.mark.parametrize(("case", "path", "fields"), WORKS, ids=lambda v: str(v)[:40])
def test_a_value_at_the_edge_works_and_harms_nobody(world, alone, case, path, fields):
    call = world.client.start_post(path, {**GOOD[path], **fields})
    answer, neighbour = world.run(call, world.client.start_post(COMPLETIONS, NEIGHBOUR))
    assert answer.status == 200, answer.body
    assert text_of(neighbour) == alone
    assert world.rest()[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize("path", ALL)
def test_a19_null_everywhere_is_the_default(world, path):
    names = BODIES[path].model_fields
    body = {name: None for name in names if name not in GOOD[path]} | GOOD[path]
    assert ask(world, path, body).status == 200


INTEGERS = (-(2**63), -1, 0, 1, 2**31, 2**63)


def integer_fields(path: str) -> list[str]:
    properties = BODIES[path].model_json_schema()["properties"]
    kinds = {name: schema.get("anyOf", [schema]) for name, schema in properties.items()}
    return [
        name for name, options in kinds.items() if any(o.get("type") == "integer" for o in options)
    ]


@pytest.mark.parametrize("path", GENERATE)
def test_a20_every_integer_is_honoured_or_refused_by_name(world, path):
    fields = integer_fields(path)
    assert len(fields) >= 6
    for field in fields:
        for value in INTEGERS:
            body = {name: item for name, item in GOOD[path].items() if name != LIMIT[path]}
            answer = ask(world, path, {**body, "stop": "a", field: value})
            if answer.status != 200:
                check_refused(answer, field)
    check_alive(world)


def numbers_within(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all numeric members of a model and of the models in it."""
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from numbers_within(kind, (*path, name))
            elif kind in (int, float):
                yield (*path, name)


@pytest.mark.parametrize("path", GENERATE)
def test_a20_every_number_of_our_own_is_honoured_or_refused_by_its_path(world, path):
    members = list(numbers_within(LegatoOptions))
    assert len(members) >= 6
    for member in members:
        for value in INTEGERS:
            options: Any = value
            for name in reversed(member):
                options = {name: options}
            answer = ask(world, path, {**GOOD[path], "legato": options})
            if answer.status != 200:
                check_refused(answer, "legato")
    assert world.rest()[:4] == (0, 0, 0, 0)
    check_alive(world)


def test_a18_a_seed_gives_the_same_text_in_any_batch(world):
    body = {**GOOD[COMPLETIONS], "seed": 5, "max_tokens": 20, "ignore_eos": True}
    expected = text_of(ask(world, COMPLETIONS, body))
    others = [world.client.start_post(CHAT, {**GOOD[CHAT], "n": 2}) for _ in range(4)]
    calls = [*others, *(world.client.start_post(COMPLETIONS, body) for _ in range(4))]
    assert {text_of(answer) for answer in world.run(*calls)[4:]} == {expected}


def test_b4_a_prompt_that_never_fits_the_pool_is_refused_at_once():
    with World(num_kv_blocks=20) as world:
        alone = text_of(ask(world, COMPLETIONS, NEIGHBOUR))
        body = {**GOOD[COMPLETIONS], "prompt": [65] * 500}
        for path, long in ((COMPLETIONS, body), (CHAT, chat_of("x" * 500))):
            answer, text = world.beside_a_neighbour(world.client.start_post(path, long))
            assert check_refused(answer, None)["code"] == "never_fits"
            assert text == alone
        assert ask(world, COMPLETIONS, GOOD[COMPLETIONS]).status == 200


def chat_of(text: str) -> dict[str, Any]:
    return {**GOOD[CHAT], "messages": [{"role": "user", "content": text}]}


LONG: dict[str, dict[str, Any]] = {
    CHAT: chat_of("a" * 900),
    COMPLETIONS: {**GOOD[COMPLETIONS], "prompt": ["a" * 900] * 3},
    RESPONSES: {**GOOD[RESPONSES], "input": "a" * 900},
    EMBEDDINGS: {"input": "a" * 900},
    TOKENIZE: {"prompt": "a" * 900_000},
    DETOKENIZE: {"tokens": [65] * 900_000},
}


@pytest.mark.parametrize("path", LONG)
def test_b6_long_texts_are_tokenised_off_the_event_loop(world, path):
    world.tokenizer.threads.clear()
    assert ask(world, path, LONG[path]).status == 200
    first = world.tokenizer.threads[0]
    assert first != threading.get_ident()  # the loop runs in this thread


@pytest.mark.parametrize("path", GENERATE)
def test_d11_many_unique_schemas_harm_nobody(world, alone, path):
    for number in range(12):
        schema = {"type": "object", "properties": {f"a{number}": {"type": "integer"}}}
        form = {"name": "x", "schema": schema}
        fields: dict[str, Any] = {"text": {"format": {"type": "json_schema", **form}}}
        if path != RESPONSES:
            fields = {"response_format": {"type": "json_schema", "json_schema": form}}
        call = world.client.start_post(path, {**GOOD[path], **fields})
        answer, neighbour = world.run(call, world.client.start_post(COMPLETIONS, NEIGHBOUR))
        assert answer.status == 200, answer.body
        assert text_of(neighbour) == alone
    assert world.rest()[:4] == (0, 0, 0, 0)


def test_e3_nothing_in_the_package_can_run_what_it_reads():
    forbidden = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "marshal", "shelve", "dill", "joblib", "torch"}
    for path in Path(legato.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in forbidden, path
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not modules & {name.split(".")[0] for name in names}, path
