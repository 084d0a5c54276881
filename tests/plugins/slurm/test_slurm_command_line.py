"""Slurm's commands as processes: commands that hang, talk nonsense, are missing; what they get from the environment."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobmon.core.exceptions import ClusterBusy, ClusterError, ClusterUnreachable, SubmissionError
from jobmon.plugins.slurm.command_line import SlurmCommandLine
from jobmon.plugins.slurm.connection import SlurmConnection, Submission, SubmitLimit, connection_for
from jobmon.plugins.slurm.diagnosis import diagnose

Install = Callable[..., None]
BATCH = Submission("batch", "#!/bin/sh\nexec true\n", 3)
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Puts commands into the directory of the cluster, as lines of a shell."""

    def write(**scripts: str) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        for name, script in scripts.items():
            path = tmp_path / "bin" / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o700)

    return write


@pytest.fixture
def slurm(tmp_path: Path) -> SlurmCommandLine:
    return SlurmCommandLine(bin=str(tmp_path / "bin"), command_timeout=10)


def test_the_script_comes_on_standard_input(
    install: Install, slurm: SlurmCommandLine, tmp_path: Path
) -> None:
    """And the id of the array from standard output, also where a federation adds its name to it."""
    install(sbatch=f'printf "%s\\n" "$@" > {tmp_path}/words; cat > {tmp_path}/script; echo "12;cluster"')
    assert slurm.submit(BATCH) == "12"
    assert (tmp_path / "script").read_text() == BATCH.script
    assert (tmp_path / "words").read_text().split() == [
        "--parsable",
        "--job-name=batch",
        "--array=1-3",
        "--export=ALL",
    ]


def test_a_script_that_is_not_read(install: Install, slurm: SlurmCommandLine) -> None:
    """A command that ends without reading its input is no fault of its own."""
    install(sbatch="echo 12")
    assert slurm.submit(Submission("batch", "#!/bin/sh\n" + "# long\n" * 50_000, 1)) == "12"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("exit 0", ClusterUnreachable),
        ("echo 'Submitted batch job'", ClusterUnreachable),
        ("echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1", ClusterUnreachable),
        ("echo 'sbatch: error: Invalid partition name specified' >&2; exit 1", SubmissionError),
        ("echo 'sbatch: error: Slurm temporarily unable to accept job' >&2; exit 1", ClusterBusy),
    ],
)
def test_answers_of_sbatch(
    install: Install, slurm: SlurmCommandLine, script: str, kind: type[ClusterError]
) -> None:
    """Success without an id is an unknown outcome."""
    install(sbatch=script, sacctmgr="exit 0", squeue="exit 0")
    with pytest.raises(ClusterError) as caught:
        slurm.submit(BATCH)
    assert type(caught.value) is kind


@pytest.mark.parametrize(("queued", "kind"), [(0, SubmissionError), (9, ClusterBusy)])
def test_limits_are_asked_where_words_are_not_enough(
    install: Install, slurm: SlurmCommandLine, queued: int, kind: type[ClusterError]
) -> None:
    """The same refusal is for good while there is room, and passes while there is none."""
    install(
        sbatch=f'echo "sbatch: error: {POLICY}" >&2; exit 1',
        sacctmgr='case "$*" in *withassoc*) echo "c|a|a|10||normal|normal";; esac',
        scontrol="echo ClusterName = c",
        squeue="\n".join(["echo RUNNING"] * queued or ["exit 0"]),
    )
    with pytest.raises(ClusterError) as caught:
        slurm.submit(BATCH)
    assert type(caught.value) is kind


def test_a_command_that_hangs(install: Install, tmp_path: Path) -> None:
    """It is ended in time with all it has started, and nothing is known."""
    install(squeue=f"sleep 300 & echo $! > {tmp_path}/pid; wait")
    slurm = SlurmCommandLine(bin=str(tmp_path / "bin"), command_timeout=0.5)
    with pytest.raises(ClusterUnreachable, match=r"did not answer within 0\.5 s"):
        slurm.listing(["7"])
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not _is_gone(child):
        time.sleep(0.02)
    assert _is_gone(child)


def _is_gone(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_commands_that_are_missing(slurm: SlurmCommandLine) -> None:
    """The message says which, and where it was looked for."""
    for ask in (
        lambda: slurm.submit(BATCH),
        lambda: slurm.listing(["7"]),
        lambda: slurm.accounting(["7"]),
        lambda: slurm.cancel(["7"]),
        slurm.config,
    ):
        with pytest.raises(ClusterUnreachable, match="could not be run"):
            ask()


@pytest.mark.parametrize("answer", ["<html>504</html>", "7_[1,2,...]|PENDING|None||0|x|", "|||"])
def test_nonsense(install: Install, slurm: SlurmCommandLine, answer: str) -> None:
    """An answer that cannot be read is no answer."""
    install(squeue=f"echo '{answer}'", sacct=f"echo '{answer}'")
    for ask in (slurm.listing, slurm.recent, slurm.accounting):
        with pytest.raises(ClusterUnreachable, match="cannot be read"):
            ask(["7"])


def test_a_job_that_is_not_known_any_more(install: Install, slurm: SlurmCommandLine) -> None:
    """Slurm fails for a single purged id: it is not listed, and there is nothing to do to it."""
    install(
        squeue="echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
        scancel="echo 'scancel: error: Kill job error on job id 7: Invalid job id specified' >&2; exit 1",
        scontrol="echo '7_1: Job has already finished' >&2; exit 1",
    )
    assert slurm.listing(["7"]) == slurm.recent(["7"]) == []
    slurm.cancel(["7"])
    slurm.throttle("7", 3)
    slurm.hold("7")
    slurm.release("7")


def test_orders_that_are_not_obeyed(install: Install, slurm: SlurmCommandLine) -> None:
    """A refusal is told; with a controller that is away nothing is known."""
    install(scontrol="echo 'Access/permission denied for job 7' >&2; exit 1")
    with pytest.raises(ClusterError, match="permission denied"):
        slurm.hold("7")
    install(scancel="echo 'scancel: error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(ClusterUnreachable):
        slurm.cancel(["7"])


def test_a_cluster_without_accounting(install: Install, slurm: SlurmCommandLine) -> None:
    """It knows nothing and allows all; an accounting that is away is something else."""
    install(
        sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1",
        sacctmgr="echo 'You are not running a supported accounting_storage plugin' >&2; exit 1",
        squeue="exit 0",
    )
    assert slurm.accounting(["7_1"]) == []
    assert slurm.submit_limit() == SubmitLimit()
    assert slurm.find("batch") is None
    install(sacct="echo 'sacct: error: Problem talking to the database: Connection refused' >&2; exit 1")
    for ask in (lambda: slurm.accounting(["7_1"]), lambda: slurm.find("batch")):
        with pytest.raises(ClusterUnreachable, match="Connection refused"):
            ask()


def test_a_batch_is_found_by_its_name(install: Install, slurm: SlurmCommandLine) -> None:
    """In the queue, also when it has ended; else in the accounting; half-told rows have another name."""
    install(squeue="echo '7_[1-3]|CANCELLED|None||0|batch|'", sacct="exit 3")
    assert slurm.find("batch") == "7"
    install(squeue="exit 0", sacct="echo '8|allocation'; echo '9_[1-3%2]|batch'")
    assert slurm.find("batch") == "9"
    assert slurm.find("other") is None


def test_who_cancelled_by_name(install: Install, slurm: SlurmCommandLine) -> None:
    """Slurm tells a number."""
    install(sacct="echo '7_1|CANCELLED by 0|0:0|p|2026-01-01T00:00:00|5|5|00:00|||1|1||None|n1|batch'")
    assert [job.cancelled_by for job in slurm.accounting(["7_1"])] == ["root"]


def test_only_the_arrays_asked_for(install: Install, slurm: SlurmCommandLine) -> None:
    """With very many ids all jobs of the user are listed; others' arrays are left out of the answer."""
    install(squeue="echo '1_1|RUNNING|None|n1|0|a|'; echo '999999_1|RUNNING|None|n1|0|b|'")
    assert [row.name for row in slurm.listing([str(number) for number in range(1, 5_000)])] == ["a"]


def test_variables_that_change_what_is_printed(
    install: Install, slurm: SlurmCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not reach the commands."""
    monkeypatch.setenv("SQUEUE_FORMAT", "%A")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    install(scontrol='echo "FORMAT = ${SQUEUE_FORMAT:-none}"; echo "TIME = $SLURM_TIME_FORMAT"')
    assert slurm.config() == {"FORMAT": "none", "TIME": "standard"}
    assert os.environ["SQUEUE_FORMAT"] == "%A"


def test_a_checkup(install: Install, tmp_path: Path) -> None:
    """For ``jobmon doctor``: what is wrong is a sentence, never an exception."""
    parameters = {"bin": str(tmp_path / "bin")}
    assert [is_fine for _, is_fine, _ in diagnose(parameters)] == [False]
    install(
        scontrol='case "$*" in *config*) echo "SLURM_VERSION = 22.05.8";; *) echo "PartitionName=all State=UP";; esac',
        sacctmgr="echo 'sacctmgr: error: Connection refused' >&2; exit 1",
    )
    checks = {name: (is_fine, words) for name, is_fine, words in diagnose(parameters)}
    assert checks["Slurm"] == (True, "version 22.05.8, answers.")
    assert checks["queues"] == (True, "all")
    assert not checks["accounting"][0]
    assert [is_fine for _, is_fine, _ in diagnose({"connection": "pigeon"})] == [False]


def test_the_way_to_a_cluster() -> None:
    """The command line, unless its parameters say otherwise."""
    connection: SlurmConnection = connection_for({"array_limit": 3, "requeue": True})
    assert isinstance(connection, SlurmCommandLine)
