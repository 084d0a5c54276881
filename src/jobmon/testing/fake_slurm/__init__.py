"""A fake Slurm, for all that a real one cannot be made to do at the right moment.

It puts ``sbatch``, ``squeue``, ``sacct``, ``scancel``, ``scontrol``, ``sinfo`` and ``sacctmgr`` into a directory, which
goes first on ``PATH`` (or is given to the plugin), and really runs the scripts, as processes of this machine::

    with FakeSlurm(tmp_path) as slurm:
        distributor = SlurmDistributor("slurm", bin=str(slurm.bin))
        ...
        slurm.lose_reply()                 # the next submission is taken, but nobody is told
        slurm.lag_accounting(seconds=3)    # accounting learns of everything three seconds late
        slurm.node_fail("n2")
        assert slurm.calls.count["squeue"] <= 2

The commands answer with the words, the layout and the oddities of Slurm 22.05, as far as a client needs them. For a look
at it by hand: ``python -m jobmon.testing.fake_slurm DIRECTORY``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from jobmon.testing.conformance import wait_until
from jobmon.testing.fake_slurm.accounting import sacct
from jobmon.testing.fake_slurm.answer import Answer, Call, Refused
from jobmon.testing.fake_slurm.array_tasks import parse_job_id
from jobmon.testing.fake_slurm.cluster import Cluster, Settings
from jobmon.testing.fake_slurm.controlling import scancel, scontrol
from jobmon.testing.fake_slurm.faults import Calls, Faults
from jobmon.testing.fake_slurm.installed import Commands
from jobmon.testing.fake_slurm.listing import sacctmgr, sinfo, squeue
from jobmon.testing.fake_slurm.model import Job, Node, Partition, State
from jobmon.testing.fake_slurm.submitting import sbatch, with_script

__all__ = ["Calls", "FakeSlurm", "Job", "Node", "Partition", "Settings", "State"]

COMMANDS: Mapping[str, Callable[[Call, Cluster, Faults], Answer]] = {
    "sbatch": sbatch,
    "squeue": squeue,
    "sacct": sacct,
    "scancel": scancel,
    "scontrol": scontrol,
    "sinfo": sinfo,
    "sacctmgr": sacctmgr,
}
_AWAY: Mapping[str, str] = {
    "sbatch": "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
    "squeue": "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
    "scancel": "scancel: error: Kill job error: Unable to contact slurm controller (connect failure)",
    "scontrol": "slurm_load error: Unable to contact slurm controller (connect failure)",
    "sinfo": "slurm_load_partitions: Unable to contact slurm controller (connect failure)",
}
"""What commands say when the controller is away; the others talk to the accounting only."""

NODES = tuple(Node(f"n{number}") for number in range(1, 5))
PARTITIONS = (
    Partition("short", max_seconds=600, default_seconds=300, max_memory=2048, is_default=True),
    Partition("long", max_seconds=86_400, default_seconds=3600, max_memory=4096),
    Partition("tiny", max_seconds=60, default_seconds=60, max_memory=256, nodes=("n1",)),
)
TICK_SECONDS = 0.02


class FakeSlurm:
    """A cluster of four nodes and three partitions, unless others are given. A context manager.

    Args:
        directory: for the commands (in ``bin``) and the scripts; it is made.
        settings: the configuration of the cluster.
        nodes, partitions: what there is.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings | None = None,
        nodes: Sequence[Node] = NODES,
        partitions: Sequence[Partition] = PARTITIONS,
    ) -> None:
        self.bin = directory / "bin"
        self.calls = Calls()
        self._faults = Faults()
        self._scripts = directory / "scripts"
        copies = [Node(node.name, node.cpus, node.memory) for node in nodes]
        self.cluster = Cluster(self._scripts, copies, partitions, settings or Settings())
        self._closing = threading.Event()
        self._changed = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="fake-slurm-tick", daemon=True)

    def __enter__(self) -> Self:
        """Install the commands."""
        self._scripts.mkdir(parents=True, exist_ok=True)
        self._commands = Commands(self.bin, list(COMMANDS), self._answer)
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all jobs; commands that hang give up."""
        self._closing.set()
        self._commands.close()
        self._ticker.join()
        self.cluster.stop()

    def _tick(self) -> None:
        while not self._closing.wait(TICK_SECONDS):
            self.cluster.tick()

    # -- commands ---------------------------------------------------------------------------------------
    def _answer(self, call: Call) -> Answer | None:
        self.calls.add(call.command, call.arguments)
        if call.command == "sbatch":
            call = with_script(call)
        due = time.monotonic() + self._faults.delay_of(call.command)
        while self._faults.is_hanging(call.command) or time.monotonic() < due:
            if self._closing.wait(TICK_SECONDS):
                return None
        if call.command in self._faults.nonsense:
            return Answer(self._faults.nonsense[call.command])
        if self._faults.is_away and call.command in _AWAY:
            return Answer("", 1, _AWAY[call.command] + "\n")
        try:
            with self.cluster.lock:
                self.cluster.tick()
                return COMMANDS[call.command](call, self.cluster, self._faults)
        except Refused as refused:
            return refused.answer

    # -- jobs -------------------------------------------------------------------------------------------
    def jobs(self, shown_id: str = "") -> list[Job]:
        """Jobs the controller knows, by the id users see (``13``, ``13_4``, ``13_[1-3]``); all of them without one."""
        with self.cluster.lock:
            return (
                self.cluster.find(*parse_job_id(shown_id)) if shown_id else list(self.cluster.jobs.values())
            )

    def job(self, shown_id: str) -> Job:
        """The one job of an id.

        Raises:
            AssertionError: there is none, or there are several.
        """
        jobs = self.jobs(shown_id)
        assert len(jobs) == 1, f"{len(jobs)} jobs of id {shown_id}"
        return jobs[0]

    def wait_state(self, shown_id: str, *states: State) -> None:
        """Wait until all jobs of an id are in one of these states.

        Raises:
            AssertionError: they are not in time.
        """
        wait_until(
            lambda: (jobs := self.jobs(shown_id)) and all(job.state in states for job in jobs),
            f"job {shown_id} to be {' or '.join(states)}",
        )

    # -- faults of the commands ---------------------------------------------------------------------------
    def slow(self, seconds: float, command: str = "") -> None:
        """A command, or all of them, answers late; 0 ends it."""
        self._faults.slow[command] = seconds

    def hang(self, command: str = "") -> None:
        """A command, or all of them, does not answer until :meth:`recover`."""
        self._faults.hanging.add(command)

    def refuse(self, text: str) -> None:
        """``sbatch`` takes no job and says this; nothing to say ends it."""
        self._faults.refusal = text

    def lose_reply(self, times: int = 1) -> None:
        """Submissions are taken, but ``sbatch`` says that its socket timed out."""
        self._faults.lost_replies = times

    def lie(self, state: str = "", **nonsense: str) -> None:
        """All jobs are shown in a state, known or not; commands print nonsense (``squeue="<html>"``)."""
        self._faults.false_state = state
        self._faults.nonsense = nonsense

    def recover(self) -> None:
        """All is well again; nodes that are down stay so."""
        self._faults.__init__()  # type: ignore[misc]

    # -- faults of the accounting -------------------------------------------------------------------------
    def lag_accounting(self, seconds: float) -> None:
        """Accounting learns of everything so much later."""
        self._faults.lag_seconds = seconds

    def half_told(self, is_on: bool = True) -> None:
        """Accounting shows one row for a whole array, and jobs that ended badly as "allocation" without a partition."""
        self._faults.half_told = is_on

    def no_accounting(self, is_on: bool = True) -> None:
        """The cluster keeps no accounting."""
        self._faults.no_accounting = is_on

    def accounting_away(self, is_on: bool = True) -> None:
        """Accounting does not answer; it has missed nothing when it returns."""
        self._faults.accounting_away = is_on

    # -- faults of the controller -------------------------------------------------------------------------
    def controller_away(self, is_on: bool = True) -> None:
        """The controller cannot be reached; jobs go on."""
        self._faults.is_away = is_on

    def restart_controller(self, lose_seconds: float = 0.0) -> None:
        """It is killed and returns without its last seconds.

        Jobs submitted in them have vanished, those that started or ended in them wait to start again.
        """
        self.cluster.restart(lose_seconds)

    def purge(self) -> None:
        """It forgets the jobs that have ended."""
        self.cluster.purge()

    def recycle_ids(self, next_id: int = 1) -> None:
        """Its numbers have run out: it begins anew, and ids mean other jobs than before."""
        with self.cluster.lock:
            self.cluster.purge()
            self.cluster.next_id = next_id

    def submit_limit(self, most: int) -> None:
        """A user may have so many jobs at once, elements of arrays counted; 0: any number."""
        self._faults.submit_limit = most

    # -- what happens to jobs and nodes -----------------------------------------------------------------
    def preempt(self, shown_id: str) -> None:
        """Jobs make room for more important ones."""
        self.cluster.end_as(self.jobs(shown_id), State.PREEMPTED)

    def timeout(self, shown_id: str) -> None:
        """Jobs run into their time limit."""
        self.cluster.end_as(self.jobs(shown_id), State.TIMEOUT)

    def deadline(self, shown_id: str) -> None:
        """Jobs run into their deadline."""
        self.cluster.end_as(self.jobs(shown_id), State.DEADLINE)

    def out_of_memory(self, shown_id: str) -> None:
        """Jobs are killed for want of memory."""
        with self.cluster.lock:
            for job in self.jobs(shown_id):
                job.maxrss = job.submission.memory * 1024
            self.cluster.end_as(self.jobs(shown_id), State.OUT_OF_MEMORY)

    def cancel(self, shown_id: str, uid: int = 1000) -> None:
        """Somebody cancels jobs."""
        with self.cluster.lock:
            self.cluster.cancel(self.jobs(shown_id), uid, parse_job_id(shown_id)[1] is None)

    def requeue(self, shown_id: str) -> None:
        """Jobs are put back and run again."""
        self.cluster.requeue(self.jobs(shown_id))

    def hold(self, shown_id: str, reason: str = "JobHeldAdmin") -> None:
        """Jobs that wait go on waiting, for a reason."""
        self.cluster.hold(self.jobs(shown_id), reason)

    def release(self, shown_id: str) -> None:
        """What was held may start."""
        self.cluster.hold(self.jobs(shown_id), "")

    def node_fail(self, name: str, leave_processes: bool = False) -> None:
        """A node is down; ``leave_processes``: what ran on it runs on, though the controller says it failed."""
        self.cluster.fail_node(name, leave_processes)

    def remove_node(self, name: str) -> None:
        """A node on which nothing runs leaves the cluster: commands that name it are refused."""
        self.cluster.remove_node(name)

    def node_resume(self, name: str) -> None:
        """A node is back."""
        with self.cluster.lock:
            self.cluster.nodes[name].is_down = False
