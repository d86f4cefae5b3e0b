"""A conversation to the text that a chat model was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.exceptions import SecurityError, TemplateSyntaxError

from legato.clock import Clock, RealClock
from legato.errors import InvalidRequestError, ModelFormatError
from legato.text.chat_messages import normalised_messages
from legato.text.template_budget import RenderBudget, require_length
from legato.text.template_sandbox import BUDGET, ChatEnvironment
from legato.text.tokenizer import Tokenizer

MAX_TEMPLATE = 1 << 20
"""Longest template source in characters; the longest known ones have about 30,000."""

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""For a model without a template whose vocabulary has ``<|im_start|>``."""

PLAIN = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
"""For a model without a template or markers of its own: one line a message, "role: text"."""


def chat_template_of(tokenizer: Tokenizer) -> ChatTemplate:
    """The template that came with the model, else `CHATML` or `PLAIN`."""
    source = tokenizer.chat_template or (
        CHATML if tokenizer.special_id("<|im_start|>") is not None else PLAIN
    )
    bos_id, eos_id = tokenizer.bos_id, tokenizer.eos_id
    return ChatTemplate(
        source,
        bos_token="" if bos_id is None else tokenizer.token_text(bos_id),
        eos_token="" if eos_id is None else tokenizer.token_text(eos_id),
    )


class ChatTemplate:
    """A compiled chat template. Rendering is sandboxed, and bounded in steps, size and time.

    The text has its special tokens in it (BOS too, where the template writes it), so encode it
    with ``add_special_tokens=False``.
    """

    def __init__(
        self,
        source: str,
        bos_token: str,
        eos_token: str,
        *,
        clock: Clock | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """Compile `source`; ModelFormatError if it is no template or is not allowed.

        Args:
            source: Jinja source.
            bos_token, eos_token: texts that the template can use; "" where the model has none.
            clock: measures the time that a rendering takes.
            now: the date for templates that tell it to the model.
        """
        self._template = _compiled(source)
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        self._clock = clock or RealClock()
        self._now = now

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: object,
    ) -> str:
        """The prompt of a conversation.

        Args:
            messages: as in the OpenAI API, see `normalised_messages`.
            add_generation_prompt: end with the opening of the assistant's turn.
            tools: function descriptions for templates that show them to the model.
            kwargs: further variables that the template reads, such as ``enable_thinking``.

        Raises:
            InvalidRequestError: the messages are malformed, the template refuses them, or they
                need more work than a rendering may do.
            ModelFormatError: the template does what the sandbox forbids.
        """
        variables = {
            **kwargs,
            **self._tokens,
            "messages": normalised_messages(messages),
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
            "raise_exception": _refuse,
            "strftime_now": lambda pattern: self._now().strftime(pattern),
            BUDGET: RenderBudget(self._clock),
        }
        return _rendered(self._template, variables)


def _compiled(source: str) -> Template:
    if len(source) > MAX_TEMPLATE:
        raise ModelFormatError(
            f"the chat template has {len(source):,} characters, more than the {MAX_TEMPLATE:,} "
            "allowed"
        )
    try:
        return ChatEnvironment().from_string(source)
    except TemplateSyntaxError as error:
        raise ModelFormatError(
            f"the chat template is not valid at line {error.lineno}: {error.message}"
        ) from error
    except (RecursionError, SyntaxError, MemoryError) as error:
        raise ModelFormatError("the chat template nests too deeply to be compiled") from error


def _rendered(template: Template, variables: Mapping[str, Any]) -> str:
    try:
        return _joined(template.generate(variables))
    except SecurityError as error:
        raise ModelFormatError(
            f"the chat template does what its sandbox forbids: {error}"
        ) from error
    except RecursionError as error:
        raise ModelFormatError("the chat template calls itself without end") from error
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise InvalidRequestError(
            f"the chat template could not render these messages: {error}", param="messages"
        ) from error


def _joined(pieces: Iterable[str]) -> str:
    kept, num_chars = [], 0
    for piece in pieces:
        num_chars += len(piece)
        require_length(num_chars)
        kept.append(piece)
    return "".join(kept)


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(f"the model's chat template says: {message}", param="messages")
