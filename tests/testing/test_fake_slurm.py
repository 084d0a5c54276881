"""The fake Slurm answers as a real one was seen to, and its faults are what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.testing.conformance import processes_with, wait_until
from jobmon.testing.fake_slurm import COMMANDS, FakeSlurm, Settings, State
from jobmon.testing.fake_slurm.array_tasks import parse_job_id, parse_tasks, split_ids, tasks_text
from jobmon.testing.fake_slurm.processes import MARK

RUNS = "exec sleep 600"


class Shell:
    """A login node: the commands are first on ``PATH``."""

    def __init__(self, slurm: FakeSlurm, directory: Path) -> None:
        self.slurm, self.directory = slurm, directory
        self.environment = {**os.environ, "PATH": f"{slurm.bin}:{os.environ['PATH']}"}

    def try_run(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit code, what was printed, and what was complained of."""
        done = subprocess.run(
            words,
            env=self.environment,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
        )
        return done.returncode, done.stdout, done.stderr

    def run(self, *words: str, stdin: str = "") -> str:
        code, text, error = self.try_run(*words, stdin=stdin)
        assert code == 0, error
        return text

    def submit(self, command: str, *options: str) -> str:
        return self.run("sbatch", "--parsable", "-o", "%x.%A_%a", *options, "--wrap", command).strip()

    def squeue(self, job: str, form: str = "%i|%T") -> list[str]:
        return self.run("squeue", "-h", "-j", job, "-o", form).splitlines()

    def sacct(self, job: str, *options: str, fields: str = "JobID,State,ExitCode") -> list[str]:
        return self.run("sacct", "-n", "-P", "-X", *options, "-j", job, "-o", fields).splitlines()


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[FakeSlurm]:
    with FakeSlurm(tmp_path / "slurm", Settings(kill_wait_seconds=0.2)) as slurm:
        yield slurm


@pytest.fixture
def shell(slurm: FakeSlurm, tmp_path: Path) -> Shell:
    directory = tmp_path / "work"
    directory.mkdir()
    return Shell(slurm, directory)


# -- ids ------------------------------------------------------------------------------------------------------
@given(st.sets(st.integers(0, 300), min_size=1), st.integers(0, 9))
def test_tasks_survive_their_text(tasks: set[int], limit: int) -> None:
    """What is written whole is read as it was."""
    ordered = tuple(sorted(tasks))
    assert parse_tasks(tasks_text(ordered, limit, length=0)) == (ordered, limit)


@given(st.sets(st.integers(0, 9999), min_size=1))
def test_long_texts_are_cut_at_a_comma(tasks: set[int]) -> None:
    """No text is longer than Slurm shows; what is left of it is true."""
    text = tasks_text(tuple(sorted(tasks)))
    assert len(text) <= 63
    if text.endswith(",..."):
        assert set(parse_tasks(text.removesuffix(",..."))[0]) <= tasks


def test_texts_seen_on_a_real_cluster() -> None:
    """Even steps are shown as such in long arrays only; lists end with dots."""
    assert tasks_text(tuple(range(1, 400, 2)), 7) == "1-399:2%7"
    assert tasks_text((1, 3, 5, 7), 5) == "1,3,5,7%5"
    assert tasks_text((1, 2, 3, 7, 8, 9, 50)) == "1-3,7-9,50"
    seen = "1,4,7,10,13,16,19,22,25,28,31,34,37,40,43,46,49,52,55,58,61,...%5"
    assert tasks_text((*range(1, 91, 3), 100), 5) == seen


def test_ids_in_lists() -> None:
    """Commas within brackets belong to the id."""
    assert split_ids("13_[1-3,7],14,15_2") == ["13_[1-3,7]", "14", "15_2"]
    assert parse_job_id("13_[1-3,7%2]") == (13, (1, 2, 3, 7))
    for text in ("", "x", "13_", "13.batch", "13_[a]"):
        with pytest.raises(ValueError):
            parse_job_id(text)


# -- scripts really run -----------------------------------------------------------------------------------------
def test_a_script_runs_in_its_place(shell: Shell) -> None:
    """Directory, environment, standard output and error, and a session of its own."""
    (shell.directory / "at").mkdir()
    script = '#!/bin/sh\n#SBATCH -J from-script -e %x.err\npwd; echo "$SECRET $SLURM_JOB_NAME"; echo oh >&2\nps -o sid= $$\n'
    shell.environment["SECRET"] = "a b"
    job = shell.run("sbatch", "--parsable", "-D", "at", "-o", "%x-%j.out", stdin=script).strip()
    shell.slurm.wait_state(job, State.COMPLETED)
    out = (shell.directory / "at" / f"from-script-{job}.out").read_text().splitlines()
    assert out[:2] == [str(shell.directory / "at"), "a b from-script"]
    assert int(out[2]) != os.getsid(0)
    assert (shell.directory / "at" / "from-script.err").read_text() == "oh\n"


def test_variables_of_an_array(shell: Shell) -> None:
    """Each element knows its array, its task and its own id; the last one started has the id of the array."""
    job = shell.submit(
        "echo $SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $SLURM_JOB_ID $SLURM_ARRAY_TASK_COUNT", "-a", "2-4"
    )
    shell.slurm.wait_state(job, State.COMPLETED)
    told = [(shell.directory / f"wrap.{job}_{task}").read_text().split() for task in (2, 3, 4)]
    assert [each[:2] for each in told] == [[job, "2"], [job, "3"], [job, "4"]]
    assert [each[2] for each in told][-1] == job
    assert len({each[2] for each in told}) == 3
    assert shell.sacct(job, fields="JobID,JobIDRaw")[-1] == f"{job}_4|{job}"


@pytest.mark.parametrize(
    ("export", "expected"),
    [("ALL", "kept"), ("NIL", ""), ("NONE", ""), ("ALL,KEPT=new", "new"), ("KEPT", "kept")],
)
def test_what_of_the_environment_goes_with_a_job(shell: Shell, export: str, expected: str) -> None:
    shell.environment["KEPT"] = "kept"
    job = shell.submit('echo "$KEPT"', f"--export={export}", "-J", "env")
    shell.slurm.wait_state(job, State.COMPLETED)
    assert next(shell.directory.glob("env.*")).read_text() == expected + "\n"


@pytest.mark.parametrize(
    ("command", "state", "code"),
    [
        ("true", "COMPLETED", "0:0"),
        ("exit 3", "FAILED", "3:0"),
        ("exit 137", "FAILED", "9:0"),
        ("kill -9 $$", "FAILED", "0:9"),
        ("/no/such", "FAILED", "127:0"),
    ],
)
def test_codes_seen_on_a_real_cluster(shell: Shell, command: str, state: str, code: str) -> None:
    job = shell.submit(command)
    shell.slurm.wait_state(job, State(state))
    assert shell.sacct(job) == [f"{job}|{state}|{code}"]


def test_a_log_that_cannot_be_written(shell: Shell) -> None:
    """The job fails without having run."""
    job = shell.submit("true", "-o", "/no/such/log")
    shell.slurm.wait_state(job, State.FAILED)
    assert shell.sacct(job) == [f"{job}|FAILED|0:53"]


def test_nothing_is_left_of_a_job(shell: Shell) -> None:
    """Its children end with it, wherever they went."""
    job = shell.submit("setsid sleep 600 & sleep 0.1; exit 0")
    mark = wait_until(lambda: shell.slurm.job(job).mark, "the start")
    shell.slurm.wait_state(job, State.COMPLETED)
    wait_until(lambda: not processes_with({f"{MARK}={mark}".encode()}), "the end of its children", 5)


# -- what the commands print ------------------------------------------------------------------------------------
def test_a_pending_array_is_one_row(shell: Shell) -> None:
    """Elements that run have rows of their own; -r shows all."""
    job = shell.submit(RUNS, "-a", "1-6%2", "-J", "name")
    assert shell.squeue(job, "%i|%F|%K|%j|%T|%r|%N") == [
        f"{job}_[3-6%2]|{job}|3-6%2|name|PENDING|JobArrayTaskLimit|",
        f"{job}_1|{job}|1|name|RUNNING|None|n1",
        f"{job}_2|{job}|2|name|RUNNING|None|n1",
    ]
    assert len(shell.run("squeue", "-h", "-r", "-j", job, "-o", "%i").splitlines()) == 6
    assert shell.run("squeue", "-h", "-j", job, "-O", "JobArrayID:|,State:5,Name:|").splitlines()[0] == (
        f"{job}_[3-6%2]|PENDIname|"
    )


def test_long_ids_are_cut(shell: Shell) -> None:
    """``%i`` shows 31 characters, ``%K`` 63, unless all is asked for."""
    tasks = ",".join(str(task) for task in range(1, 100, 3)) + ",101"
    job = shell.submit(RUNS, "-a", tasks, "--hold")
    (row,) = shell.squeue(job, "%i/%K")
    shown, listed = row.split("/")
    assert len(shown) == 31
    assert listed.endswith(",...")
    shell.environment["SLURM_BITSTR_LEN"] = "0"
    assert shell.squeue(job, "%K") == [tasks]


def test_cancelled_elements_that_waited_vanish(shell: Shell) -> None:
    """No command tells of them; the whole rest of an array leaves a row."""
    job = shell.submit(RUNS, "-a", "1-6%1")
    shell.run("scancel", f"{job}_[3-4]", f"{job}_6", "99999_1")
    assert shell.squeue(job) == [f"{job}_[2,5%1]|PENDING", f"{job}_1|RUNNING"]
    assert not [row for row in shell.sacct(job) if f"{job}_3" in row]
    shell.run("scancel", job)
    shell.slurm.wait_state(job, State.CANCELLED)
    by = f"CANCELLED by {os.getuid()}"
    assert shell.sacct(job) == [f"{job}_[2,5%1]|{by}|0:0", f"{job}_1|{by}|0:0"]


def test_unknown_ids(shell: Shell) -> None:
    """A single one is an error, one among others is not; scancel does not mind."""
    job = shell.submit(RUNS)
    assert shell.try_run("squeue", "-h", "-j", "999")[::2] == (
        1,
        "slurm_load_jobs error: Invalid job id specified\n",
    )
    assert len(shell.squeue(f"999,{job}")) == 1
    assert shell.try_run("scancel", "999") == (0, "", "")
    assert shell.try_run("scontrol", "show", "job", "999")[0] == 1
    assert shell.sacct("999") == []
    assert shell.try_run("sacct", "-o", "Restarts") == (
        1,
        "",
        'sacct: error: Invalid field requested: "Restarts"\n',
    )


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["-p", "nowhere"], 1, "Invalid partition name specified"),
        (["-a", "0-1001"], 1, "Invalid job array specification"),
        (["-a", "5-2"], 1, "Invalid job array specification"),
        (["-x", "n9"], 1, "Invalid node name specified"),
        (["-t", "x"], 255, "Invalid --time specification"),
        (["--frobnicate"], 255, "unrecognized option '--frobnicate'"),
    ],
)
def test_refusals(shell: Shell, options: list[str], code: int, text: str) -> None:
    told, _, error = shell.try_run("sbatch", *options, "--wrap", "true")
    assert (told, text in error) == (code, True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-t", "20"], "PartitionTimeLimit"),
        (["--mem", "3G"], "MaxMemPerLimit"),
        (["-c", "100"], "PartitionConfig"),
        (["-N", "9"], "PartitionNodeLimit"),
        (["--hold"], "JobHeldUser"),
        (["--begin", "now+1hour"], "BeginTime"),
    ],
)
def test_what_waits_for_ever(shell: Shell, options: list[str], reason: str) -> None:
    """It is taken all the same."""
    job = shell.submit("true", *options)
    assert shell.squeue(job, "%T|%r") == [f"PENDING|{reason}"]


def test_impossible_requests_are_refused_where_limits_are_enforced(tmp_path: Path) -> None:
    with FakeSlurm(tmp_path / "slurm", Settings(enforce_part_limits=True)) as slurm:
        _, _, error = Shell(slurm, tmp_path).try_run("sbatch", "-t", "20", "--wrap", "true")
    assert "Requested time limit is invalid" in error


def test_facts_of_the_cluster(shell: Shell) -> None:
    assert shell.run("sinfo", "-h", "-o", "%P|%l|%c|%m|%D").splitlines()[0] == "short*|10:00|16|4096|4"
    assert "MaxTime=00:10:00" in shell.run("scontrol", "-o", "show", "partition", "short")
    assert "MaxArraySize            = 1001\n" in shell.run("scontrol", "show", "config")
    assert len(shell.run("scontrol", "-o", "show", "node").splitlines()) == 4
    shell.slurm.submit_limit(7)
    words = ["sacctmgr", "-n", "-P", "show", "assoc", "user=me", "format=Account,MaxSubmitJobs"]
    assert shell.run(*words).strip().endswith("|7")
    for command in COMMANDS:
        assert shell.run(command, "--version" if command != "sacctmgr" else "show")


def test_throttle_hold_and_release(shell: Shell) -> None:
    job = shell.submit(RUNS, "-a", "1-4%1")
    shell.run("scontrol", "hold", job)
    shell.run("scontrol", "update", f"JobId={job}", "ArrayTaskThrottle=2")
    assert shell.squeue(job, "%i|%r")[0] == f"{job}_[2-4%2]|JobHeldUser"
    shell.run("scontrol", "release", job)
    shell.slurm.wait_state(f"{job}_2", State.RUNNING)
    assert shell.squeue(job, "%i")[0] == f"{job}_[3-4%2]"


# -- faults -----------------------------------------------------------------------------------------------------
def test_a_command_that_hangs_and_one_that_is_slow(shell: Shell) -> None:
    """The one answers when the fault is over, the other after its time; the rest answer at once."""
    shell.slurm.hang("squeue")
    with subprocess.Popen(["squeue"], env=shell.environment, stdout=subprocess.PIPE) as process:
        wait_until(lambda: shell.slurm.calls.count["squeue"], "the call")
        shell.run("sinfo")
        assert process.poll() is None
        shell.slurm.recover()
        assert process.wait(10) == 0
    shell.slurm.slow(0.3, "squeue")
    before = time.monotonic()
    shell.run("squeue")
    assert time.monotonic() - before >= 0.3


def test_a_reply_that_is_lost(shell: Shell) -> None:
    """The job is there, though sbatch failed."""
    shell.slurm.lose_reply()
    code, text, error = shell.try_run("sbatch", "--parsable", "-J", "lost", "-o", "/dev/null", "--wrap", RUNS)
    assert (code, text) == (1, "")
    assert "Socket timed out" in error
    assert shell.run("squeue", "-h", "--name", "lost", "--me", "-o", "%j").split() == ["lost"]
    shell.submit("true")


def test_refused_and_limited(shell: Shell) -> None:
    shell.slurm.refuse("sbatch: error: No.")
    assert shell.try_run("sbatch", "--wrap", "true") == (1, "", "sbatch: error: No.\n")
    shell.slurm.refuse("")
    shell.slurm.submit_limit(2)
    job = shell.submit(RUNS, "-a", "1-2")
    assert "AssocMaxSubmitJobLimit" in shell.try_run("sbatch", "--wrap", "true")[2]
    shell.run("scancel", job)
    shell.slurm.wait_state(job, State.CANCELLED)
    shell.submit("true")


def test_accounting_with_faults(shell: Shell) -> None:
    """It lags, tells half, is away, or is not there at all."""
    job = shell.submit("exit $((SLURM_ARRAY_TASK_ID % 2))", "-a", "1-2")
    shell.slurm.wait_state(job, State.FAILED, State.COMPLETED)
    slurm = shell.slurm
    slurm.lag_accounting(600)
    assert shell.sacct(job) == []
    slurm.lag_accounting(0)
    slurm.half_told()
    assert shell.sacct(job) == [f"{job}|COMPLETED|0:0"]
    slurm.recover()
    assert shell.sacct(job) == [f"{job}_1|FAILED|1:0", f"{job}_2|COMPLETED|0:0"]
    slurm.accounting_away()
    assert shell.try_run("sacct")[0] == 1
    slurm.accounting_away(False)
    slurm.no_accounting()
    assert "disabled" in shell.try_run("sacct")[2]
    assert shell.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").split() == ["FAILED", "COMPLETED"]


def test_an_end_that_arrives_before_its_beginning(shell: Shell) -> None:
    """A job named "allocation", with no partition, that has failed."""
    shell.slurm.half_told()
    job = shell.submit("exit 1")
    shell.slurm.wait_state(job, State.FAILED)
    assert shell.sacct(job, fields="JobName,Partition,State") == ["allocation||FAILED"]


def test_lies(shell: Shell) -> None:
    job = shell.submit(RUNS)
    shell.slurm.lie(state="FROBNICATING")
    assert shell.squeue(job) == [f"{job}|FROBNICATING"]
    assert shell.sacct(job, fields="State") == ["FROBNICATING"]
    shell.slurm.lie(squeue="<html>")
    assert shell.run("squeue") == "<html>"


def test_the_controller_is_away(shell: Shell) -> None:
    """Accounting is not."""
    job = shell.submit("true")
    shell.slurm.wait_state(job, State.COMPLETED)
    shell.slurm.controller_away()
    for command in ("squeue", "sinfo", "sbatch"):
        code, _, error = shell.try_run(command)
        assert (code, "Unable to contact slurm controller" in error) == (1, True)
    assert len(shell.sacct(job)) == 1


@pytest.mark.parametrize(
    ("fault", "state", "code"),
    [
        (FakeSlurm.out_of_memory, State.OUT_OF_MEMORY, "0:125"),
        (FakeSlurm.timeout, State.TIMEOUT, "0:0"),
        (FakeSlurm.preempt, State.PREEMPTED, "0:0"),
        (FakeSlurm.deadline, State.DEADLINE, "0:0"),
    ],
)
def test_what_happens_to_jobs(shell: Shell, fault: object, state: State, code: str) -> None:
    """A command deaf to SIGTERM is killed."""
    job = shell.submit("trap '' TERM; while :; do sleep 0.1; done")
    shell.slurm.wait_state(job, State.RUNNING)
    fault(shell.slurm, job)  # type: ignore[operator]
    shell.slurm.wait_state(job, state)
    assert shell.sacct(job) == [f"{job}|{state}|{code}"]


def test_a_requeue(shell: Shell) -> None:
    """Both runs are accounted for, the last one by default; the script knows of it."""
    job = shell.submit("echo ${SLURM_RESTART_COUNT:-0}; " + RUNS, "-J", "again", "--requeue", "-o", "%x.%r")
    shell.slurm.wait_state(job, State.RUNNING)
    shell.slurm.requeue(job)
    wait_until(lambda: shell.slurm.job(job).restarts == 1, "the second run")
    shell.slurm.wait_state(job, State.RUNNING)
    assert shell.sacct(job, fields="State") == ["RUNNING"]
    assert shell.sacct(job, "-D", fields="State") == ["REQUEUED", "RUNNING"]
    assert shell.run("squeue", "-h", "-j", job, "-O", "RestartCnt:1").strip() == "1"


def test_a_node_that_fails(shell: Shell) -> None:
    """Its jobs end, or start anew elsewhere; or they run on unknown to anybody."""
    stays = shell.submit("sleep 600", "--no-requeue")
    moves = shell.submit("sleep 600", "--requeue")
    shell.slurm.wait_state(stays, State.RUNNING)
    mark = shell.slurm.job(stays).mark
    shell.slurm.node_fail("n1", leave_processes=True)
    assert shell.sacct(stays) == [f"{stays}|NODE_FAIL|0:0"]
    assert processes_with({f"{MARK}={mark}".encode()})
    shell.slurm.wait_state(moves, State.RUNNING)
    assert shell.squeue(moves, "%N") == ["n2"]
    assert "State=DOWN*" in shell.run("scontrol", "-o", "show", "node", "n1")
    shell.run("scontrol", "update", "nodename=n1", "state=resume")
    assert shell.slurm.cluster.nodes["n1"].is_down is False


def test_a_restart_of_the_controller(shell: Shell) -> None:
    """Without loss all goes on; what was submitted lately vanishes; what started lately waits again."""
    slurm = shell.slurm
    job = shell.submit(RUNS, "--hold")
    slurm.restart_controller()
    assert shell.squeue(job) == [f"{job}|PENDING"]
    shell.slurm.job(job).submitted -= 100
    slurm.release(job)
    slurm.wait_state(job, State.RUNNING)
    first = slurm.job(job).mark
    slurm.restart_controller(lose_seconds=50)
    wait_until(lambda: slurm.job(job).mark != first, "the second start")
    slurm.restart_controller(lose_seconds=1000)
    assert slurm.jobs() == []
    assert shell.try_run("squeue", "-h", "-j", job)[0] == 1


def test_forgotten_jobs_and_ids_used_again(shell: Shell) -> None:
    """The controller forgets what ended; accounting knows both jobs of an id."""
    job = shell.submit("true", "-J", "old")
    shell.slurm.wait_state(job, State.COMPLETED)
    shell.slurm.recycle_ids()
    assert shell.submit("true", "-J", "new") == job
    shell.slurm.wait_state(job, State.COMPLETED)
    assert shell.sacct(job, fields="JobName") == ["new"]
    assert shell.sacct(job, "-D", fields="JobName") == ["old", "new"]


def test_calls_are_counted(shell: Shell) -> None:
    shell.run("squeue", "-h")
    shell.run("squeue", "--me")
    assert shell.slurm.calls.count == {"squeue": 2}
    assert shell.slurm.calls.words[-1] == ("squeue", "--me")


def test_thousands_of_elements(shell: Shell) -> None:
    """A large array is taken, listed and cancelled at once."""
    with FakeSlurm(shell.directory / "large", Settings(max_array_size=10_001, max_job_count=20_000)) as slurm:
        large = Shell(slurm, shell.directory)
        job = large.submit(RUNS, "-a", "1-10000%2", "-o", "/dev/null")
        assert large.squeue(job)[0] == f"{job}_[3-10000%2]|PENDING"
        large.run("scancel", job)
        slurm.wait_state(job, State.CANCELLED)


@pytest.mark.e2e
def test_by_hand(tmp_path: Path) -> None:
    """``python -m jobmon.testing.fake_slurm`` says what to type, and leaves nothing when it ends."""
    words = [sys.executable, "-m", "jobmon.testing.fake_slurm", str(tmp_path / "slurm")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"export PATH={tmp_path}/slurm/bin:$PATH\n"
        job = subprocess.check_output(
            ["/bin/sh", "-c", f"{line}sbatch --parsable -o /dev/null --wrap '{RUNS}'; squeue -h -o %T"],
            text=True,
        )
        assert job == "1\nRUNNING\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_directory_that_is_gone(shell: Shell) -> None:
    """The job runs elsewhere, as it does on a real cluster, and says so in its log."""
    job = shell.submit("pwd", "-D", "/no/such", "-o", f"{shell.directory}/log")
    shell.slurm.wait_state(job, State.COMPLETED)
    said, where = (shell.directory / "log").read_text().splitlines()
    assert "couldn't chdir to `/no/such'" in said
    assert where == "/tmp"
