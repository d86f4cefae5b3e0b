"""What `--speculate` says: which drafter, and how deep it drafts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from legato.errors import InvalidRequestError

DrafterName = Literal["off", "lookup", "suffix", "recall", "draft", "self"]
MAX_DEPTH = 32
MAX_SHARED = 1_000_000
FORM = (
    "off, lookup, suffix, recall, draft=MODEL or self, then k=N and shared=N if wanted, "
    "as in suffix,k=4"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculationSettings:
    """How tokens are drafted.

    Attributes:
        drafter: "lookup" copies after the newest n-gram that equals the end of the text, "suffix"
            after the longest passage that does, "recall" copies likewise and knows besides what
            the model mostly says after what (`legato calibrate --own-texts`), "draft" asks a
            smaller model, "self" the target with some of its layers left out; "off" drafts
            nothing.
        model: the draft model: a name, a .gguf file or a folder ("draft" only).
        k: drafted tokens a step; 0 chooses them by prediction.
        shared: tokens of earlier outputs that are remembered for each tenant ("suffix", "recall").
    """

    drafter: DrafterName = "off"
    model: str = ""
    k: int = 0
    shared: int = 0

    @property
    def drafts_with_model(self) -> bool:
        """Whether drafts are computed, not copied."""
        return self.drafter in ("draft", "self")


def parse_speculation(text: str) -> SpeculationSettings:
    """Settings from DRAFTER[=MODEL][,k=N][,shared=N]; InvalidRequestError says what is wrong."""
    first, *options = text.split(",")
    name, equals, model = first.partition("=")
    if name not in get_args(DrafterName):
        raise _refused(f"there is no drafter {name!r}")
    if bool(equals and model) != (name == "draft"):
        raise _refused("the drafter draft needs a model, as in draft=MODEL, and no other has one")
    values: dict[str, int] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in {field.name for field in fields(SpeculationSettings)} - {"drafter", "model"}:
            raise _refused(f"there is no option {key!r}")
        values[key] = _number(key, value)
    if values.get("shared") and name not in ("suffix", "recall"):
        raise _refused("only the drafters suffix and recall remember outputs")
    return SpeculationSettings(drafter=name, model=model, **values)  # type: ignore[arg-type]


def _number(key: str, value: str) -> int:
    most = {"k": MAX_DEPTH, "shared": MAX_SHARED}[key]
    if not (value.isascii() and value.isdigit() and int(value) <= most):
        raise _refused(f"{key} is a number from 0 to {most}, not {value!r}")
    return int(value)


def _refused(why: str) -> InvalidRequestError:
    return InvalidRequestError(f"speculate: {why}; give {FORM}", "speculate")
