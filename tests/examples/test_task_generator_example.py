"""The example of task generators, as a user runs it, and by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobmon.core.local_server import LocalServerFiles, stop

SCRIPT = Path(__file__).parents[2] / "examples" / "task_generator.py"
PROGRAM = Path(sys.executable).with_name("worker_node_entry_point")


@pytest.mark.e2e
def test_pi_is_about_right_and_a_part_can_be_called_by_hand(tmp_path: Path) -> None:
    files = LocalServerFiles(tmp_path / "jobmon")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON__")}
    environment = {**variables, "HOME": str(tmp_path), "JOBMON__EMBEDDED__DIRECTORY": str(files.directory)}

    def call(*words: str | Path) -> str:
        done = subprocess.run(
            words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        said = call(sys.executable, SCRIPT)
    finally:
        if files.directory.exists():
            stop(files)
    assert "ended with status D" in said
    assert "Pi is about 3.1" in said
    points = tmp_path / "points"
    assert (points / "None.txt").read_text() == "4.000\n"
    assert len(list(points.glob("*_*.json"))) == 12

    where = ("--module_name", "task_generator", "--module_source_path", SCRIPT, "--func_name", "throw")
    assert "shape: str | None (default None)" in call(PROGRAM, "task_generator", *where, "--arghelp")
    call(PROGRAM, "task_generator", *where, "seed=99", f"directory={points}", "num_points=10", "shape=None")
    assert (points / "None_99.json").read_text() == "[10, 10]"
