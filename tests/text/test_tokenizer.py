from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizers import Case, byte_bpe_metadata, sentencepiece_metadata

from legato.errors import InvalidRequestError, ModelFormatError
from legato.text.source import GGUFVocabulary, TokenizerFolder
from legato.text.tokenizer import Tokenizer, load_tokenizer


def gguf(metadata, **changes):
    changed = metadata | {f"tokenizer.ggml.{k}": v for k, v in changes.items()}
    return load_tokenizer(GGUFVocabulary({k: v for k, v in changed.items() if v is not None}))


def shown(tokenizer: Tokenizer, text: str) -> str:
    """SentencePiece cannot tell U+2581 from a space."""
    return text.replace("▁", " ") if tokenizer.strips_space else text


def test_ids_equal_those_of_transformers(tiny: Case):
    for text, ids in tiny.golden["ids"].items():
        assert tiny.tokenizer.encode(text) == ids, repr(text)
    for text, ids in tiny.golden["plain_ids"].items():
        assert tiny.tokenizer.encode(text, add_special_tokens=False) == ids, repr(text)


def test_special_token_text_in_untrusted_content_is_ordinary_text(tiny: Case):
    for text, ids in tiny.golden["untrusted_ids"].items():
        encoded = tiny.tokenizer.encode(text, add_special_tokens=False, parse_special=False)
        assert encoded == ids, repr(text)
        assert not set(encoded) & tiny.tokenizer.special_ids - {0}


def test_decoding_gives_the_text_back(tiny: Case):
    for text in tiny.golden["ids"]:
        ids = tiny.tokenizer.encode(text, parse_special=False)
        assert tiny.tokenizer.decode(ids) == shown(tiny.tokenizer, text)


def test_special_tokens_are_shown_on_request(byte_tokenizer: Tokenizer):
    ids = byte_tokenizer.encode("a<|im_end|>")
    assert byte_tokenizer.decode(ids) == "a"
    assert byte_tokenizer.decode(ids, skip_special_tokens=False) == "a<|im_end|>"


def test_a_text_that_continues_another_keeps_its_leading_space(spiece_tokenizer: Tokenizer):
    ids = spiece_tokenizer.encode("the", add_special_tokens=False)
    assert spiece_tokenizer.decode(ids) == "the"
    assert spiece_tokenizer.decode(ids, continues=True) == " the"


def test_token_bytes_join_to_the_text(tiny: Case):
    text = "naïve 🙂 中文\n\tx"
    ids = tiny.tokenizer.encode(text, add_special_tokens=False)
    joined = b"".join(map(tiny.tokenizer.token_bytes, ids))
    assert joined.decode().removeprefix(" ") == text


def test_byte_tokens_are_single_bytes(spiece_tokenizer: Tokenizer):
    assert [spiece_tokenizer.token_bytes(3 + byte) for byte in range(256)] == [
        bytes([byte]) for byte in range(256)
    ]


@pytest.mark.parametrize("token_id", [-1, 10**6, 2**63])
def test_an_id_outside_the_vocabulary_is_refused(tiny: Case, token_id: int):
    with pytest.raises(InvalidRequestError, match="out of range"):
        tiny.tokenizer.decode([token_id])


def test_a_lone_surrogate_is_refused_and_a_real_pair_works(tiny: Case):
    with pytest.raises(InvalidRequestError, match=r"lone surrogate \(U\+D800\) at character 2"):
        tiny.tokenizer.encode("ab\ud800c")
    assert tiny.tokenizer.decode(tiny.tokenizer.encode("\U0001f642")) == "🙂"


def test_roles_of_tokens(byte_tokenizer: Tokenizer, spiece_tokenizer: Tokenizer):
    assert (byte_tokenizer.bos_id, byte_tokenizer.eos_id) == (1, 2)
    assert byte_tokenizer.eos_ids == {0, 2}  # <|endoftext|> ends a turn wherever it is
    assert not byte_tokenizer.adds_bos
    assert byte_tokenizer.special_ids == {0, 1, 2}
    assert spiece_tokenizer.adds_bos
    assert spiece_tokenizer.encode("") == [1]
    assert byte_tokenizer.special_id("<|im_start|>") == 1
    assert byte_tokenizer.special_id("a") is None


def test_the_first_difference_of_two_vocabularies_is_named():
    tokens = byte_bpe_metadata()["tokenizer.ggml.tokens"]
    kinds = byte_bpe_metadata()["tokenizer.ggml.token_type"]
    same = gguf(byte_bpe_metadata())
    longer = gguf(byte_bpe_metadata(), tokens=[*tokens, "more"], token_type=[*kinds, 1])
    other = gguf(byte_bpe_metadata(), tokens=[*tokens[:-1], "other"])
    assert same.first_difference(gguf(byte_bpe_metadata())) is None
    assert same.first_difference(longer) == longer.first_difference(same) == len(tokens)
    assert same.first_difference(other) == len(tokens) - 1


def test_eos_can_be_added_to_every_text():
    tokenizer = gguf(sentencepiece_metadata(), add_eos_token=True)
    assert tokenizer.encode("")[-1:] == [2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "bert"}, "bert"),
        ({"model": None}, "tokenizer.ggml.model is missing"),
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": []}, "empty"),
        ({"tokens": [1, 2]}, "array of strings"),
        ({"pre": "new-model"}, "'new-model'.*known are: .*qwen2"),
        ({"token_type": [1]}, "token_type has 1 entries"),
        ({"eos_token_id": 10**9}, "eos_token_id is 1000000000"),
        ({"merges": ["zzzz qqqq"]}, "merges"),
        ({"merges": ["nospace"]}, "merges"),
        ({"merges": None}, "merges is missing"),
        ({"add_bos_token": "yes"}, "add_bos_token"),
    ],
)
def test_bad_metadata_is_an_error_that_names_the_key(changes, message):
    with pytest.raises(ModelFormatError, match=message):
        gguf(byte_bpe_metadata(), **changes)


def test_missing_scores_are_an_error():
    with pytest.raises(ModelFormatError, match="scores is missing"):
        gguf(sentencepiece_metadata(), scores=None)


def test_a_malformed_byte_token_is_an_error():
    tokens = sentencepiece_metadata()["tokenizer.ggml.tokens"]
    with pytest.raises(ModelFormatError, match="<0xZZ>"):
        gguf(sentencepiece_metadata(), tokens=[*tokens[:3], "<0xZZ>", *tokens[4:]])


def test_a_folder_without_a_tokenizer_says_what_is_missing(tmp_path):
    with pytest.raises(ModelFormatError, match=r"tokenizer\.json"):
        load_tokenizer(TokenizerFolder(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFormatError, match="not a tokenizer"):
        load_tokenizer(TokenizerFolder(tmp_path))


BYTES = gguf(byte_bpe_metadata())
SPIECE = gguf(sentencepiece_metadata())


@given(st.text(max_size=60))
def test_any_text_survives_a_round_trip(text):
    for tokenizer in (BYTES, SPIECE):
        ids = tokenizer.encode(text, parse_special=False)
        assert tokenizer.decode(ids) == shown(tokenizer, text)
