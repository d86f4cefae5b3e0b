"""The native backend: a program lowered to a flat plan that C++ executes in one call a step."""

from legato.backends.native.backend import NativeBackend

__all__ = ["NativeBackend"]
