"""Makes the backend that a configuration names; imports only that one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from legato.backends.base import Backend
from legato.config import EngineConfig
from legato.errors import BackendError
from legato.program.program import Program
from legato.tensor import Tensor


def create_backend(
    program: Program,
    weights: Mapping[str, Tensor],
    config: EngineConfig,
    *,
    beside: Backend | None = None,
    share_kv: bool = False,
) -> Backend:
    """A backend of kind `config.backend` for `program` over `weights` (by canonical name).

    Args:
        beside: one of the same kind, which never runs at the same time: threads and packed
            weights are shared with it.
        share_kv: use its KV pool as well; both programs have one KV layout.

    Raises BackendError where that backend is unknown or cannot run on this machine.
    """
    if config.backend == "reference":
        from legato.backends.reference import ReferenceBackend

        return ReferenceBackend(program, weights, config, beside=beside, share_kv=share_kv)
    if config.backend == "native":
        return _native_backend()(program, weights, config, beside=beside, share_kv=share_kv)
    raise BackendError(f"unknown backend {config.backend!r}; known: native, reference")


def _native_backend() -> Callable[..., Backend]:
    try:
        from legato.backends.native import NativeBackend
    except ImportError as error:
        raise BackendError(
            f"the native kernels cannot be loaded ({error.msg}); build them with `make native`, or "
            "choose --backend reference, which is slow"
        ) from error
    return NativeBackend
