"""Profiles on disk, one file for each thing that changes what a step takes."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import legato
from legato import _native
from legato.backends.native.cpus import cpu_name, usable_cpus
from legato.config import EngineConfig
from legato.cost.machine import MachineProfile
from legato.program.program import Program
from legato.whole_file import whole_file

_log = logging.getLogger(__name__)


def profile_key(program: Program, backend_name: str, config: EngineConfig) -> str:
    """Of machine, threads, backend, build and program: what a calibration holds for."""
    build = hashlib.sha256(Path(_native.__file__).read_bytes()).hexdigest()
    parts = (
        cpu_name(),
        config.num_threads or usable_cpus(),
        backend_name,
        config.precision,
        legato.__version__,
        build,
        repr(program),
    )
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def profile_path(folder: Path, key: str) -> Path:
    """Where the profile of `key` lies in `folder`."""
    return folder / f"{key}.json"


def load_profile(folder: Path, key: str) -> MachineProfile | None:
    """The profile of `key`, or None where there is none. One that is damaged counts as none, and
    the log says so."""
    path = profile_path(folder, key)
    try:
        return MachineProfile.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("the machine profile %s is ignored (%s); run legato calibrate", path, error)
        return None


def save_profile(folder: Path, key: str, profile: MachineProfile) -> Path:
    """Write the profile of `key`, whole or not at all; its path. Raises OSError."""
    path = profile_path(folder, key)
    with whole_file(path) as unfinished:
        unfinished.write_text(profile.to_json(), encoding="utf-8")
    return path
