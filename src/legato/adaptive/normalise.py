"""One spelling for answers that say the same."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation

MAX_DIGITS = 64
_AROUND = " \t\n\r.!\"'`*\u201c\u201d\u2018\u2019"

_exact = Context(prec=4 * MAX_DIGITS)


def normalised_number(written: str) -> str | None:
    """The shortest decimal form of a number; None where it has more than `MAX_DIGITS` digits or
    is none."""
    if len(written) > MAX_DIGITS:
        return None
    try:
        value = Decimal(written).normalize(_exact)
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value.adjusted()) > MAX_DIGITS:
        return None
    return "0" if value == 0 else format(value, "f")


def normalised_text(text: str) -> str | None:
    """Case folded, white space joined, quotes and full stops around it off; None where nothing
    is left."""
    return " ".join(text.casefold().split()).strip(_AROUND) or None
