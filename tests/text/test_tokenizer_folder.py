from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_tokenizers import GOLDENS

from legato.errors import ModelFormatError
from legato.text.source import TokenizerFolder
from legato.text.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(GOLDENS / "tiny_byte_bpe" / "tokenizer.json", tmp_path)
    return tmp_path


def load(folder: Path, **files) -> Tokenizer:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return load_tokenizer(TokenizerFolder(folder))


def test_eos_comes_from_every_file_that_names_one(folder):
    tokenizer = load(
        folder,
        tokenizer_config={"eos_token": {"content": "<|im_end|>"}},
        generation_config={"eos_token_id": [5, 6]},
        config={"eos_token_id": 7},
    )
    assert tokenizer.eos_id == 2
    assert tokenizer.eos_ids == {0, 2, 5, 6, 7}


def test_eos_of_the_text_part_of_a_larger_model(folder):
    assert 9 in load(folder, config={"text_config": {"eos_token_id": 9}}).eos_ids


def test_a_null_bos_token_means_that_there_is_none(folder):
    assert load(folder, config={"bos_token_id": 1}).bos_id == 1
    assert load(folder, tokenizer_config={"bos_token": None}).bos_id is None


def test_a_token_with_a_role_is_special_even_if_not_flagged(folder):
    tokenizer = load(folder, tokenizer_config={"pad_token": "<tool_call>"})
    pad = tokenizer.special_id("<tool_call>")
    assert pad is not None
    assert tokenizer.decode([pad]) == ""


@pytest.mark.parametrize(
    "template", ["T", [{"name": "rag", "template": "R"}, {"name": "default", "template": "T"}]]
)
def test_chat_template_from_the_configuration(folder, template):
    assert load(folder, tokenizer_config={"chat_template": template}).chat_template == "T"


def test_a_template_file_comes_before_the_configuration(folder):
    (folder / "chat_template.jinja").write_text("from file")
    tokenizer = load(folder, tokenizer_config={"chat_template": "from configuration"})
    assert tokenizer.chat_template == "from file"


def test_a_broken_settings_file_is_named(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelFormatError, match=r"config\.json is not JSON"):
        load(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelFormatError, match=r"config\.json is not a JSON object"):
        load(folder)


def test_an_unknown_kind_of_decoder_is_refused(folder):
    saved = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    with pytest.raises(ModelFormatError, match="WordPiece"):
        load(folder, tokenizer=saved | {"decoder": {"type": "WordPiece", "prefix": "##",
                                                    "cleanup": True}})  # fmt: skip
