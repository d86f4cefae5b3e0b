"""The few errors that a caller can catch. Every message says what was wrong, where, what to do."""

from __future__ import annotations


class LegatoError(Exception):
    """Root of every error that Legato raises on purpose."""


class ModelFormatError(LegatoError):
    """A model file or folder is malformed, unsupported or does not fit its architecture."""


class FetchError(LegatoError):
    """A model could not be fetched, or what came back failed its hash."""


class ProgramError(LegatoError):
    """A program is not well formed. Names the failing op."""


class BackendError(LegatoError):
    """A backend cannot run on this machine, or a step failed inside it."""


class CapacityError(LegatoError):
    """What was asked for can never fit into the memory that is there."""


class InvalidRequestError(LegatoError):
    """A request cannot be honoured as written.

    `param` names the offending field (dotted path), or is None when no single field is at fault.
    `code` is a stable machine-readable word, such as ``context_length_exceeded``.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class OverloadedError(LegatoError):
    """Nothing is wrong with the request, but there is no room now. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineStoppedError(LegatoError):
    """The engine has stopped (shutdown or a failed step) and this request ends with it."""
