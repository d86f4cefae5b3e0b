"""`LLM` on a tiny random model with a tiny tokenizer, and once on a real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from legato import LLM, SamplingParams, assemble
from legato.config import EngineConfig
from legato.constrain.form import choice, regex
from legato.core import FinishReason
from legato.errors import CapacityError, InvalidRequestError, ModelFormatError
from legato.models.model import Model
from legato.text.source import GGUFVocabulary
from model.tiny import tiny_model
from text.tiny_tokenizers import byte_bpe_metadata

CONFIG = EngineConfig(backend="reference", kv_dtype="f32", num_kv_blocks=200, max_batch_tokens=32)
GREEDY = SamplingParams(temperature=0, max_tokens=6, ignore_eos=True)
USER = {"role": "user", "content": "Hello"}
VOCABULARY = GGUFVocabulary(byte_bpe_metadata())


@pytest.fixture(params=[256])
def llm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LLM]:
    size = len(VOCABULARY.metadata["tokenizer.ggml.tokens"])
    arch, weights = tiny_model({"vocab_size": size, "max_context": request.param})
    model = Model("tiny", Path("tiny.gguf"), arch, weights, VOCABULARY)
    monkeypatch.setattr(assemble, "resolve_model", lambda path: path)
    monkeypatch.setattr(assemble, "load_model", lambda path: model)
    with LLM.from_config(Path("tiny.gguf"), CONFIG) as llm:
        yield llm


def test_a_text_gives_one_result(llm):
    (result,) = llm.generate("Hello", GREEDY)
    (output,) = result.outputs
    assert result.prompt == "Hello"
    assert result.prompt_token_ids == llm.tokenizer.encode("Hello")
    assert output.text == llm.tokenizer.decode(output.token_ids, continues=True)
    assert len(output.token_ids) == len(output.token_times_ns) == 6
    assert output.finish_reason is FinishReason.LENGTH
    assert result.arrival_ns <= output.token_times_ns[0] <= output.token_times_ns[-1]


def test_results_come_in_the_order_of_the_prompts(llm):
    prompts = ["one", "two, a longer one", "three"]
    together = llm.generate(prompts, GREEDY)
    assert [r.prompt for r in together] == prompts
    for prompt, result in zip(prompts, together, strict=True):
        assert llm.generate(prompt, GREEDY)[0].outputs[0].text == result.outputs[0].text


def test_token_ids_are_prompts_too(llm):
    ids = llm.tokenizer.encode("Hello")
    text = llm.generate("Hello", GREEDY)[0].outputs[0].text
    for prompts in (ids, [ids]):
        (result,) = llm.generate(prompts, GREEDY)
        assert result.prompt is None
        assert result.outputs[0].text == text


def test_each_prompt_can_have_its_own_params(llm):
    short = SamplingParams(temperature=0, max_tokens=2, ignore_eos=True, n=2, logprobs=1)
    a, b = llm.generate(["x", "x"], [GREEDY, short])
    assert [len(output.token_ids) for output in b.outputs] == [2, 2]
    assert a.outputs[0].token_ids[:2] == b.outputs[0].token_ids
    assert a.outputs[0].logprobs is None
    assert b.outputs[1].logprobs is not None
    assert len(b.outputs[1].logprobs) == 2
    with pytest.raises(InvalidRequestError, match="2 params"):
        llm.generate("x", [GREEDY, short])


def test_a_stop_string_ends_the_text_and_the_work(llm):
    whole = llm.generate("Hello", GREEDY)[0].outputs[0].text
    stop = whole[2:4]
    params = SamplingParams(temperature=0, max_tokens=150, ignore_eos=True, stop=(stop,))
    (output,) = llm.generate("Hello", params)[0].outputs
    assert output.text == whole[: whole.index(stop)]
    assert output.finish_reason is FinishReason.STOP
    assert len(output.token_ids) <= 6


def test_a_bad_request_generates_nothing(llm):
    with pytest.raises(InvalidRequestError) as caught:
        llm.generate(["fine", "not"], [GREEDY, SamplingParams(top_p=2)])
    assert caught.value.param == "top_p"
    with pytest.raises(InvalidRequestError) as caught:
        llm.generate([[1, 2], [10**6]], GREEDY)
    assert caught.value.param == "prompt"
    assert len(llm.generate("fine", GREEDY)) == 1


@pytest.mark.parametrize("prompts", ["", [], [""], [[]]])
def test_an_empty_prompt_is_refused_and_no_prompts_are_no_results(llm, prompts):
    if prompts == []:
        assert llm.generate(prompts, GREEDY) == []
        return
    with pytest.raises(InvalidRequestError):
        llm.generate(prompts, GREEDY)


def test_a_stream_gives_the_same_text_in_pieces(llm):
    pieces = list(llm.stream("Hello", GREEDY))
    assert "".join(pieces) == llm.generate("Hello", GREEDY)[0].outputs[0].text
    assert len(pieces) > 1


def test_streams_can_be_interleaved_with_everything_else(llm):
    expected = [llm.generate(p, GREEDY)[0].outputs[0].text for p in ("one", "two")]
    first, second = llm.stream("one", GREEDY), llm.stream("two", GREEDY)
    texts = [next(first), next(second)]
    llm.generate("three", GREEDY)
    llm.logits(llm.tokenizer.encode("four"))
    assert [texts[0] + "".join(first), texts[1] + "".join(second)] == expected


def test_leaving_a_stream_cancels_it(llm):
    stream = llm.stream("Hello", SamplingParams(temperature=0, max_tokens=100, ignore_eos=True))
    next(stream)
    stream.close()
    (result,) = llm.generate("again", GREEDY)
    assert len(result.outputs[0].token_ids) == 6


def test_a_stream_is_checked_when_it_is_asked_for(llm):
    with pytest.raises(InvalidRequestError):
        llm.stream("Hello", SamplingParams(n=2))
    with pytest.raises(InvalidRequestError):
        llm.stream("Hello", SamplingParams(temperature=-1))


def test_chat_uses_the_template(llm):
    messages = [{"role": "user", "content": "Hello"}]
    result = llm.chat(messages, GREEDY)
    assert result.prompt is not None
    assert "Hello" in result.prompt
    assert "".join(llm.stream_chat(messages, GREEDY)) == result.outputs[0].text


def test_logits_are_those_that_generation_uses(llm):
    ids = llm.tokenizer.encode("Hello there, how are you today? Fine, and you?")
    output = llm.generate([ids], GREEDY)[0].outputs[0]
    logits = llm.logits([*ids, *output.token_ids])
    assert logits.dtype == np.float32
    assert logits.shape == (len(ids) + 6, llm.tokenizer.vocab_size)
    assert logits[len(ids) - 1 : -1].argmax(axis=1).tolist() == output.token_ids


def test_unknown_settings_and_models_are_errors(tmp_path):
    with pytest.raises(TypeError, match="blok_size"):
        LLM(tmp_path, blok_size=4)
    with pytest.raises(ModelFormatError):
        LLM(tmp_path)


def test_a_context_that_does_not_fit_the_pool_is_an_error(monkeypatch, llm):
    with pytest.raises(CapacityError, match="not of 256"):
        LLM(Path("tiny.gguf"), backend="reference", num_kv_blocks=8, max_context=256)


def test_outputs_have_the_form_that_was_asked_for(llm):
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}
    wrapped = {"type": "json_schema", "json_schema": {"name": "list", "schema": schema}}
    params = SamplingParams(temperature=1.0, seed=3, n=3, max_tokens=400)
    (result,) = llm.generate("Count", params, response_format=wrapped)
    for output in result.outputs:
        assert output.finish_reason is FinishReason.STOP
        assert 2 <= len(json.loads(output.text)) <= 3
    colours = ["red", "blue"]
    assert llm.chat([USER], params, response_format=choice(colours)).outputs[0].text in colours
    assert "".join(llm.stream("A", response_format=regex("[ab]{3}"))).strip("ab") == ""
    assert "".join(llm.stream_chat([USER], response_format=choice(["x"]))) == "x"


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Bonn", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize("llm", [1024], indirect=True)
def test_functions_are_called_offline_too(llm):
    params = SamplingParams(temperature=1.0, seed=3, n=2, max_tokens=100)
    result = llm.chat([USER], params, tools=[WEATHER], tool_choice="required",
                      parallel_tool_calls=False)  # fmt: skip
    assert '"name": "weather"' in result.prompt
    for output in result.outputs:
        (call,) = output.tool_calls
        assert (call.name, output.text) == ("weather", "")
        assert json.loads(call.arguments)["city"] in ("Bonn", "Rome")
    called = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history = [USER, {"role": "assistant", "tool_calls": [called]},
               {"role": "tool", "tool_call_id": "c", "content": "rain"}]  # fmt: skip
    assert llm.chat(history, GREEDY, tools=[WEATHER]).outputs[0].finish_reason
    assert "rain" in llm.chat(history, GREEDY).prompt


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "x"}]}, "tools[0].type"),
        ({"tools": [WEATHER], "tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
    ],
)
def test_tools_that_cannot_be_honoured_are_refused(llm, fields, param):
    with pytest.raises(InvalidRequestError) as caught:
        llm.chat([USER], GREEDY, **fields)
    assert caught.value.param == param


@pytest.mark.parametrize("wanted", [{"type": "xml"}, {"type": "json_schema"}, regex("(?=a)")])
def test_a_form_that_cannot_be_honoured_is_refused(llm, wanted):
    for call in (llm.generate, llm.stream):
        with pytest.raises(InvalidRequestError) as caught:
            call("Count", response_format=wanted)
        assert caught.value.param == "response_format"


@pytest.mark.real_model
def test_a_real_model_knows_the_capital_of_france(smollm2_path):
    with LLM(smollm2_path, max_context=512, num_kv_blocks=200) as llm:
        messages = [{"role": "user", "content": "What is the capital of France?"}]
        (output,) = llm.chat(messages, SamplingParams(temperature=0, max_tokens=24)).outputs
    assert "Paris" in output.text
    assert output.finish_reason is FinishReason.STOP
