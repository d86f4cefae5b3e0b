"""Where a tokenizer comes from: the vocabulary inside a GGUF file, or a folder's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class GGUFVocabulary:
    """The ``tokenizer.*`` metadata of a GGUF file, keys as in the file."""

    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TokenizerFolder:
    """A folder with tokenizer.json and, where present, tokenizer_config.json,
    generation_config.json, config.json and chat_template.jinja."""

    folder: Path


TokenizerSource = GGUFVocabulary | TokenizerFolder
