"""The launcher: a small process that runs commands on this machine for one controller.

Rules
-----
1. Standard library only; run as ``python -I -S launcher.py``, never imported by the controller.
2. Every command is the leader of a session and process group of its own. When it ends, what is left of its group ends.
3. The launcher is the reaper of orphans (``PR_SET_CHILD_SUBREAPER``), so that a descendant which left the group
   stays within reach.
4. A command ends when it reaches a limit it came with: its run time (asked first, by SIGTERM) or its memory (at once).
   What has no limit is not measured, and costs nothing.
5. When the controller goes away (end of file on stdin, or its end where a process it forked keeps the pipe open),
   everything ends: first asked by SIGTERM, then by SIGKILL.

Theory of operation
-------------------
Both directions are lines of JSON. From the controller: ``{"run": [command…]}``, ``{"kill": [id…]}``. To the controller: a list of
events a line, each ``{"event": "started" | "ended" | "failed" | "killed", "id": …}``. ``failed`` commands never started;
``killed`` ones were dropped from the queue before they did; ``ended`` ones name the ``limit`` that ended them, if any:
``runtime`` (seconds) or ``memory`` (bytes). One thread, one ``select``; ends of
commands arrive as SIGCHLD on a wake-up descriptor. ``wait4`` gives the resources a command and the descendants it
waited for have used: ``ru_maxrss`` in KiB and ``ru_inblock``/``ru_oublock`` in blocks of 512 bytes (getrusage(2)).
Descendants that are ended together with their command are not waited for by it: what they used is read before.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # importing typing would cost a third of the start
if TYPE_CHECKING:
    import resource
    from typing import Any

    from jobmon.worker_node.measure import Cgroup, MemoryWatch

    Entry = dict[str, Any]

TAIL_CHARACTERS = 10_000
BLOCK_BYTES = 512
FLUSH_SECONDS = 0.005
GRACE_WITHOUT_CONTROLLER_SECONDS = 5.0
AGAIN_SECONDS = 1.0
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
SHELL = "/bin/sh"
LONGEST_COMMAND_BYTES = 131_071  # MAX_ARG_STRLEN, linux/binfmts.h, without the NUL byte at the end
LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
ID_VARIABLE = b"JOBMON_TASK_INSTANCE_ID="
# A command inherits nothing of what Python, the launcher or a shell in the background ignores.
DEFAULT_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class Running:
    """A command that runs.

    ``due_at``: when its run time is over; once it is ending, when to end it by force.
    """

    __slots__ = (
        "cgroup",
        "cpu",
        "due_at",
        "id",
        "is_ending",
        "limit",
        "started",
        "stderr",
        "stdout",
        "was_killed",
    )

    def __init__(self, entry: Entry, started: float) -> None:
        self.id, self.stdout, self.stderr = entry["id"], entry["stdout"], entry["stderr"]
        self.started = started
        runtime = entry.get("runtime")
        self.due_at: float | None = None if runtime is None else started + runtime
        self.is_ending = self.was_killed = False
        self.limit = ""
        self.cpu = 0.0  # seconds that were seen before it was ended
        self.cgroup: Cgroup | None = None


class Launcher:
    """Runs commands, a bounded number at once.

    Args:
        slots: commands run at once.
        grace_seconds: time between SIGTERM and SIGKILL.
    """

    def __init__(self, slots: int, grace_seconds: float) -> None:
        self.slots, self.grace_seconds = slots, grace_seconds
        self.queue: list[Entry] = []
        self.next = 0  # position in the queue: popping from the front of a long list is not linear
        self.running: dict[int, Running] = {}
        self.watch: MemoryWatch | None = None  # from the first command on that has a limit of memory
        self.events: list[dict[str, object]] = []
        self.last_flush = 0.0
        self.is_closing = False
        self.is_heard = True  # somebody reads what is told
        self.must_close = False
        self.environment = {os.fsencode(k): os.fsencode(v) for k, v in os.environ.items()}
        self.directory = os.getcwd()
        self.children_file = f"/proc/self/task/{os.getpid()}/children"

    # -- the loop -----------------------------------------------------------------------------------
    def serve(self) -> None:
        """Work until the controller is gone and every command has ended."""
        wake_read, wake_write = os.pipe()
        for descriptor in (wake_read, wake_write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.ask_to_close())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.set_blocking(0, False)
        controller = end_of(os.getppid())
        pending = b""
        while True:
            watched = [wake_read] if self.is_closing else [0, wake_read, *controller]
            ready, _, _ = select.select(watched, [], [], self.timeout())
            if wake_read in ready:
                drain(wake_read)
            if 0 in ready and not self.is_closing:
                data = read_some(0)
                if data is None:
                    self.must_close = True
                else:
                    *lines, pending = (pending + data).split(b"\n")
                    for line in lines:
                        self.obey(json.loads(line))
            if not controller.isdisjoint(ready):
                self.must_close, self.is_heard = True, False
            if self.must_close and not self.is_closing:
                self.close()
            self.reap()
            self.end_overdue()
            self.end_too_large()
            self.start_next()
            self.flush()
            if self.is_closing and not self.running:
                self.kill_orphans()
                return

    def timeout(self) -> float | None:
        """Seconds until something is due; ``None`` when nothing is."""
        due = [r.due_at for r in self.running.values() if r.due_at is not None]
        if self.watch is not None and self.watch.next_at is not None:
            due.append(self.watch.next_at)
        if self.events:
            due.append(self.last_flush + FLUSH_SECONDS)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def obey(self, message: Entry) -> None:
        """Carry out one message of the controller."""
        self.queue.extend(message.get("run", ()))
        if "kill" in message:
            self.kill(set(message["kill"]))

    def ask_to_close(self) -> None:
        """Close at the next turn of the loop: a signal may come in the middle of anything."""
        self.must_close = True

    def close(self) -> None:
        """The controller is gone: drop what waits, end what runs."""
        self.is_closing = True
        self.grace_seconds = min(self.grace_seconds, GRACE_WITHOUT_CONTROLLER_SECONDS)
        self.kill({entry["id"] for entry in self.queue[self.next :]} | {r.id for r in self.running.values()})
        latest = time.monotonic() + self.grace_seconds
        for running in self.running.values():  # those asked before had been given longer
            running.due_at = min(latest, running.due_at or latest)

    # -- starting -----------------------------------------------------------------------------------
    def start_next(self) -> None:
        """Start what waits, as slots allow."""
        while len(self.running) < self.slots and self.next < len(self.queue):
            entry = self.queue[self.next]
            self.next += 1
            self.start(entry)
        if self.next > 1000 and self.next * 2 > len(self.queue):
            del self.queue[: self.next]
            self.next = 0

    def start(self, entry: Entry) -> None:
        """Start one command."""
        environment = dict(self.environment)
        out = err = -1
        directory = entry.get("working_dir")
        try:
            for name, value in entry["environment"].items():
                environment[os.fsencode(name)] = os.fsencode(value)
            if directory:
                os.chdir(directory)
            out = open_log(entry["stdout"])
            err = open_log(entry["stderr"])
            started = time.monotonic()
            pid = os.posix_spawn(
                SHELL,
                [SHELL, "-c", entry["command"]],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, err, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=DEFAULT_SIGNALS,
            )
        except (OSError, ValueError) as error:
            self.events.append({"event": "failed", "id": entry["id"], "reason": describe(error)})
            return
        finally:
            for descriptor in (out, err):
                if descriptor >= 0:
                    os.close(descriptor)
            if directory:
                os.chdir(self.directory)
        self.running[pid] = running = Running(entry, started)
        if "memory" in entry:
            if self.watch is None:
                self.watch = memory_watch()
            running.cgroup = self.watch.add(pid, entry["id"], entry["memory"], started)
        self.events.append({"event": "started", "id": entry["id"], "pid": pid})

    # -- ending -------------------------------------------------------------------------------------
    def reap(self) -> None:
        """Collect what has ended."""
        ended = False
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if found is None:
                break
            ended = True
            pid = found.si_pid
            running = self.running.pop(pid, None)
            if running is not None:
                kill_group(pid, signal.SIGKILL)  # the zombie still holds the id: no other group can be meant
            _, _, usage = os.wait4(pid, 0)
            if running is not None:
                self.report_end(running, found, usage)
        if ended:
            self.kill_orphans()

    def report_end(self, running: Running, found: os.waitid_result, usage: resource.struct_rusage) -> None:
        """Tell how a command ended and what it used."""
        exited = found.si_code == os.CLD_EXITED
        peak = usage.ru_maxrss * 1024
        cpu = max(running.cpu, usage.ru_utime + usage.ru_stime)
        if self.watch is not None:
            seen_peak, seen_cpu = self.watch.remove(found.si_pid)
            peak, cpu = max(peak, seen_peak), max(cpu, seen_cpu)
        if running.cgroup is not None:
            peak, cpu = max(peak, running.cgroup.peak()), max(cpu, running.cgroup.cpu())
            if running.cgroup.has_killed():
                running.limit = "memory"
            running.cgroup.remove()
        self.events.append(
            {
                "event": "ended",
                "id": running.id,
                "exit_code": found.si_status if exited else -found.si_status,
                "was_killed": running.was_killed,
                "limit": running.limit,
                "wallclock": time.monotonic() - running.started,
                "maxrss": peak,
                "cpu": cpu,
                "io": (usage.ru_inblock + usage.ru_oublock) * BLOCK_BYTES,
                "stdout_log": tail(running.stdout),
                "stderr_log": tail(running.stderr),
            }
        )

    def kill(self, ids: set[int]) -> None:
        """End commands: drop those that wait, ask those that run, make sure later."""
        kept = []
        for entry in self.queue[self.next :]:
            if entry["id"] in ids:
                self.events.append({"event": "killed", "id": entry["id"]})
            else:
                kept.append(entry)
        self.queue, self.next = kept, 0
        pids = []
        for pid, running in self.running.items():
            if running.id in ids:
                running.was_killed = True
                if not running.is_ending:
                    pids.append(pid)
        self.ask_to_end(pids)

    def ask_to_end(self, pids: list[int]) -> None:
        """Send SIGTERM to commands with all of their descendants; force follows after the grace period."""
        families = families_of(pids) if pids else {}
        deadline = time.monotonic() + self.grace_seconds
        for pid in pids:
            running = self.running[pid]
            running.due_at, running.is_ending = deadline, True
            running.cpu = max(running.cpu, cpu_seconds([pid, *families[pid]]))
            kill_group(pid, signal.SIGTERM)
            for descendant in families[pid]:
                kill_process(descendant, signal.SIGTERM)

    def end_overdue(self) -> None:
        """End what has run as long as it may, and by force what was asked to end and did not."""
        now = time.monotonic()
        overdue = [p for p, r in self.running.items() if r.due_at is not None and r.due_at <= now]
        if not overdue:
            return
        late = [pid for pid in overdue if not self.running[pid].is_ending and not has_ended(pid)]
        for pid in late:
            self.running[pid].limit = "runtime"
        self.ask_to_end(late)
        self.kill_now([pid for pid in overdue if self.running[pid].is_ending and pid not in late])

    def end_too_large(self) -> None:
        """End what uses more memory than it may, at once: a machine without memory waits for nobody."""
        watch, now = self.watch, time.monotonic()
        if watch is None or watch.next_at is None or watch.next_at > now:
            return
        too_large = watch.look(now, self.running.keys())
        for pid in too_large:
            running = self.running[pid]
            running.limit, running.is_ending = "memory", True
        self.kill_now(too_large)

    def kill_now(self, pids: list[int]) -> None:
        """End commands with all of their descendants by force."""
        if not pids:
            return
        families = families_of(pids)
        again = time.monotonic() + AGAIN_SECONDS  # should anything have been born meanwhile
        for pid in pids:
            running = self.running[pid]
            running.due_at = again
            running.cpu = max(running.cpu, cpu_seconds([pid, *families[pid]]))
            for descendant in families[pid]:
                kill_process(descendant, signal.SIGKILL)
            kill_group(pid, signal.SIGKILL)

    def kill_orphans(self) -> None:
        """End descendants that left their group and outlived their command; they have become our children."""
        try:
            with open(self.children_file, "rb") as file:
                orphans = {int(pid) for pid in file.read().split()} - self.running.keys()
        except OSError:
            return
        if not orphans:
            return
        live = {running.id for running in self.running.values()}
        owners = {pid: owner_of(pid) for pid in orphans}
        doomed = [
            pid for pid, owner in owners.items() if owner not in live and (owner is not None or not live)
        ]
        for pid, descendants in families_of(doomed).items() if doomed else ():
            for descendant in descendants:
                kill_process(descendant, signal.SIGKILL)
            kill_process(pid, signal.SIGKILL)

    # -- telling ------------------------------------------------------------------------------------
    def flush(self) -> None:
        """Tell the controller what happened; while enough waits to keep busy, a few milliseconds' worth at a time."""
        if not self.is_heard:
            self.events.clear()
        if not self.events:
            return
        now = time.monotonic()
        is_busy = len(self.queue) - self.next > self.slots
        if is_busy and now - self.last_flush < FLUSH_SECONDS:
            return
        data = json.dumps(self.events, separators=(",", ":")).encode() + b"\n"
        self.events.clear()
        self.last_flush = now
        try:
            while data:
                data = data[os.write(1, data) :]
        except BrokenPipeError:
            if not self.is_closing:
                self.close()


def memory_watch() -> MemoryWatch:
    """The part that measures memory, loaded when the first command comes that needs it."""
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # an isolated Python does not look there
    watch: MemoryWatch = importlib.import_module("measure").MemoryWatch(owner_of)
    return watch


def read_some(descriptor: int) -> bytes | None:
    """What can be read now; ``None`` at the end of the file."""
    try:
        return os.read(descriptor, 1 << 20) or None
    except BlockingIOError:
        return b""


def end_of(pid: int) -> set[int]:
    """A descriptor that becomes readable when a process ends; none where there is no such thing."""
    try:
        return {os.pidfd_open(pid)}
    except (OSError, AttributeError):
        return set()


def drain(descriptor: int) -> None:
    """Empty a wake-up pipe."""
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        pass


def open_log(path: str) -> int:
    """Open a log file for writing, with its directory."""
    try:
        return os.open(path, LOG_FLAGS, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, LOG_FLAGS, 0o666)


def describe(error: Exception) -> str:
    """An error in words, with the file it is about."""
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return f"{error.strerror}: a command may have {LONGEST_COMMAND_BYTES} bytes; put what is longer into a file"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def tail(path: str) -> str:
    """The last characters of a log file; bytes that are not UTF-8 are replaced."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                return ""
            file.seek(max(0, size - 4 * TAIL_CHARACTERS))
            data = file.read(4 * TAIL_CHARACTERS)
    except OSError:
        return ""
    if size > len(data):  # the cut may lie inside a character
        while data and data[0] & 0xC0 == 0x80:
            data = data[1:]
    return data.decode("utf-8", "replace")[-TAIL_CHARACTERS:]


def kill_group(pid: int, number: int) -> None:
    """Signal a process group, if there still is one."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def kill_process(pid: int, number: int) -> None:
    """Signal a process, if there still is one."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def has_ended(pid: int) -> bool:
    """Whether a child has ended and waits to be collected."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def families_of(pids: list[int]) -> dict[int, list[int]]:
    """All descendants of each process, by one look at /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            children.setdefault(parent, []).append(int(name))
    families: dict[int, list[int]] = {}
    for pid in pids:
        found: list[int] = []
        todo = [pid]
        while todo:
            born = children.get(todo.pop(), [])
            found.extend(born)
            todo.extend(born)
        families[pid] = found
    return families


def cpu_seconds(pids: list[int]) -> float:
    """CPU time of processes that live, with that of the children they waited for."""
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                ticks += sum(map(int, file.read().rpartition(b")")[2].split()[11:15]))
        except (OSError, ValueError):
            continue  # it has ended
    return ticks / os.sysconf("SC_CLK_TCK")


def owner_of(pid: int) -> int | None:
    """Task instance a process belongs to, by its environment; ``None`` when it does not say."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            for variable in file.read().split(b"\0"):
                if variable.startswith(ID_VARIABLE):
                    return int(variable[len(ID_VARIABLE) :])
    except (OSError, ValueError):
        pass
    return None


def main() -> None:
    """Serve the controller on stdin and stdout; arguments: slots, grace in seconds."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (OSError, AttributeError):
        pass  # not Linux: descendants that leave their group are out of reach
    Launcher(int(sys.argv[1]), float(sys.argv[2])).serve()


if __name__ == "__main__":
    main()
