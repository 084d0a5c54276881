"""The file that tells the wrappers on compute nodes which attempts each step of a batch runs, and their commands.

It is made to be read by :mod:`jobmon.worker_node.wrapper` in a few milliseconds, whatever the number of attempts: a line with
the lengths of what follows; the header, records ``key=value`` that end with a NUL byte; a table of the places of
attempts in the file and one of the first attempt of each step, eight bytes each; and a block for each attempt. A
step has all attempts up to the first of the next. Keys may come more than once; texts are UTF-8, and bytes that are not
(:pep:`383`) stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ClusterError, UsageError
from jobmon.distributor.private_file import write_private

FORMAT = 2
MARK = "jobmon-batch"
PLACE_BYTES = 8
_REPEATED = frozenset({"shell", "environment"})
_START = "import sys;sys.path.insert(0,sys.argv[1]);import wrapper;wrapper.main()"


@dataclass(frozen=True)
class BatchHeader:
    """What all attempts of a batch have in common.

    Attributes:
        version: of Jobmon; a wrapper of another one refuses to run.
        workflow_id, workflow_run_id: whose batch it is.
        cluster_name: where it runs.
        user: who runs it.
        server_file: tells where the server is (:meth:`~jobmon.distributor.shared_directory.SharedDirectory.write_server`).
        spool: directory for words the server cannot be told.
        stdout, stderr: directories of log files; empty: what is written there is dropped.
        working_dir: where commands run.
        heartbeat_seconds: time between two signs of life.
        report_seconds: how long after one the next is due.
        interrupt_seconds: time a command has to end after it was asked to.
        start_wait_seconds: how long the server is tried before a command starts.
        report_wait_seconds: how long after it has ended.
        runtime: seconds granted to an attempt; 0: not known.
        job_seconds: seconds granted to a job that runs several attempts; 0: none does.
        memory: bytes asked for; 0: not known.
        shell: words that a command is put behind.
        environment: variables added to the job's own.
        cluster_type: plugin of the cluster, where that is not the cluster's name; asked only by wrappers that are not told
            their step.
    """

    version: str
    workflow_id: int
    workflow_run_id: int
    cluster_name: str
    user: str
    server_file: str
    spool: str
    stdout: str
    stderr: str
    working_dir: str
    heartbeat_seconds: float
    report_seconds: float
    interrupt_seconds: float
    start_wait_seconds: float
    report_wait_seconds: float
    runtime: int = 0
    job_seconds: int = 0
    memory: int = 0
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    environment: Mapping[str, str] = field(default_factory=dict)
    cluster_type: str = ""


@dataclass(frozen=True)
class BatchElement:
    """One attempt of a batch.

    Attributes:
        task_instance_id, task_id: the attempt and its task.
        name: of the task; part of the names of its log files.
        command: what the shell is given.
    """

    task_instance_id: int
    task_id: int
    name: str
    command: str


def write_batch(
    path: Path, header: BatchHeader, elements: Sequence[BatchElement], sizes: Sequence[int] = ()
) -> None:
    """Write the batch file; it appears as a whole, readable by its owner only.

    Args:
        path: the file.
        header: what the attempts have in common.
        elements: the attempts, those of one step next to each other.
        sizes: how many attempts each step has; empty: one each.

    Raises:
        UsageError: a text holds what no command or variable can: a NUL byte.
        SharedFileError: the file cannot be written.
    """
    head = b"".join(_bytes(f"{key}={value}", key) + b"\0" for key, value in _records(header))
    blocks = [_block(element) for element in elements]
    firsts = list(accumulate(sizes or [1] * len(blocks), initial=0))
    first = f"{MARK} {FORMAT} {len(head)} {len(blocks)} {len(firsts) - 1}\n".encode()
    tables_bytes = PLACE_BYTES * (len(blocks) + 1 + len(firsts))
    places = accumulate(map(len, blocks), initial=len(first) + len(head) + tables_bytes)
    tables = b"".join(number.to_bytes(PLACE_BYTES, "big") for number in (*places, *firsts))
    write_private(path, b"".join([first, head, tables, *blocks]))


def read_steps(path: Path) -> list[list[int]]:
    """The attempts of each step of a batch file, in the order in which they run.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or of another Jobmon.
    """
    data = path.read_bytes()
    first, _, rest = data.partition(b"\n")
    mark, number, head_bytes, num_attempts, num_steps = first.split(b" ")
    if (mark, number) != (MARK.encode(), str(FORMAT).encode()):
        raise ValueError("it does not begin as such a file does")
    table = rest[int(head_bytes) :][: PLACE_BYTES * (int(num_attempts) + int(num_steps) + 2)]
    numbers = [
        int.from_bytes(table[at : at + PLACE_BYTES], "big") for at in range(0, len(table), PLACE_BYTES)
    ]
    places, firsts = numbers[: int(num_attempts)], numbers[int(num_attempts) + 1 :]
    attempts = [int(data[place : place + 20].partition(b"\0")[0]) for place in places]
    return [attempts[start:stop] for start, stop in pairwise(firsts)]


def _records(header: BatchHeader) -> Iterable[tuple[str, object]]:
    for each in fields(header):
        if each.name not in _REPEATED:
            yield each.name, getattr(header, each.name)
    for word in header.shell:
        yield "shell", word
    for name, value in header.environment.items():
        if not name or "=" in name:
            raise UsageError(f"'{name}' is no name of an environment variable.")
        yield "environment", f"{name}={value}"


def _block(element: BatchElement) -> bytes:
    what = f"task {element.name!r}"
    texts = (str(element.task_instance_id), str(element.task_id), element.name, element.command)
    return b"\0".join(_bytes(text, what) for text in texts)


def _bytes(text: str, what: str) -> bytes:
    try:
        encoded = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(f"The text of {what} is no Unicode: {error.reason} at {error.start}.") from error
    if b"\0" in encoded:
        raise UsageError(f"The text of {what} holds a NUL byte, which nothing that is run can be given.")
    return encoded


def wrapper_words(batch_file: Path, config: JobmonConfig) -> tuple[str, ...]:
    """Words of the command that runs the wrapper; the cluster's script adds which step it is, and its id.

    Args:
        batch_file: see :func:`write_batch`.
        config: ``distributor.worker_node_entry_point`` names the program where the nodes have a Jobmon of their own.

    Raises:
        ClusterError: the wrapper is not installed.
    """
    program = str(config.get("distributor", "worker_node_entry_point") or "")
    if program:
        return (program, "worker_node_array", "--batch_file", str(batch_file))
    spec = find_spec("jobmon.worker_node.wrapper")
    if spec is None or spec.origin is None:
        raise ClusterError("The wrapper for compute nodes is not installed; reinstall jobmon.")
    # A file that is run is compiled each time; one that is imported was compiled before.
    return (sys.executable, "-I", "-S", "-c", _START, str(Path(spec.origin).parent), str(batch_file))
