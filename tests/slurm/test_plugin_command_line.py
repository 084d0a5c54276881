"""The Slurm plugin by its commands on a real Slurm: from a batch to looks, ends and figures."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from lab import quality_of_service, wait_for

from jobmon.core.batch_cluster import BatchJob, JobLook, RemoteEnd
from jobmon.core.exceptions import ClusterBusy, SubmissionError
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.plugins.slurm.distributor import SlurmDistributor

pytestmark = pytest.mark.e2e
E = TaskInstanceEvent
END_SECONDS = 60.0

Submit = Callable[..., tuple[BatchJob, dict[int, str]]]


@pytest.fixture
def slurm() -> SlurmDistributor:
    return SlurmDistributor("slurm")


@pytest.fixture
def submit(slurm: SlurmDistributor, job_prefix: str, tmp_path: Path) -> Submit:
    """Submits a batch whose steps run lines of a shell."""
    count = iter(range(100))

    def make(*lines: str, max_running: int = 0, excluded: tuple[str, ...] = (), **resources: Any) -> Any:
        number = next(count)
        for step, line in enumerate(lines):
            (tmp_path / f"command{number}.{step}").write_text(line)
        wrapper = tmp_path / f"wrapper{number}"
        wrapper.write_text(f'echo "$4" > {tmp_path}/id{number}.$2\n. {tmp_path}/command{number}.$2\n')
        asked = {"queue": "short", "cores": 1, "memory": 0.0625, "runtime": 120, "working_dir": str(tmp_path)}
        job = BatchJob(
            f"{job_prefix}-{number}",
            1,
            number,
            tuple(range(len(lines))),
            wrapper,
            ("/bin/sh", str(wrapper)),
            {**asked, **resources},
            tmp_path / "logs of slurm",
            max_running,
            excluded,
        )
        return job, slurm.submit_batch(job)

    return make


def ends_of(slurm: SlurmDistributor, ids: Mapping[int, str], *steps: int) -> list[RemoteEnd]:
    """The ends of these steps, or of all, once all are known; asked as the controller asks."""
    known: dict[str, RemoteEnd] = {}
    asked = [ids[step] for step in steps or ids]

    def all_known() -> bool:
        listed = slurm.look(asked)
        silent = [each for each in asked if each not in listed and each not in known]
        known.update(slurm.ends(silent))
        return len(known) == len(asked)

    wait_for(all_known, "the ends", END_SECONDS)
    return [known[each] for each in asked]


def look_at(slurm: SlurmDistributor, distributor_id: str, running: bool = True) -> JobLook:
    """The look of a job that waits, or runs, once it does."""

    def look() -> JobLook | None:
        found = slurm.look([distributor_id]).get(distributor_id)
        return found if found is not None and found.is_running is running else None

    found: JobLook = wait_for(look, "a job that runs" if running else "a job that waits")
    return found


def test_a_batch_from_end_to_end(slurm: SlurmDistributor, submit: Submit, tmp_path: Path) -> None:
    """Five steps, five ends; each knew its step and its id; found by name and figures known afterwards."""
    lines = ("exit 0", "exit 3", "kill -9 $$", "exit 137", "sleep 600")
    job, ids = submit(*lines, max_running=4)
    assert [each.partition("_")[2] for each in ids.values()] == ["1", "2", "3", "4", "5"]
    assert slurm.find_batch(job.name, 5) == ids
    assert slurm.find_batch(job.name + "x", 5) == {}
    good, bad, killed, high = ends_of(slurm, ids, 0, 1, 2, 3)
    assert (good.event, good.exit_code) == (E.FINISH, 0)
    assert (bad.event, bad.cause, bad.exit_code) == (E.FAIL, Cause.CODE, 3)
    assert (killed.event, killed.exit_code) == (E.FAIL, -9)
    assert (high.event, high.exit_code) == (E.FAIL, 137)
    assert all(end.nodename.startswith("n") and end.maxrss for end in (good, bad, killed))
    assert look_at(slurm, ids[4]).nodename.startswith("n")
    slurm.cancel({ids[4]: "a job of somebody else"})
    assert look_at(slurm, ids[4]).is_running
    slurm.cancel({ids[4]: job.name})
    (cancelled,) = ends_of(slurm, ids, 4)
    assert (cancelled.event, cancelled.cause) == (E.FAIL, Cause.CANCELLED)
    assert "cancelled by root" in cancelled.description
    assert set(slurm.usage(list(ids.values()))) == set(ids.values())
    assert slurm.find_batch(job.name, 5) == ids
    assert [(tmp_path / f"id0.{step}").read_text().strip() for step in range(5)] == list(ids.values())
    assert len(list((tmp_path / "logs of slurm").iterdir())) == 5


def test_too_little_memory(slurm: SlurmDistributor, submit: Submit) -> None:
    """Killed for want of memory: the sentence has what was asked."""
    _, ids = submit("python3 -c 'x = bytearray(200_000_000)'")
    (end,) = ends_of(slurm, ids)
    assert (end.event, end.cause) == (E.RESOURCE, Cause.RESOURCE)
    assert "asked 64 MiB" in end.description


def test_throttling_and_holding(slurm: SlurmDistributor, submit: Submit) -> None:
    """One at a time; then none; then as many as there is room for."""
    job, ids = submit(*["sleep 600"] * 4, max_running=1)
    look_at(slurm, ids[0])
    slurm.throttle({ids[2]: 2})
    look_at(slurm, ids[1])
    assert look_at(slurm, ids[2], running=False).reason == ""
    slurm.throttle({ids[0]: 0})
    slurm.cancel({ids[0]: job.name, ids[1]: job.name})
    ends_of(slurm, ids, 0, 1)
    assert look_at(slurm, ids[2], running=False).reason == ""  # held by itself: nothing to explain
    assert "JobHeldUser" in SlurmDistributor("slurm").look([ids[2]])[ids[2]].reason
    SlurmDistributor("slurm").throttle({ids[2]: -1})  # a later controller lets it go
    look_at(slurm, ids[2])
    look_at(slurm, ids[3])
    slurm.cancel(dict.fromkeys(ids.values(), job.name))
    assert [end.cause for end in ends_of(slurm, ids, 2, 3)] == [Cause.CANCELLED] * 2


def test_a_part_of_what_waits_is_cancelled(slurm: SlurmDistributor, submit: Submit) -> None:
    """In one command; the rest waits on and is listed one by one."""
    job, ids = submit(*["sleep 600"] * 6, max_running=1)
    look_at(slurm, ids[0])
    slurm.cancel({ids[step]: job.name for step in (1, 2, 4)})
    wait_for(lambda: set(slurm.look(list(ids.values()))) == {ids[0], ids[3], ids[5]}, "the rest")
    slurm.cancel(dict.fromkeys(ids.values(), job.name))
    wait_for(lambda: not slurm.look(list(ids.values())), "the end of all")


def test_what_can_never_start(slurm: SlurmDistributor, submit: Submit) -> None:
    """sbatch takes a request beyond the limits of its queue; the look soon tells that it is in vain."""
    job, ids = submit("true", runtime=36_000)

    def hopeless() -> JobLook | None:
        look = slurm.look(list(ids.values()))[ids[0]]
        return look if look.can_never_start else None

    look = wait_for(hopeless, "the reason")
    assert look.reason.startswith("PartitionTimeLimit: ")
    assert slurm.get_queueing_errors(list(ids.values())) == {ids[0]: look.reason}
    slurm.cancel({ids[0]: job.name})


@pytest.mark.parametrize(
    ("resources", "what"),
    [
        ({"queue": "nowhere"}, "invalid partition specified: nowhere"),
        ({"constraints": "nothing"}, "Invalid feature specification"),
        ({"gpus": 3}, "generic resource"),
        ({"sbatch_arguments": "--no-such-option"}, "no-such-option"),
    ],
)
def test_refusals(submit: Submit, resources: dict[str, Any], what: str) -> None:
    """In Slurm's own words."""
    with pytest.raises(SubmissionError, match=what):
        submit("true", **resources)


def test_a_launch_that_fails(slurm: SlurmDistributor, submit: Submit) -> None:
    """A log nobody can write: the job is not started at all, and the sentence says what to look at."""
    _, ids = submit("true", standard_output="/proc/%A/%a.log")
    (end,) = ends_of(slurm, ids)
    assert (end.event, end.cause) == (E.LOSE, Cause.LAUNCH)
    assert "standard_output" in end.description


def test_text_that_needs_quoting(slurm: SlurmDistributor, submit: Submit, tmp_path: Path) -> None:
    """Directories with blanks, quotes and letters of other languages, and a log with a per cent sign."""
    directory = tmp_path / 'it\'s a "dir" $HOME 50% é #1'
    directory.mkdir()
    _, ids = submit("pwd", working_dir=str(directory), standard_output=str(directory).replace("50%", "50"))
    assert ends_of(slurm, ids)[0].event is E.FINISH
    (log,) = Path(str(directory).replace("50%", "50")).iterdir()
    assert log.read_text() == f"{directory}\n"


def test_the_described_script_is_the_job(
    slurm: SlurmDistributor, submit: Submit, job_prefix: str, tmp_path: Path
) -> None:
    """What is shown by a dry run can be handed to sbatch, and does the same; also with text that needs quoting."""
    logs = tmp_path / "it's $HOME #1"
    logs.mkdir()
    wrapper = ("/bin/sh", "-c", 'pwd; echo "$@"', "a 'b' \"c\"\nd")
    asked = {"working_dir": str(logs), "memory": 0.05, "queue": "long", "environment": "clean"}
    job = BatchJob(f"{job_prefix}-x", 1, 1, (1, 2), Path("/b"), wrapper, asked, logs)
    done = subprocess.run(
        ["sbatch", "--parsable"], input=slurm.describe_batch(job), text=True, capture_output=True, check=True
    )
    ids = {step: f"{done.stdout.strip()}_{step + 1}" for step in range(2)}
    assert [end.event for end in ends_of(slurm, ids)] == [E.FINISH] * 2
    told = {log.name: log.read_text() for log in logs.iterdir()}
    assert told == {
        f"{job.name}-{each}.log": f"{logs}\n--step {step} --distributor-id {each}\n"
        for step, each in ids.items()
    }


def test_environments(
    slurm: SlurmDistributor, submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the submitting process, with nothing of a job it may itself be in; or a clean one."""
    monkeypatch.setenv("OF_THE_PERSON", "kept")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "17")
    monkeypatch.setenv("SBATCH_PARTITION", "nowhere")
    show = f'env | grep -E "^(OF_THE_PERSON|HOME|SLURM_MEM_PER_CPU|LC_ALL)=" > {tmp_path}/'
    for environment in ("submit", "clean"):
        _, ids = submit(show + environment + "; true", environment=environment)
        assert ends_of(slurm, ids)[0].event is E.FINISH
    assert "OF_THE_PERSON=kept" in (tmp_path / "submit").read_text()
    assert "SLURM_MEM_PER_CPU" not in (tmp_path / "submit").read_text()
    assert (tmp_path / "clean").read_text() == "HOME=/root\n"


def test_excluded_nodes(slurm: SlurmDistributor, submit: Submit) -> None:
    """The job runs elsewhere."""
    _, ids = submit(*["true"] * 3, excluded=("n1", "n2", "n3"))
    assert {end.nodename for end in ends_of(slurm, ids)} == {"n4"}


def test_a_restart_by_slurm(slurm: SlurmDistributor, submit: Submit) -> None:
    """Forced by an operator: the job is listed again, with its restarts; it has not ended."""
    job, ids = submit("sleep 600", sbatch_arguments="--requeue")
    look_at(slurm, ids[0])
    subprocess.run(["scontrol", "requeue", ids[0]], check=True, capture_output=True)
    look = look_at(slurm, ids[0], running=False)
    assert look.restarts == 1
    assert not look.can_never_start
    assert slurm.ends([ids[0]]) == {}
    slurm.cancel({ids[0]: job.name})


def test_the_cluster_itself(slurm: SlurmDistributor) -> None:
    """Its limits, the addresses of its nodes, its queues, and a checkup."""
    assert slurm.array_limit == 100_000
    assert slurm.room() > 100_000
    assert list(slurm.node_addresses()) == ["127.0.0.1"]
    assert [queue.name for queue in slurm.discover().queues] == ["short", "long", "tiny"]
    assert all(is_fine for _, is_fine, _ in slurm.diagnose())


def test_a_command_line_as_an_array(
    slurm: SlurmDistributor, job_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The methods for plugins of other hands: a command line, submitted as an array, and asked about one by one."""
    monkeypatch.setenv("JOBMON__DISTRIBUTOR__SHARED_DIRECTORY", str(tmp_path))
    ids = slurm.submit_array_to_batch_distributor(
        f"exit $((SLURM_ARRAY_TASK_ID - 1)) # {tmp_path}",
        f"{job_prefix}-c",
        {"queue": "short", "memory": 0.05, "working_dir": str(tmp_path)},
        2,
    )
    assert [end.exit_code for end in ends_of(slurm, ids)] == [0, 1]
    assert slurm.get_submitted_or_running(list(ids.values())) == set()


def test_limits_of_a_quality_of_service(slurm: SlurmDistributor, submit: Submit, job_prefix: str) -> None:
    """Too many jobs for the moment, too many for ever, and a job that is too long: three different things."""
    with quality_of_service(job_prefix, "MaxSubmitJobsPerUser=3", "MaxWall=5"):
        job, ids = submit("sleep 600", "sleep 600", qos=job_prefix)
        with pytest.raises(ClusterBusy, match="QOSMaxSubmitJobPerUserLimit"):
            submit("true", "true", qos=job_prefix)
        with pytest.raises(SubmissionError, match="array_limit=3"):
            submit(*["true"] * 4, qos=job_prefix)
        long_job, (long_id,) = _with_ids(submit("true", qos=job_prefix, runtime=600))
        wait_for(lambda: slurm.get_queueing_errors([long_id]), "the reason")
        assert slurm.look([long_id])[long_id].reason.startswith("QOSMaxWallDurationPerJobLimit: ")
        slurm.cancel({**dict.fromkeys(ids.values(), job.name), long_id: long_job.name})
        wait_for(lambda: not slurm.look([*ids.values(), long_id]), "the end of all")


def _with_ids(submitted: tuple[BatchJob, dict[int, str]]) -> tuple[BatchJob, list[str]]:
    return submitted[0], list(submitted[1].values())
