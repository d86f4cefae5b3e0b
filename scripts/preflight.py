"""Say in one line what is missing before a build starts. Runs on any Python 3, needs nothing."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROBE = "#include <bit>\n#include <span>\nint main() { return std::has_single_bit(6u) ? 1 : 0; }\n"


def problem() -> str | None:
    """What keeps this machine from building Legato, with what to do; None where nothing does."""
    if sys.version_info < (3, 11):
        version = ".".join(map(str, sys.version_info[:2]))
        return f"Python 3.11 or newer is needed, this is {version}: make PYTHON=python3.12 …"
    if importlib.util.find_spec("ensurepip") is None:
        return "this Python cannot make virtual environments (Debian: apt install python3-venv)"
    compiler = shlex.split(os.environ.get("CXX", "")) or _first_compiler()
    if not compiler or shutil.which(compiler[0]) is None:
        return "no C++ compiler found: install one (Debian: apt install g++) or set CXX"
    return _compile_problem(compiler)


def _first_compiler() -> list[str]:
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), [])


def _compile_problem(compiler: list[str]) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text(PROBE)
        command = [*compiler, "-std=c++20", "-fsyntax-only", str(source)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return f"{compiler[0]} does not compile C++20: install g++ 11 or clang 14, or newer"
    return None


if __name__ == "__main__":
    if found := problem():
        sys.exit(f"legato: {found}")
