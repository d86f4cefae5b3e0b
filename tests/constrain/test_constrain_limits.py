"""What is refused, how fast, and what stays bounded: no form ends the process or stalls it."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from legato.clock import VirtualClock
from legato.constrain import compiler as compiler_module
from legato.constrain.cache import ByteCache
from legato.constrain.compiler import GrammarCompiler
from legato.constrain.form import (
    MAX_REGEX,
    MAX_SCHEMA,
    choice,
    from_response_format,
    grammar,
    json_object,
    json_schema,
    regex,
)
from legato.errors import InvalidRequestError, OverloadedError
from text.tiny_tokenizers import make_case


def nested(levels: int) -> dict:
    schema: dict = {}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def chain(link, end, count: int) -> dict:
    """Definitions that each refer to the next."""
    links = {f"d{i}": link(f"#/$defs/d{i + 1}") for i in range(count)}
    return {"$ref": "#/$defs/d0", "$defs": {**links, f"d{count}": end}}


REFUSED = {
    "look-behind": lambda: regex("(?<=a)b"),
    "look-ahead": lambda: regex("(?=a)b"),
    "back-reference": lambda: regex(r"(a)\1"),
    "unbalanced regex": lambda: regex("(("),
    "empty regex": lambda: regex(""),
    "long regex": lambda: regex("a" * (MAX_REGEX + 1)),
    "deep regex": lambda: regex("(" * 1300 + "a" + ")?" * 1300),
    "optional letters": lambda: regex("a?" * (MAX_REGEX // 2)),
    "empty enum": lambda: json_schema({"enum": []}),
    "false": lambda: json_schema(False),
    "a list as a schema": lambda: json_schema([]),
    "a text as a schema": lambda: json_schema("object"),
    "unknown type": lambda: json_schema({"type": "strin"}),
    "a number as a type": lambda: json_schema({"type": 3}),
    "contradiction": lambda: json_schema({"type": "integer", "minimum": 5, "maximum": 2}),
    "keyword that cannot be enforced": lambda: json_schema({"type": "array", "uniqueItems": True}),
    "deep schema": lambda: json_schema(nested(30_000)),
    "self reference": lambda: json_schema({"$ref": "#"}),
    "cycle of references": lambda: json_schema(chain(lambda r: {"$ref": r}, {"$ref": "#"}, 3)),
    "remote reference": lambda: json_schema({"$ref": "http://127.0.0.1:9/schema"}),
    "file reference": lambda: json_schema({"items": {"$ref": "file:///etc/passwd"}}),
    "missing reference": lambda: json_schema({"$ref": "#/$defs/nothing"}),
    "huge enum": lambda: json_schema({"enum": [f"value{i}" for i in range(100_000)]}),
    "huge object": lambda: json_schema({"properties": {f"p{i}": {} for i in range(100_000)}}),
    "long schema": lambda: json_schema({"const": "a" * MAX_SCHEMA}),
    "lone surrogate": lambda: json_schema({"const": "\ud800"}),
    "pattern with look-ahead": lambda: json_schema({"type": "string", "pattern": "(?=a)b"}),
    "exponential": lambda: json_schema(
        {
            "allOf": [
                {"anyOf": [{"properties": {f"a{i}": {"const": j}}} for j in range(10)]}
                for i in range(10)
            ]
        }
    ),
    "unterminated literal": lambda: grammar('start: "abc'),
    "30,000 parentheses": lambda: grammar("start: " + "(" * 30_000),
    "undefined rule": lambda: grammar("start: missing"),
    "no start": lambda: grammar('begin: "a"'),
    "empty grammar": lambda: grammar(" \n"),
    "endless rule": lambda: grammar("start: start"),
    "long grammar": lambda: grammar('start: "a"\n' + "// x\n" * 2_000_000),
    "control token": lambda: grammar("start: <|im_start|>"),
    "no choices": lambda: choice([]),
    "empty choice": lambda: choice(["a", ""]),
    "a number as a choice": lambda: choice(["a", 3]),  # type: ignore[list-item]
    "too many choices": lambda: choice([str(i) for i in range(5_000)]),
    "long choices": lambda: choice(["a" * 40_000, "b" * 40_000]),
    "unknown format type": lambda: from_response_format({"type": "xml"}),
    "no schema": lambda: from_response_format({"type": "json_schema", "json_schema": {}}),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(compiler, make):
    with pytest.raises(InvalidRequestError) as caught:
        compiler.compile(make())
    assert caught.value.param == "response_format"
    assert len(str(caught.value)) < 500
    str(caught.value).encode()


BOUNDED = {
    "nested plus": lambda: regex("(a+)+b"),
    "nested counts": lambda: regex("((a?){60}){60}"),
    "a million of anything": lambda: regex(".{1000000}"),
    "counted letters": lambda: regex(r"\p{L}{1,2000}"),
    "late choice": lambda: regex(r"(.|\n)*a(.|\n){300}"),
    "a billion items": lambda: json_schema({"type": "array", "minItems": 10**9}),
    "a billion characters": lambda: json_schema({"type": "string", "maxLength": 10**9}),
    "pattern of counts": lambda: json_schema({"type": "string", "pattern": "((a?){60}){60}"}),
    "recursion": lambda: json_schema({"type": "object", "properties": {"c": {"$ref": "#"}}}),
    "as deep as allowed": lambda: json_schema(nested(60)),
    "chain of objects": lambda: json_schema(
        chain(lambda r: {"properties": {"x": {"$ref": r}}, "required": ["x"]}, {}, 1_000)
    ),
    "chain of references": lambda: json_schema(chain(lambda r: {"$ref": r}, {}, 3_000)),
    "chain of rules": lambda: grammar(
        "start: r0\n" + "".join(f'r{i}: "a" r{i + 1}\n' for i in range(1_800)) + 'r1800: "c"'
    ),
    "chain of unit rules": lambda: grammar(
        "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(2_400)) + 'r2400: "c"'
    ),
    "left recursion": lambda: grammar('start: start "a" | "b"'),
    "ambiguity": lambda: grammar('start: e\ne: e e | "a" | "b"'),
    "counts of counts": lambda: grammar('start: (("a"{1,1000}){1,1000}){1,1000}'),
    "5,000 values": lambda: json_schema({"enum": [f"value{i}" for i in range(5_000)]}),
}


@pytest.mark.parametrize("make", BOUNDED.values(), ids=BOUNDED)
def test_heavy_forms_are_served_or_refused_but_end(compiler, make):
    """In a thread with a small stack, as the engine's may be, the masks must be safe too."""
    try:
        constraint = compiler.compile(make())
    except InvalidRequestError:
        return

    def step_through() -> None:
        matcher, mask = constraint.start(), constraint.first_mask.copy()
        for _ in range(30):
            matcher.fill_mask(mask)
            place = int(mask.nonzero()[0][0])
            matcher.accept(place * 32 + (int(mask[place]) & -int(mask[place])).bit_length() - 1)

    usual = threading.stack_size(1 << 19)
    try:
        with ThreadPoolExecutor(1) as pool:
            walked = pool.submit(step_through)
    finally:
        threading.stack_size(usual)
    assert isinstance(walked.exception(), ValueError | None)


def test_lenient_schemas_leave_what_cannot_be_enforced_to_the_model(compiler):
    compiler.compile(json_schema({"type": "array", "uniqueItems": True}, strict=False))
    compiler.compile(json_schema({"type": "string", "format": "zip-code"}, strict=False))


def test_unique_schemas_do_not_grow_the_cache_without_bound(monkeypatch):
    monkeypatch.setattr(compiler_module, "CACHE_BYTES", 2 << 20)
    compiler = GrammarCompiler(make_case("tiny_byte_bpe-gguf").tokenizer)
    for i in range(300):
        compiler.compile(json_schema({"const": f"unique {i}"}))
    assert compiler._cache.num_bytes <= 2 << 20
    assert 10 < len(compiler._cache) < 300


def test_equal_forms_share_one_compilation(compiler):
    first = compiler.compile(json_schema({"type": "integer"}))
    assert compiler.compile(json_schema({"type": "integer"})) is first
    assert compiler.compile(json_schema({"type": "integer"}, strict=False)) is not first


def test_a_refusal_names_the_field_of_each_who_asks(compiler):
    for param in ("response_format", "tools[3].function.parameters"):
        with pytest.raises(InvalidRequestError) as caught:
            compiler.compile(json_schema({"type": "strin"}, param=param))
        assert caught.value.param == param
        assert param in str(caught.value)


def test_a_compilation_over_its_time_is_refused_then_and_later():
    clock = VirtualClock()
    tokenizer = make_case("tiny_byte_bpe-gguf").tokenizer
    slow = GrammarCompiler(tokenizer, SlowClock(clock))
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match="takes more than"):
            slow.compile(json_object())


class SlowClock:
    """Two seconds pass between any two looks at it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now_ns(self) -> int:
        self._clock.advance(2_000_000_000)
        return self._clock.now_ns()


def test_compilations_that_wait_are_bounded(monkeypatch):
    monkeypatch.setattr(compiler_module, "MAX_PENDING", 2)
    tokenizer = make_case("tiny_byte_bpe-gguf").tokenizer
    blocked = threading.Event()

    class Waiting(VirtualClock):
        def now_ns(self) -> int:
            blocked.wait()
            return 0

    compiler = GrammarCompiler(tokenizer, Waiting())
    with ThreadPoolExecutor(2) as pool:

        async def flood() -> None:
            tasks = [
                asyncio.ensure_future(compiler.compiled(json_schema({"const": i})))
                for i in range(2)
            ]
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await compiler.compiled(json_schema({"const": 3}))
            tasks[1].cancel()  # its caller went away
            blocked.set()
            await tasks[0]
            assert await compiler.compiled(json_schema({"const": 4}))

        pool.submit(asyncio.run, flood()).result()


def test_a_cache_forgets_the_least_recently_used():
    cache: ByteCache[str] = ByteCache(100)
    cache.put("a", "A", 40)
    cache.put("b", "B", 40)
    assert cache.get("a") == "A"
    cache.put("c", "C", 40)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")
    cache.put("a", "A2", 10)
    assert (cache.num_bytes, len(cache)) == (50, 2)
    cache.put("huge", "H", 101)
    assert (cache.num_bytes, len(cache)) == (0, 0)


def test_schemas_are_kept_as_text_without_growing():
    form = json_schema({"type": "object", "description": "größer"})
    assert json.loads(form.text) == {"type": "object", "description": "größer"}
