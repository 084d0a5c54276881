"""What is told of one attempt, by whoever runs it, to whoever keeps the record."""

from __future__ import annotations

from msgspec import Struct

from jobmon.core.states import Cause, TaskInstanceEvent


class InstanceEvent(Struct, omit_defaults=True):
    """One event of one attempt.

    Attributes:
        task_instance_id: the attempt it belongs to.
        event: what happened.
        cause: why, where the attempt did not succeed.
        description: text for the error log.
        nodename: host the command runs on.
        process_group_id: process group of the command.
        distributor_id: id the cluster gave the job (at most 20 characters).
        stdout, stderr: paths of the log files.
        stdout_log, stderr_log: ends of the log files.
        exit_code: exit code; negative: the signal that ended the command.
        wallclock: seconds the command ran.
        maxrss: peak resident memory in bytes.
        cpu: CPU seconds, user and system.
        io: bytes read and written to block devices.
        next_report_increment: seconds until the next sign of life is due.
        blames_node: the node is at fault and had better be avoided for a while.
    """

    task_instance_id: int
    event: TaskInstanceEvent
    cause: Cause | None = None
    description: str = ""
    nodename: str = ""
    process_group_id: int = 0
    distributor_id: str = ""
    stdout: str = ""
    stderr: str = ""
    stdout_log: str | None = None
    stderr_log: str | None = None
    exit_code: int | None = None
    wallclock: float | None = None
    maxrss: int | None = None
    cpu: float | None = None
    io: int | None = None
    next_report_increment: float = 0
    blames_node: bool = False
