from __future__ import annotations

from datetime import datetime

import pytest
from tiny_tokenizers import byte_bpe_metadata

from legato.clock import VirtualClock
from legato.errors import InvalidRequestError, ModelFormatError
from legato.text.chat import ChatTemplate, chat_template_of
from legato.text.source import GGUFVocabulary
from legato.text.tokenizer import Tokenizer, load_tokenizer

USER = [{"role": "user", "content": "hi"}]


def render(source: str, messages=USER, **options) -> str:
    return ChatTemplate(source, "<s>", "</s>").render(messages, **options)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "<s>hi</s>"),
        ("{% for m in messages %}\n  {%- if loop.last %}\nx{% endif %}{% endfor %}", "x"),
        ("{% for i in range(9) %}{{ i }}{% if i == 2 %}{% break %}{% endif %}{% endfor %}", "012"),
        ("{{ {'a': '<é>'} | tojson }}", '{"a": "<é>"}'),
        ("{{ {'a': [1]} | tojson(indent=2) }}", '{\n  "a": [\n    1\n  ]\n}'),
        ("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 2 %}{{ ns.n }}", "2"),
        ("{% generation %}text{% endgeneration %}", "text"),
        ("{{ messages[0]['content'].strip().split('h')[-1] ~ 1 }}", "i1"),
        ("{{ none }} {{ true }} {{ missing }} {{ missing is defined }}", "None True  False"),
        ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(1) }}{{ m(2) }}", "[1][2]"),
        ("{% macro m(x) %}{{ x }}{{ caller() }}{% endmacro %}{% call m(1) %}z{% endcall %}", "1z"),
        ("{{ messages | map(attribute='role') | join('-') }}{{ ['a', 'b'] | first }}", "usera"),
        ("{% for k, v in {'x': 1} | items %}{{ k }}{{ v }}{% endfor %}", "x1"),
        ("{% for x in [1, [2]] recursive %}{{ x if x is number else loop(x) }}{% endfor %}", "12"),
        ("{{ 'aXbX'.replace('X', '--') }}{{ 'abc'[::-1] }}{{ ', '.join(['a', 'b']) }}",
         "a--b--cbaa, b"),
        ("{% filter upper %}abc{% endfilter %}{{ 'a\\nb' | indent(2) }}", "ABCa\n  b"),
    ],
)  # fmt: skip
def test_templates_render_as_in_transformers(source, expected):
    assert render(source) == expected


def test_variables_of_the_caller_reach_the_template():
    assert render("{{ tools[0].name }}{{ thinking }}", tools=[{"name": "f"}], thinking=1) == "f1"
    assert render("{{ add_generation_prompt }}", add_generation_prompt=False) == "False"


def test_the_date_is_the_callers():
    template = ChatTemplate(
        "{{ strftime_now('%d %b %Y') }}", "", "", now=lambda: datetime(2024, 7, 26)
    )
    assert template.render(USER) == "26 Jul 2024"


def test_what_the_template_refuses_is_the_requests_fault():
    with pytest.raises(InvalidRequestError, match="roles must alternate") as caught:
        render("{{ raise_exception('roles must alternate') }}")
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ x",
        "{% include 'x' %}",
        "{% extends messages %}",
        "{% import 'os' as os %}",
        "{{ 'a' | attr('__class__') }}",
        "{{ 'a' | center(1000000000) }}",
        "{% if 1 %}" * 40000 + "{% endif %}" * 40000,
        "{% for a in b %}" * 30 + "{% endfor %}" * 30,
        "{{ " + "(" * 50000 + "1" + ")" * 50000 + " }}",
        "{{ " + "-" * 200 + "1 }}",
        "x" * (2 << 20),
    ],
)
def test_a_template_that_is_not_allowed_is_refused_at_load(source):
    with pytest.raises(ModelFormatError, match="chat template"):
        ChatTemplate(source, "", "")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__']['__mro__'] }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ strftime_now.__globals__['os'] }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{{ messages.append(1) }}",
        "{{ legato_budget.spend(-1000000000) }}",
        "{{ 10 ** 1000000000 }}",
        "{{ messages | tojson(indent=1000000000) }}",
        "{{ 'a' | indent(1000000000) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set n = namespace(x=9) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
    ],
)
def test_what_the_sandbox_forbids_ends_the_rendering(source):
    with pytest.raises(ModelFormatError, match="chat template"):
        render(source)


GROW = (
    "{{% set n = namespace(x={start}) %}}"
    "{{% for i in range(99) %}}{{% set n.x = {step} %}}{{% endfor %}}"
)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(9) recursive %}{{ loop(range(9)) }}{% endfor %}" * 3,
        "{% for i in range(99999) %}{{ 'y' * 10000 }}{% endfor %}",
        "{% for i in range(99999) %}" + "x" * 10000 + "{% endfor %}",
        "{% set x %}{% for i in range(99999) %}{{ 'y' * 10000 }}{% endfor %}{% endset %}",
        "{{ 'x' * 4000000 }}" * 2,
        "{{ 'x' * 10000000000 }}",
        "{{ [1] * 10000000000 }}",
        "{{ range(99999) | map('string') | join('x' * 1000000) }}",
        "{{ range(99999) | map('replace', '', 'x' * 100000) | list }}",
        GROW.format(start="'x'", step="n.x ~ n.x"),
        GROW.format(start="'x'", step="n.x + n.x"),
        GROW.format(start="'xx'", step="n.x.replace('x', n.x)"),
        GROW.format(start="'xx'", step="n.x | replace('x', n.x)"),
        GROW.format(start="[1]", step="n.x + n.x"),
        GROW.format(start="[1]", step="[n.x, n.x]"),
        GROW.format(start="[1]", step="(n.x, n.x)"),
        GROW.format(start="[1]", step="{'a': n.x, 'b': n.x}"),
        GROW.format(start="[1]", step="dict(a=n.x, b=n.x)"),
        "{% macro m(d) %}{% if d %}{{ m(d-1) }}{{ m(d-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    ],
)
def test_work_and_size_are_bounded(source):
    with pytest.raises((InvalidRequestError, ModelFormatError), match="chat template"):
        render(source)


def test_time_is_bounded():
    class Slow(VirtualClock):
        def now_ns(self) -> int:
            self.advance(10**9)
            return super().now_ns()

    template = ChatTemplate("{% for i in range(99) %}{{ i }}{% endfor %}", "", "", clock=Slow())
    with pytest.raises(InvalidRequestError, match="too much work"):
        template.render(USER)


def test_a_namespace_prints_without_what_it_refers_to():
    grown = GROW.format(start="1", step="namespace(a=n.x, b=n.x)")
    assert render(grown + "{{ n.x }}") == "<namespace>"


def test_a_long_conversation_is_within_the_budget():
    messages = [{"role": "user", "content": "hello"}] * 20_000
    text = render("{% for m in messages %}{{ m.role + ': ' + m.content }}\n{% endfor %}", messages)
    assert text == "user: hello\n" * 20_000


def test_models_without_a_template_get_chatml_or_plain_lines(byte_tokenizer: Tokenizer):
    prompt = chat_template_of(byte_tokenizer).render(USER)
    assert prompt == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    metadata = byte_bpe_metadata()
    tokens = metadata["tokenizer.ggml.tokens"]
    metadata["tokenizer.ggml.tokens"] = [t.replace("<|im_start|>", "<bos>") for t in tokens]
    other = load_tokenizer(GGUFVocabulary(metadata))
    assert chat_template_of(other).render(USER) == "<bos>user: hi\nassistant:"


def test_a_models_own_template_comes_first():
    metadata = byte_bpe_metadata() | {"tokenizer.chat_template": "{{ eos_token }}!"}
    assert chat_template_of(load_tokenizer(GGUFVocabulary(metadata))).render(USER) == "<|im_end|>!"
