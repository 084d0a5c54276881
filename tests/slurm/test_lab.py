"""The cluster that the other tests here rely on: what breaks can be mended, and nobody outside can reach it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import lab
import pytest

UP = str(lab.SCRIPTS / "slurm-up")
DOWN = str(lab.SCRIPTS / "slurm-down")


def pids() -> dict[str, int | None]:
    return {daemon: lab.pid_of(daemon) for daemon in lab.DAEMONS}


def test_up_leaves_what_runs_alone() -> None:
    """Bringing the cluster up again replaces no daemon and says that it is up."""
    before = pids()
    assert None not in before.values()
    assert "up after" in lab.run(UP, timeout_seconds=lab.START_SECONDS)
    assert pids() == before


def test_up_can_be_quiet() -> None:
    """With --quiet a cluster that is up is brought up without a word."""
    assert lab.run(UP, "--quiet", timeout_seconds=lab.START_SECONDS) == ""


@pytest.mark.parametrize(
    "words", [(UP, "--only", "cron"), (UP, "--only"), (UP, "up"), (DOWN, "--kill", "n99"), (DOWN, "x")]
)
def test_unknown_words_are_refused(words: tuple[str, ...]) -> None:
    """A word the scripts do not know, or a daemon that is none of the cluster's, changes nothing and says what is known."""
    before = pids()
    done = subprocess.run(words, capture_output=True, text=True, timeout=lab.COMMAND_SECONDS)
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert pids() == before


def test_loopback_only() -> None:
    """No daemon listens on an address that another machine could reach."""
    addresses = lab.listening()
    ports = {port for _, port in addresses}
    assert {6817, 6819, 6820, 17001, 17002, 17003, 17004} <= ports
    assert {address for address, _ in addresses} == {"0100007F"}


def test_keys_are_private() -> None:
    """The keys that make tokens and credentials can be read by their daemons only."""
    for path in (
        lab.LAB_DIRECTORY / "jwt.key",
        Path("/etc/munge/munge.key"),
        Path("/etc/slurm/slurmdbd.conf"),
    ):
        assert path.stat().st_mode & 0o077 == 0


def test_another_clusters_configuration_is_refused(tmp_path: Path) -> None:
    """A slurm.conf that this script has not written for this directory is not replaced."""
    before = Path("/etc/slurm/slurm.conf").read_text()
    done = subprocess.run(
        [UP],
        capture_output=True,
        text=True,
        env={**os.environ, "SLURM_LAB_DIR": str(tmp_path / "other")},
        timeout=lab.COMMAND_SECONDS,
    )
    assert done.returncode == 1
    assert "belongs to another cluster" in done.stderr
    assert Path("/etc/slurm/slurm.conf").read_text() == before


def test_jobs_run_and_are_accounted_for(job_prefix: str) -> None:
    """An array runs; the accounting tells of each element how it ended."""
    job_id = lab.submit(
        'exit "$SLURM_ARRAY_TASK_ID"', f"--job-name={job_prefix}", "--array=0-2", "-o", "/dev/null"
    )
    expected = {f"{job_id}_0": "COMPLETED", f"{job_id}_1": "FAILED", f"{job_id}_2": "FAILED"}
    lab.wait_for(lambda: lab.states_of(job_id) == expected, "all three are accounted for")


def test_rest_answers(job_prefix: str) -> None:
    """slurmrestd answers who has a token, on its socket and on its port, and nobody else on its port."""
    headers = {"X-SLURM-USER-NAME": "root", "X-SLURM-USER-TOKEN": lab.token(60)}
    with httpx.Client(base_url=lab.REST_ADDRESS) as client:
        assert client.get("/slurm/v0.0.38/ping", headers=headers).json()["pings"][0]["ping"] == "UP"
        assert client.get("/slurm/v0.0.38/ping").status_code == 401
    with httpx.Client(
        base_url="http://localhost", transport=httpx.HTTPTransport(uds=str(lab.REST_SOCKET))
    ) as client:
        assert client.get("/slurm/v0.0.38/ping", headers=headers).json()["pings"][0]["ping"] == "UP"


def test_left_jobs_are_found_and_cancelled(job_prefix: str, tmp_path: Path) -> None:
    """Jobs of a test are known by their name or by where they work or write; no others are touched."""
    named = lab.submit("sleep 60", f"--job-name={job_prefix}-a", "--chdir=/", "-o", "/dev/null")
    working = lab.submit("sleep 60", "--job-name=x", f"--chdir={tmp_path}", "-o", "/dev/null")
    writing = lab.submit(
        "sleep 60", "--job-name=x", "--array=1-2", "--chdir=/", "-o", f"{tmp_path}/%A_%a.log"
    )
    other = lab.submit("sleep 60", f"--job-name=other-{job_prefix}", "--chdir=/", "-o", "/dev/null")
    try:
        assert lab.jobs_of_test(job_prefix, tmp_path) == sorted([named, working, writing])
        lab.cancel_all_of_test(job_prefix, tmp_path)
        assert lab.jobs_of_test(job_prefix, tmp_path) == []
        assert [job.job_id for job in lab.squeue_of(f"other-{job_prefix}")] == [other]
    finally:
        lab.run("scancel", other)


def test_a_qos_limit_is_in_force(job_prefix: str) -> None:
    """A QOS of a test limits what root submits under it, and is gone afterwards."""
    qos = job_prefix
    with lab.quality_of_service(qos, "MaxSubmitJobsPerUser=1"):
        lab.submit("sleep 30", "-H", f"--job-name={job_prefix}", f"--qos={qos}", "-o", "/dev/null")
        with pytest.raises(AssertionError, match="QOSMaxSubmitJobPerUserLimit"):
            lab.submit("true", f"--job-name={job_prefix}", f"--qos={qos}", "-o", "/dev/null")
        lab.run("scancel", f"--name={job_prefix}")
    assert qos not in lab.run("sacctmgr", "-n", "list", "qos", "format=name%60")


def test_an_accounts_limit_is_in_force(job_prefix: str) -> None:
    """An account of a test limits what root submits to it; an unknown one is refused."""
    with (
        lab.account(job_prefix, "MaxSubmitJobs=1"),
        pytest.raises(AssertionError, match="AssocMaxSubmitJobLimit"),
    ):
        lab.submit("true", f"--account={job_prefix}", "--array=1-2", "-o", "/dev/null")
    with pytest.raises(AssertionError, match="Invalid account"):
        lab.submit("true", f"--account={job_prefix}", "-o", "/dev/null")


@pytest.mark.slow
def test_extra_configuration_is_in_force_for_a_while() -> None:
    """Lines of slurm.conf that a test asks for hold during the test and not after it."""
    too_long = ("-p", "short", "-t", "60", "-H", "-o", "/dev/null", "--job-name=refused")
    with (
        lab.configured("EnforcePartLimits=ALL"),
        pytest.raises(AssertionError, match="Requested time limit is invalid"),
    ):
        lab.submit("true", *too_long)
    job_id = lab.submit("true", *too_long)
    lab.run("scancel", job_id)


@pytest.mark.slow
@pytest.mark.parametrize("daemon", ["slurmctld", "slurmdbd", "slurmrestd", "n3"])
def test_each_daemon_can_be_killed_and_started_again(daemon: str) -> None:
    """A daemon that was killed is gone, the cluster is not whole, and starting it again makes it whole."""
    before = lab.pid_of(daemon)
    with lab.daemon_away(daemon, kill=True):
        assert lab.pid_of(daemon) is None
        assert not lab.is_up()
    assert lab.pid_of(daemon) not in (None, before)
    assert lab.is_up()


@pytest.mark.slow
def test_jobs_survive_a_controller_that_is_stopped_in_good_order(job_prefix: str, tmp_path: Path) -> None:
    """A job that runs while the controller is restarted ends as it would have."""
    go = tmp_path / "go"
    job_id = lab.submit(
        f'until [ -e "{go}" ]; do sleep 0.1; done; exit 7', f"--job-name={job_prefix}", "-o", "/dev/null"
    )
    lab.wait_until_running(job_prefix)
    with lab.daemon_away("slurmctld"):
        go.touch()
    lab.wait_for_state(job_id, "FAILED")


@pytest.mark.slow
def test_a_node_declared_down_fails_its_jobs_and_returns(job_prefix: str) -> None:
    """The jobs of a node that an administrator declares down are NODE_FAIL; the node comes back."""
    lab.wait_until_idle("n4")
    job_id = lab.submit(
        "sleep 60", "--no-requeue", "--exclusive", "-w", "n4", f"--job-name={job_prefix}", "-o", "/dev/null"
    )
    lab.wait_until_running(job_prefix)
    lab.node_down("n4")
    lab.wait_for_state(job_id, "NODE_FAIL")
    lab.node_resume("n4")
    lab.wait_for(lambda: lab.state_of_node("n4") == "idle", "n4 is back")


def test_a_drained_node_gets_no_jobs(job_prefix: str) -> None:
    """A job for a drained node waits, with the reason, until the node is taken back."""
    with lab.node_drained("n4"):
        job_id = lab.submit("true", "-w", "n4", f"--job-name={job_prefix}", "-o", "/dev/null")
        lab.wait_for(
            lambda: (
                [job.reason for job in lab.squeue_of(job_prefix)] == ["ReqNodeNotAvail, UnavailableNodes:n4"]
            ),
            "the reason is told",
        )
    lab.wait_for_state(job_id, "COMPLETED")


@pytest.mark.slow
def test_a_spare_job_gives_way_to_an_urgent_one(job_prefix: str) -> None:
    """A job of QOS urgent takes the node of one of QOS spare, which is PREEMPTED."""
    lab.wait_until_idle("n4")
    spare = lab.submit(
        "sleep 60",
        "--no-requeue",
        "--exclusive",
        "-w",
        "n4",
        "--qos=spare",
        f"--job-name={job_prefix}",
        "-o",
        "/dev/null",
    )
    lab.wait_until_running(job_prefix)
    urgent = lab.submit(
        "true", "--exclusive", "-w", "n4", "--qos=urgent", f"--job-name={job_prefix}", "-o", "/dev/null"
    )
    lab.wait_for_state(spare, "PREEMPTED", 60)
    lab.wait_for_state(urgent, "COMPLETED", 60)


def test_without_a_cluster_tests_are_skipped_and_ci_fails(tmp_path: Path) -> None:
    """Where the cluster is missing its tests are skipped with the reason; with CI=true they fail; SLURM=no skips them."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import lab; lab.require_lab()"
    environment = {name: text for name, text in os.environ.items() if name not in ("CI", "SLURM")}
    environment["SLURM_LAB_DIR"] = str(tmp_path / "nowhere")

    def outcome(**more: str) -> str:
        words = [sys.executable, "-c", script, str(Path(lab.__file__).parent)]
        done = subprocess.run(words, capture_output=True, text=True, env={**environment, **more}, timeout=60)
        assert done.returncode != 0
        return done.stderr.strip().splitlines()[-1]

    assert outcome().startswith("Skipped: the one-host Slurm is not up; `make slurm` starts it")
    assert outcome(CI="true").startswith("Failed: CI must have a real Slurm")
    assert outcome(CI="true", SLURM="no").startswith("Skipped")


def test_with_engines_passes_on_how_the_command_ended(tmp_path: Path) -> None:
    """The wrapper of `make test` ends as its command does and leaves alone a cluster that was up before."""
    before = pids()
    done = subprocess.run(
        [str(lab.SCRIPTS / "with-engines"), "sh", "-c", "exit 5"],
        capture_output=True,
        text=True,
        env={**os.environ, "DATABASES": "no", "ENGINES_LOG_DIR": str(tmp_path)},
        timeout=lab.COMMAND_SECONDS,
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "")
    assert pids() == before
