"""Log directories that cannot be written: the task fails with the reason, and the run ends."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import Place

pytestmark = pytest.mark.e2e


def mount(path: Path, options: str) -> None:
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    path = tmp_path / "disk"
    mount(path, "size=64k")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture
def disk_without_inodes(tmp_path: Path) -> Iterator[Path]:
    """A file system that takes no more files."""
    path = tmp_path / "disk"
    mount(path, "size=64k,nr_inodes=1")
    yield path
    subprocess.run(["umount", path], check=True)


def logs_in(directory: Path) -> dict[str, object]:
    return {"max_attempts": 1, "compute_resources": {"stdout": str(directory), "stderr": str(directory)}}


def test_no_room_for_another_file(disk_without_inodes: Path, place: Place) -> None:
    result = place.run_flow([place.task("a", **logs_in(disk_without_inodes)), place.task("b")])
    assert (result["status"], result["done"], result["failed"]) == ("E", 1, 1)
    error = result["errors"]["a"][0]
    assert "No space left on device" in error
    assert str(disk_without_inodes) in error
    assert place.num_starts("a", "b") == [0, 1]


def test_no_room_for_what_a_command_prints(small_disk: Path, place: Place) -> None:
    (small_disk / "ballast").write_bytes(bytes(64 * 1024))
    result = place.run_flow(
        [place.task("a", then="head -c 100000 /dev/zero", **logs_in(small_disk)), place.task("b")]
    )
    assert (result["status"], result["done"], result["failed"]) == ("E", 1, 1)
    error = result["errors"]["a"][0]
    assert "full" in error
    assert str(small_disk) in error


def test_the_disk_fills_while_a_command_prints(small_disk: Path, place: Place) -> None:
    result = place.run_flow([place.task("a", then="head -c 100000 /dev/zero", **logs_in(small_disk))])
    assert (result["status"], result["failed"]) == ("E", 1)
    assert "full" in result["errors"]["a"][0]


def test_a_log_directory_that_cannot_be_made(place: Place) -> None:
    (place.work / "file").touch()
    result = place.run_flow([place.task("a", **logs_in(place.work / "file" / "logs")), place.task("b")])
    assert (result["status"], result["done"], result["failed"]) == ("E", 1, 1)
    error = result["errors"]["a"][0]
    assert "Not a directory" in error
    assert "file" in error


def test_a_default_log_directory_that_cannot_be_made(place: Place) -> None:
    (place.work / "file").touch()
    place.configure(task__log_directory=place.work / "file" / "logs")
    result = place.run_flow([place.task("a", max_attempts=2)])
    assert (result["status"], result["failed"]) == ("E", 1)
    assert "Not a directory" in result["errors"]["a"][0]
    assert len(place.attempts("a")) == 2


def test_no_room_for_the_log_of_a_detached_controller(small_disk: Path, place: Place) -> None:
    """What it would say is lost; the run is not, and says how it ended."""
    (small_disk / "ballast").write_bytes(bytes(64 * 1024))
    place.configure(task__log_directory=small_disk)
    script = place.start_flow([place.task("a", gate="go")], run={"detach": True})
    assert script.end() == 0, script.text
    place.wait_started("a")
    place.open("go")
    assert "1 of 1 tasks done" in place.jobmon("workflow", "wait", 1)
    assert place.runs() == "D"
    assert (small_disk / "workflow_1" / "controller.log").stat().st_size == 0
