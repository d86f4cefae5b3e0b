"""The kernels' own checks, in C++: every instruction set of this CPU, without Python between."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "checks"


def run(*command: str | Path) -> str:
    """What a command printed. Fails with that where it does not exit 0."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built_kernels() -> Path | None:
    """The kernels that the module was linked with, where they are newer than their sources."""
    sources = [*(ROOT / "native").glob("*.*"), *(ROOT / "native" / "ops").iterdir()]
    newest = max(path.stat().st_mtime for path in (*sources, ROOT / "CMakeLists.txt"))
    archives = ROOT.glob("build/*/liblegato_kernels.a")
    return next((path for path in archives if path.stat().st_mtime > newest), None)


def test_the_kernels_own_checks_pass() -> None:
    kernels = f"-DLEGATO_KERNELS={built_kernels() or ''}"
    run("cmake", "-S", ROOT / "native" / "tests", "-B", BUILD, kernels)
    run("cmake", "--build", BUILD, "--parallel", "2", "--target", "checks")
    for kind in ("linear", "attention", "sample"):
        assert f"{kind}: all passed" in run(BUILD / f"{kind}_test")
