"""What the crash tests share: databases with a server on each, and a fake Slurm, for all tests of a module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FAULTS = str(Path(__file__).resolve().parents[1] / "faults")
if FAULTS not in sys.path:
    sys.path.insert(0, FAULTS)  # a place on the fake Slurm, and database servers of one's own
CHECKOUT = str(Path(__file__).resolve().parents[2])
if CHECKOUT not in sys.path:
    sys.path.insert(0, CHECKOUT)  # the load simulator is a package beside ``tests``

from crash_scene import CrashScenes  # noqa: E402


@pytest.fixture(scope="module")
def crash_scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashScenes]:
    """Databases, servers and a cluster, each made when a test first asks for it."""
    scenes = CrashScenes(tmp_path_factory.mktemp("crash"))
    try:
        yield scenes
    finally:
        scenes.close()
