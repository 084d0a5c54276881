"""Drives the launcher: hands it commands, turns what it tells into events of attempts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import IO, Any

from jobmon.core.cluster_protocol import (
    ATTEMPT_VARIABLE,
    ClusterCapabilities,
    ClusterDistributor,
    Command,
    Leftover,
    Report,
)
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ClusterError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.plugins.multiprocess.ends import describe_excess, limits_of
from jobmon.plugins.multiprocess.processes import end_processes_of
from jobmon.worker_node.ends import describe_end, log_name, with_last_lines
from jobmon.worker_node.measure import cgroup_base

STOP_SECONDS = 5.0


def log_path(directory: str, task_name: str, letter: str, distributor_id: str) -> str:
    """Path of a log file, ``<directory>/<task name>.o<id>``, its name cut to what file systems take."""
    name = log_name(task_name.encode("utf-8", "replace"), f".{letter}{distributor_id}".encode())
    return os.path.join(directory, name.decode())


class MultiprocessDistributor(ClusterDistributor):
    """Commands on this machine, ``multiprocess.parallelism`` at once.

    Args:
        cluster_name: name of the cluster in the database.
        connection_parameters: ``parallelism`` overrides the configuration.
    """

    def __init__(self, cluster_name: str, *args: Any, **connection_parameters: Any) -> None:
        super().__init__(cluster_name, *args, **connection_parameters)
        config = JobmonConfig()
        self._grace_seconds = config.get_float("worker_node", "command_interrupt_timeout")
        self._slots = int(connection_parameters.get("parallelism") or self._default_slots(config))
        self._nodename = socket.gethostname()
        self._report: Report | None = None
        self._launcher: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._lock = threading.Lock()
        self._outstanding: dict[int, Command] = {}
        self._pids: dict[int, int] = {}
        self._is_stopping = False

    def _default_slots(self, config: JobmonConfig) -> int:
        return config.get_int("multiprocess", "parallelism") or len(os.sched_getaffinity(0))

    @property
    def capabilities(self) -> ClusterCapabilities:
        """It runs commands itself."""
        return ClusterCapabilities(runs_commands=True)

    @property
    def slots(self) -> int:
        """Commands run at once."""
        return self._slots

    def diagnose(self) -> list[tuple[str, bool, str]]:
        """The shell, the slots, and how memory is watched."""
        shell = os.access("/bin/sh", os.X_OK)
        groups = cgroup_base()
        watch = (
            f"control groups in {groups}"
            if groups
            else "samples of each command's processes (no control groups)"
        )
        return [
            ("shell", shell, "/bin/sh" if shell else "There is no /bin/sh; commands cannot be run."),
            ("slots", self._slots > 0, f"{self._slots} commands at once"),
            ("memory", True, f"watched by {watch}"),
        ]

    def open(self, report: Report) -> None:
        """Start the launcher."""
        self._report = report
        self._start_launcher()

    def _start_launcher(self) -> None:
        spec = find_spec("jobmon.worker_node.launcher")
        if spec is None or spec.origin is None:
            raise ClusterError("The launcher is not installed; reinstall jobmon.")
        argv = [sys.executable, "-I", "-S", spec.origin, str(self._slots), str(self._grace_seconds)]
        try:
            self._launcher = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise ClusterError(
                f"The launcher of cluster {self.cluster_name} cannot be started: {error}"
            ) from error
        self._reader = threading.Thread(
            target=self._read, args=(self._launcher,), name="jobmon-launcher", daemon=True
        )
        self._reader.start()

    def run_commands(self, commands: Sequence[Command]) -> None:
        """Hand commands to the launcher, a new one if the last one died."""
        if not commands:
            return
        with self._lock:  # the death of a launcher takes all that is outstanding, or nothing of these
            if self._launcher is None:
                self._start_launcher()
            self._outstanding.update((command.task_instance_id, command) for command in commands)
        self._send({"run": [self._entry(command) for command in commands]})

    def _entry(self, command: Command) -> dict[str, Any]:
        stdout, stderr = self._log_paths(command)
        return {
            "id": command.task_instance_id,
            "command": command.command,
            "environment": dict(command.environment),
            "stdout": stdout,
            "stderr": stderr,
            "working_dir": command.requested_resources.get("working_dir"),
            **limits_of(command.requested_resources),
        }

    @staticmethod
    def _log_paths(command: Command) -> tuple[str, str]:
        distributor_id, resources = str(command.task_instance_id), command.requested_resources
        base = os.path.abspath(resources.get("working_dir") or "")  # a relative directory is meant from there
        return (
            log_path(os.path.join(base, str(resources["stdout"])), command.name, "o", distributor_id),
            log_path(os.path.join(base, str(resources["stderr"])), command.name, "e", distributor_id),
        )

    def _log_paths_of(self, command: Command | None) -> tuple[str, str]:
        return self._log_paths(command) if command is not None else ("", "")

    def _send(self, message: dict[str, Any]) -> None:
        launcher = self._launcher
        if launcher is None or launcher.stdin is None:
            return
        try:
            launcher.stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            launcher.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # it died: the reader reports what it held

    def terminate_task_instances(self, distributor_ids: Sequence[str]) -> None:
        """End commands with all of their descendants."""
        self._send({"kill": [int(distributor_id) for distributor_id in distributor_ids]})

    def stop(self) -> None:
        """End the launcher and, with it, whatever it runs."""
        self._is_stopping = True
        with self._lock:
            launcher, self._launcher = self._launcher, None
        if launcher is not None:
            _close(launcher.stdin)
            try:
                launcher.wait(STOP_SECONDS + self._grace_seconds)
            except subprocess.TimeoutExpired:
                launcher.kill()
                launcher.wait()
        if self._reader is not None:  # it may be about to end what a dead launcher left behind
            self._reader.join(STOP_SECONDS)
        if launcher is not None and launcher.returncode:
            self._on_launcher_death(launcher)

    def kill_leftovers(self, leftovers: Sequence[Leftover]) -> list[int]:
        """End processes of these attempts on this machine.

        Attempts of other machines are taken as ended: their launcher ended them when their controller went.
        """
        end_processes_of(
            [leftover.mark for leftover in leftovers if leftover.nodename in ("", self._nodename)]
        )
        return [leftover.task_instance_id for leftover in leftovers]

    def _marks(self) -> list[str]:
        return [command.environment.get(ATTEMPT_VARIABLE, "") for command in self._outstanding.values()]

    # -- what the launcher tells ----------------------------------------------------------------------
    def _read(self, launcher: subprocess.Popen[bytes]) -> None:
        """Turn the launcher's lines into events, until it ends; its own thread."""
        assert launcher.stdout is not None
        for line in launcher.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                break  # cut off in the middle of a line: it died
            self._tell([event for each in told for event in self._events(each)])
        _close(launcher.stdout)
        if not self._is_stopping:
            self._on_launcher_death(launcher)

    def _tell(self, events: list[InstanceEvent]) -> None:
        if events and self._report is not None:
            self._report(events)

    def _events(self, told: dict[str, Any]) -> Iterable[InstanceEvent]:
        task_instance_id = int(told["id"])
        command = self._outstanding.get(task_instance_id)
        if told["event"] == "started":
            self._pids[task_instance_id] = told["pid"]
            stdout, stderr = self._log_paths_of(command)
            yield InstanceEvent(
                task_instance_id,
                TaskInstanceEvent.START,
                nodename=self._nodename,
                process_group_id=told["pid"],
                distributor_id=str(task_instance_id),
                stdout=stdout,
                stderr=stderr,
            )
            return
        with self._lock:
            self._outstanding.pop(task_instance_id, None)
            self._pids.pop(task_instance_id, None)
        if told["event"] == "ended":
            yield self._end_event(task_instance_id, command, told)
        elif told["event"] == "failed":
            yield InstanceEvent(
                task_instance_id,
                TaskInstanceEvent.REFUSE,
                cause=Cause.LAUNCH,
                description=f"The command could not be started: {told['reason']}.",
            )
        else:
            yield _ended_by_order(task_instance_id)

    def _end_event(
        self, task_instance_id: int, command: Command | None, told: dict[str, Any]
    ) -> InstanceEvent:
        exit_code = told["exit_code"]
        excess = describe_excess(told, limits_of(command.requested_resources)) if command else ""
        if told["was_killed"]:
            event = _ended_by_order(task_instance_id)
        elif excess:
            event = InstanceEvent(
                task_instance_id,
                TaskInstanceEvent.RESOURCE,
                cause=Cause.RESOURCE,
                description=with_last_lines(excess, told["stderr_log"]),
            )
        elif exit_code == 0:
            event = InstanceEvent(task_instance_id, TaskInstanceEvent.FINISH)
        else:
            event = InstanceEvent(
                task_instance_id,
                TaskInstanceEvent.FAIL,
                cause=Cause.CODE,
                description=describe_end(
                    exit_code, told["stderr_log"], told["stdout_log"], self._log_paths_of(command)
                ),
            )
        event.exit_code = exit_code
        for name in ("wallclock", "maxrss", "cpu", "io", "stdout_log", "stderr_log"):
            setattr(event, name, told[name])
        return event

    def _on_launcher_death(self, launcher: subprocess.Popen[bytes]) -> None:
        """The launcher was killed: end what it left behind and report it lost, through no fault of the tasks."""
        launcher.wait()
        _close(launcher.stdin)
        with self._lock:
            if self._launcher is launcher:
                self._launcher = None
            lost, started, marks = list(self._outstanding), set(self._pids), self._marks()
            self._outstanding.clear()
            self._pids.clear()
        end_processes_of(marks)
        self._tell(
            [
                InstanceEvent(
                    task_instance_id,
                    TaskInstanceEvent.LOSE if task_instance_id in started else TaskInstanceEvent.REFUSE,
                    cause=Cause.INFRASTRUCTURE,
                    description=f"The launcher of commands died (exit code {launcher.returncode}).",
                )
                for task_instance_id in lost
            ]
        )


def _close(pipe: IO[bytes] | None) -> None:
    """Close one end of a pipe; what was not yet sent goes nowhere if the other end is gone."""
    if pipe is not None:
        try:
            pipe.close()
        except BrokenPipeError:
            pass


def _ended_by_order(task_instance_id: int) -> InstanceEvent:
    return InstanceEvent(
        task_instance_id, TaskInstanceEvent.ABORT, cause=Cause.ORDERED, description="Ended by order."
    )
