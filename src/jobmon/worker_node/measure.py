"""Memory of commands that have a limit of it: measured here, and held by the kernel where it lends a hand.

Standard library only: the launcher loads this file by itself, when the first command with a limit comes.

Theory of operation
-------------------
Where this process may make control groups (cgroup v2 with the memory controller, delegated to the user), each
command gets one of its own and the kernel enforces the limit. Anywhere else its processes are looked at, all
commands at one look through /proc: its process group, their descendants, and descendants that left both and
were handed to the launcher. The sum of their resident memory counts shared pages once for each process; only
when it is above the limit is the exact share of each (PSS) added up, without the pages of files, which the kernel
drops when memory is short. A look takes CPU time: the more it took, the later the next one.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # importing typing would cost a third of the start
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

FIRST_LOOK_SECONDS = 0.03
SHORT_PAUSE_SECONDS = 0.1
LONG_PAUSE_SECONDS = 0.25
YOUNG_SECONDS = 2.0
PAUSES_PER_LOOK = 25
"""A look may take this fraction of a core: one in so many; CPU time, so that a busy machine is not looked at less."""
NEWBORN_SECONDS = 0.1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Process:
    """A process, as ``/proc/<pid>/stat`` tells it.

    ``cpu``: seconds it used, and those of its children that have ended and were waited for.
    ``layout`` is the same for a process and a child of it that has not called ``exec`` yet.
    """

    __slots__ = ("cpu", "group", "layout", "parent", "pid", "resident", "started")

    def __init__(self, pid: int, stat: bytes) -> None:
        fields = stat.rpartition(b")")[2].split()
        self.pid, self.parent, self.group = pid, int(fields[1]), int(fields[2])
        self.cpu = sum(map(int, fields[11:15])) / TICKS_PER_SECOND
        self.started = int(fields[19]) / TICKS_PER_SECOND  # since the machine was booted
        self.resident = int(fields[21]) * PAGE_BYTES
        self.layout = (fields[20], fields[23], fields[25])  # size, start of the code, start of the stack


def processes() -> dict[int, Process]:
    """All processes of this machine that can be seen."""
    found: dict[int, Process] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    found[int(name)] = Process(int(name), file.read())
            except (OSError, IndexError, ValueError):
                continue  # it has ended
    return found


def trees(roots: dict[int, list[int]], seen: dict[int, Process]) -> dict[int, list[Process]]:
    """The processes of each command: its group, what else is known to be its own, and all descendants.

    Args:
        roots: processes of commands by the id of their group.
        seen: all processes.
    """
    children: dict[int, list[int]] = {}
    groups: dict[int, list[int]] = {}
    for process in seen.values():
        children.setdefault(process.parent, []).append(process.pid)
        groups.setdefault(process.group, []).append(process.pid)
    found: dict[int, list[Process]] = {}
    for group, known in roots.items():
        members: set[int] = set()
        todo = [group, *groups.get(group, ()), *known]
        while todo:
            pid = todo.pop()
            if pid in seen and pid not in members:
                members.add(pid)
                todo.extend(children.get(pid, ()))
        found[group] = [seen[pid] for pid in members]
    return found


def is_shadow(process: Process, seen: dict[int, Process], now: float) -> bool:
    """Whether a process was born this moment and still is a copy of its parent, or lives in its memory (vfork)."""
    parent = seen.get(process.parent)
    return parent is not None and parent.layout == process.layout and now - process.started < NEWBORN_SECONDS


def exact_share(process: Process) -> int:
    """Bytes of memory of a process, those shared by n processes counted as an n-th, without pages of files.

    One that has ended meanwhile has none; of another user's only what is resident is known.
    """
    share = 0
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    share = int(line.split()[1])
                elif line.startswith(b"Pss_File:"):
                    share -= int(line.split()[1])
                    break
    except PermissionError:
        return process.resident
    except (OSError, IndexError, ValueError):
        return 0
    return share * 1024


def exact_sum(members: list[Process], limit: int) -> int:
    """Bytes of memory of several processes together.

    What seems to be above the limit is read twice, and the smaller sum holds: a process that ends between two readings
    leaves its part of shared pages to the others, which would then be counted twice.
    """
    used = sum(exact_share(member) for member in members)
    return min(used, sum(exact_share(member) for member in members)) if used > limit else used


class Watched:
    """A command whose memory is limited and measured here; what it used is the most that was seen."""

    __slots__ = ("cpu", "id", "limit", "peak", "started")

    def __init__(self, id: int, limit: int, started: float) -> None:
        self.id, self.limit, self.started = id, limit, started
        self.peak, self.cpu = 0, 0.0


class MemoryWatch:
    """Measures commands that have a limit of memory.

    Args:
        owner_of: task instance that a process belongs to.
        base: directory in which control groups can be made; ``None``: nowhere; by default it is looked for.
    """

    def __init__(self, owner_of: Callable[[int], int | None], base: str | None = "") -> None:
        self._owner_of = owner_of
        self._base = cgroup_base() if base == "" else base
        self._watched: dict[int, Watched] = {}
        self._not_before = 0.0

    @property
    def next_at(self) -> float | None:
        """When to look next; ``None`` when there is nothing to look at."""
        if not self._watched:
            return None
        return max(self._not_before, min(w.started for w in self._watched.values()) + FIRST_LOOK_SECONDS)

    def add(self, pid: int, id: int, limit: int, started: float) -> Cgroup | None:
        """Limit a command that was started just now; its control group, where it has one.

        Args:
            pid: its process, the leader of its group.
            id: its task instance.
            limit: in bytes.
            started: by the monotonic clock.
        """
        if self._base is not None:
            try:
                return Cgroup(f"{self._base}/jobmon-{os.getpid()}-{id}", limit, pid)
            except OSError:
                self._base = None  # it only looked as if it could be done
        self._watched[pid] = Watched(id, limit, started)
        return None

    def remove(self, pid: int) -> tuple[int, float]:
        """Forget a command that has ended; its peak in bytes and its CPU seconds, 0 if it was never looked at."""
        watched = self._watched.pop(pid, None)
        return (0, 0.0) if watched is None else (watched.peak, watched.cpu)

    def look(self, now: float, commands: Collection[int]) -> list[int]:
        """Measure all commands; those that use more than they may.

        Args:
            now: by the monotonic clock.
            commands: the processes of all commands that run, limited or not.
        """
        begun = time.thread_time()
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        seen = processes()
        roots: dict[int, list[int]] = {pid: [] for pid in self._watched}
        by_id = {watched.id: pid for pid, watched in self._watched.items()}
        own = os.getpid()
        for process in seen.values():
            if process.parent == own and process.pid not in commands and process.group not in roots:
                owner = by_id.get(self._owner_of(process.pid) or 0)
                if owner is not None:
                    roots[owner].append(process.pid)
        too_large = []
        is_close = False
        for pid, members in trees(roots, seen).items():
            watched = self._watched[pid]
            counted = [member for member in members if not is_shadow(member, seen, since_boot)]
            used = sum(member.resident for member in counted)
            if used > watched.limit:
                used = exact_sum(counted, watched.limit)
            watched.peak = max(watched.peak, used)
            watched.cpu = max(watched.cpu, sum(member.cpu for member in members))
            if used > watched.limit:
                too_large.append(pid)
            is_close |= 2 * used > watched.limit or now - watched.started < YOUNG_SECONDS
        pause = SHORT_PAUSE_SECONDS if is_close else LONG_PAUSE_SECONDS
        self._not_before = time.monotonic() + max(pause, PAUSES_PER_LOOK * (time.thread_time() - begun))
        return too_large


class Cgroup:
    """A control group of the second version for one command.

    Args:
        path: its directory, which does not exist yet.
        limit: bytes of memory it may use; swap does not help.
        pid: the command, which is moved into it with the children it has.

    Raises:
        OSError: it cannot be had.
    """

    def __init__(self, path: str, limit: int, pid: int) -> None:
        self.path, self.limit = path, limit
        os.mkdir(path)
        try:
            self._write("memory.max", str(limit))
            for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                try:
                    self._write(name, value)
                except OSError:
                    pass  # a kernel without
            self._write("cgroup.procs", str(pid))
        except OSError:
            self.remove()
            raise
        try:
            with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
                for child in file.read().split():
                    self._write("cgroup.procs", child.decode())
        except OSError:
            pass  # it ended meanwhile

    def _write(self, name: str, value: str) -> None:
        with open(f"{self.path}/{name}", "w") as file:
            file.write(value)

    def has_killed(self) -> bool:
        """Whether the kernel killed processes of it for want of memory."""
        return self._number("memory.events", "oom_kill") > 0

    def cpu(self) -> float:
        """Seconds of CPU that all of its processes used."""
        return self._number("cpu.stat", "usage_usec") / 1e6

    def peak(self) -> int:
        """The most memory it used, in bytes; 0 where the kernel does not say (before Linux 5.19)."""
        return self._number("memory.peak")

    def _number(self, name: str, key: str = "") -> int:
        try:
            with open(f"{self.path}/{name}") as file:
                for line in file:
                    words = line.split()
                    if not key or words[0] == key:
                        return int(words[-1])
        except (OSError, IndexError, ValueError):
            pass
        return 0

    def remove(self) -> None:
        """End whatever is left in it, and remove it."""
        try:
            self._write("cgroup.kill", "1")
        except OSError:
            pass  # older than Linux 5.14
        try:
            os.rmdir(self.path)
        except OSError:
            pass  # somebody in it is still on the way out: an empty group costs nothing


def cgroup_base(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> str | None:
    """The directory in which this process may make control groups with a limit of memory; ``None``: nowhere.

    That is its own group or the one above, with the memory controller handed down and the right to write.
    """
    own = ""
    try:
        with open(membership) as file:
            for line in file:
                if line.startswith("0::"):
                    own = line.rstrip("\n")[len("0::") :].rstrip("/")
    except OSError:
        return None
    for directory in dict.fromkeys((root + own, root + own.rpartition("/")[0])):
        try:
            with open(f"{directory}/cgroup.subtree_control") as file:
                is_handed_down = "memory" in file.read().split()
        except OSError:
            continue
        if is_handed_down and all(os.access(f"{directory}{file}", os.W_OK) for file in ("", "/cgroup.procs")):
            return directory
    return None
