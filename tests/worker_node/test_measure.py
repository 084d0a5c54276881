"""Measuring memory: the parts that read /proc, and control groups on a directory that looks like theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobmon.worker_node import launcher, measure
from jobmon.worker_node.measure import Cgroup, MemoryWatch, Process, cgroup_base, is_shadow, trees
from processes import wait_until

PAGE = measure.PAGE_BYTES


def process(
    pid: int, parent: int, group: int, pages: int = 1, layout: str = "1 2 3", started: float = 5.0
) -> Process:
    """As the kernel would tell it, of a program with a name that is hard to read."""
    size, code, stack = layout.split()
    ticks = int(started * measure.TICKS_PER_SECOND)
    after_group = f"{group} 0 -1 0 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} {size} {pages} 99 {code} 0 {stack} 0"
    return Process(pid, f"{pid} (a) b (c) S {parent} {after_group}".encode())


# -- /proc ------------------------------------------------------------------------------------------------
def test_what_the_kernel_tells_of_a_process() -> None:
    found = process(7, 3, 5, pages=11)
    assert (found.pid, found.parent, found.group, found.resident) == (7, 3, 5, 11 * PAGE)
    assert (found.started, found.layout) == (5.0, (b"1", b"2", b"3"))
    own = measure.processes()[os.getpid()]
    assert (own.parent, own.group) == (os.getppid(), os.getpgid(0))
    assert own.resident > 10 * 2**20
    assert 0 < own.started < 10**9


def test_a_tree_is_the_group_its_descendants_and_who_is_known() -> None:
    """Each once, whatever ways lead to it."""
    rows = [
        process(10, 1, 10),
        process(11, 10, 10),
        process(12, 11, 12),  # left the group
        process(13, 1, 10),  # its parent has gone
        process(14, 13, 14),
        process(15, 1, 15),  # a daemon that is known to be of it
        process(16, 15, 15),
        process(20, 1, 20),
        process(21, 20, 20),
        process(30, 1, 30),
    ]
    seen = {each.pid: each for each in rows}
    found = trees({10: [15], 20: [], 40: []}, seen)
    assert {group: sorted(each.pid for each in members) for group, members in found.items()} == {
        10: [10, 11, 12, 13, 14, 15, 16],
        20: [20, 21],
        40: [],
    }


def test_a_newborn_copy_is_not_counted() -> None:
    """Between fork and exec a process shows the memory of its parent; an old one is a process of its own."""
    parent = process(1, 0, 1)
    seen = {1: parent}
    assert is_shadow(process(2, 1, 1, started=9.95), seen, 10.0)
    assert not is_shadow(process(2, 1, 1, started=9.5), seen, 10.0)
    assert not is_shadow(process(2, 1, 1, started=9.95, layout="1 2 4"), seen, 10.0)
    assert not is_shadow(process(2, 7, 1, started=9.95), seen, 10.0)


def test_the_exact_share_leaves_out_pages_of_files() -> None:
    own = measure.processes()[os.getpid()]
    assert 2**20 < measure.exact_share(own) < own.resident
    gone = process(2**22 + 1, 1, 1, pages=3)
    assert measure.exact_share(gone) == 0


# -- looking ----------------------------------------------------------------------------------------------
def test_what_has_ended_has_no_share() -> None:
    """A zombie is still listed, with nothing behind it; its last resident size must not count."""
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    process = measure.processes()[child.pid]
    assert child.stdin is not None
    child.stdin.close()
    wait_until(lambda: measure.exact_share(process) == 0, "the end of the child")
    assert process.resident > 0
    child.wait()
    assert measure.exact_share(process) == 0


def test_what_seems_too_large_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that ended between two readings leave their shares to the others."""
    readings = iter([25, 100, 0, 100])
    monkeypatch.setattr(measure, "exact_share", lambda _process: next(readings))
    members = list(measure.processes().values())[:2]
    assert measure.exact_sum(members, 110) == 100
    readings = iter([25, 80])
    assert measure.exact_sum(members, 110) == 105


def test_it_looks_early_then_now_and_then_and_only_while_there_is_a_limit() -> None:
    watch = MemoryWatch(lambda pid: None, base=None)
    assert watch.next_at is None
    assert watch.add(os.getpid(), 1, 2**50, started=100.0) is None
    assert watch.next_at == 100.0 + measure.FIRST_LOOK_SECONDS
    now = measure.time.monotonic()
    assert watch.look(now, [os.getpid()]) == []
    assert watch.next_at is not None
    assert watch.next_at >= now + measure.SHORT_PAUSE_SECONDS
    peak, cpu = watch.remove(os.getpid())
    assert peak > 2**20
    assert cpu > 0
    assert watch.next_at is None
    assert watch.remove(os.getpid()) == (0, 0)


def test_commands_above_their_limit_are_found() -> None:
    """This process as a command, with the processes it has."""
    watch = MemoryWatch(lambda pid: None, base=None)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as child:
        wait_until(lambda: Path(f"/proc/{child.pid}/cmdline").read_bytes().startswith(b"sleep"), "the child")
        watch.add(os.getpid(), 1, 2**20, started=0.0)
        watch.add(child.pid, 2, 2**40, started=0.0)
        assert watch.look(measure.time.monotonic(), [os.getpid(), child.pid]) == [os.getpid()]
        child.kill()


def test_a_daemon_is_counted_for_the_command_it_comes_from() -> None:
    """An orphan in a group of its own is known by its environment."""
    orphan = subprocess.Popen(["sleep", "600"], start_new_session=True)
    asked: list[int] = []
    try:

        def owner_of(pid: int) -> int | None:
            asked.append(pid)
            return 7 if pid == orphan.pid else None

        watch = MemoryWatch(owner_of, base=None)
        watch.add(2**22 + 1, 7, 1, started=0.0)
        assert watch.look(measure.time.monotonic(), []) == [2**22 + 1]
        assert orphan.pid in asked
        asked.clear()
        watch.look(measure.time.monotonic(), [orphan.pid])
        assert orphan.pid not in asked  # it is a command itself
    finally:
        orphan.kill()
        orphan.wait()


def test_without_limits_nothing_is_loaded_and_nothing_is_due() -> None:
    """A launcher wakes up for what has a limit only."""
    idle = launcher.Launcher(2, 1.0)
    entry = {"id": 1, "stdout": "", "stderr": ""}
    idle.running[2**22 + 1] = launcher.Running(entry, 100.0)
    assert (idle.watch, idle.timeout()) == (None, None)
    limited = launcher.Running({**entry, "runtime": 5}, 100.0)
    assert limited.due_at == 105.0


# -- control groups ---------------------------------------------------------------------------------------
@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The tree of a user's session: two groups, one in the other."""
    for directory in (tmp_path / "app.slice", tmp_path / "app.slice" / "own.scope"):
        directory.mkdir()
        (directory / "cgroup.subtree_control").write_text("")
        (directory / "cgroup.procs").write_text("")
    (tmp_path / "cgroup").write_text("1:name=systemd:/x\n0::/app.slice/own.scope\n")
    return tmp_path


def base(tree: Path) -> str | None:
    return cgroup_base(str(tree), str(tree / "cgroup"))


def test_a_place_for_control_groups(tree: Path) -> None:
    """The group of this process, or the one above, whichever hands memory down."""
    above, own = tree / "app.slice", tree / "app.slice" / "own.scope"
    assert base(tree) is None
    (above / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert base(tree) == str(above)
    (own / "cgroup.subtree_control").write_text("memory\n")
    assert base(tree) == str(own)
    (own / "cgroup.procs").unlink()  # may not be written
    assert base(tree) == str(above)
    (tree / "cgroup").unlink()
    assert base(tree) is None


def test_a_control_group_of_a_command(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limited before the command moves in; asked at its end; then removed."""
    path = tree / "app.slice" / "jobmon-1-2"
    written: list[tuple[str, str]] = []
    write = Cgroup._write

    def note(self: Cgroup, name: str, value: str) -> None:
        written.append((name, value))
        if name in ("memory.swap.max", "cgroup.kill"):
            raise PermissionError(name)
        write(self, name, value)

    monkeypatch.setattr(Cgroup, "_write", note)
    with subprocess.Popen(
        ["sh", "-c", "sleep 600 & echo; wait"], stdout=subprocess.PIPE, start_new_session=True
    ) as p:
        assert p.stdout is not None
        p.stdout.readline()
        child = Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().strip()
        group = Cgroup(str(path), 200 * 2**20, p.pid)
        os.killpg(p.pid, 9)
    assert written == [
        ("memory.max", str(200 * 2**20)),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
        ("cgroup.procs", str(p.pid)),
        ("cgroup.procs", child),
    ]
    assert (group.has_killed(), group.peak()) == (False, 0)  # an old kernel says nothing
    (path / "memory.events").write_text("low 0\noom 1\noom_kill 0\n")
    assert not group.has_killed()
    (path / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    (path / "memory.peak").write_text("209715200\n")
    (path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    assert (group.has_killed(), group.peak(), group.cpu()) == (True, 200 * 2**20, 1.5)
    group.remove()
    assert path.exists()  # somebody is on the way out; and here the files are not the kernel's
    for file in path.iterdir():
        file.unlink()
    group.remove()
    assert not path.exists()


def test_a_control_group_that_cannot_be_had(tmp_path: Path) -> None:
    """Then the command is measured instead, and nobody tries again."""
    (tmp_path / f"jobmon-{os.getpid()}-1").touch()
    watch = MemoryWatch(lambda pid: None, base=str(tmp_path))
    assert watch.add(os.getpid(), 1, 2**50, started=0.0) is None
    assert watch.next_at is not None
    assert watch.add(os.getpid(), 2, 2**50, started=0.0) is None
    assert not (tmp_path / f"jobmon-{os.getpid()}-2").exists()


PRETENDING = """
import os, sys
sys.path.append(os.path.dirname(sys.argv[3]))
import measure
from jobmon.worker_node import launcher
def rmdir(path):
    for name in os.listdir(path):
        os.unlink(f"{path}/{name}")
    remove(path)
remove, os.rmdir = os.rmdir, rmdir
measure.cgroup_base = lambda: sys.argv[4]
took = measure.Cgroup.__init__
def take(self, path, limit, pid):
    took(self, path, limit, pid)
    for name, text in (("memory.events", "oom_kill 1"), ("memory.peak", str(limit))):
        with open(f"{path}/{name}", "w") as file:
            file.write(text)
measure.Cgroup.__init__ = take
launcher.main()
"""


def test_a_launcher_with_control_groups(tmp_path: Path) -> None:
    """What the kernel killed is told as beyond its memory, and its group is gone."""
    logs = {"stdout": str(tmp_path / "o"), "stderr": str(tmp_path / "e")}
    entry = {"id": 5, "command": "exit 3", "environment": {}, **logs, "memory": 123456789}
    groups = tmp_path / "groups"
    groups.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", PRETENDING, "1", "1", launcher.__file__, str(groups)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"run": [entry]}).encode() + b"\n")
        process.stdin.flush()
        told = ""
        while '"ended"' not in told:
            line = process.stdout.readline()
            assert line, told
            told += line.decode()
        process.stdin.close()
    assert '"limit":"memory"' in told
    assert '"maxrss":123456789' in told
    assert list(groups.iterdir()) == []
