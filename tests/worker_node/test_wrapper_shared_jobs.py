"""The wrapper of a job that several attempts share: one after the other, each by itself."""

from __future__ import annotations

import signal

import pytest

from jobmon.core.states import TaskInstanceEvent
from processes import wait_until
from wrapping import INSTANCE, LIVE, NOT_LIVE, Answer, Event, Server, Site

pytestmark = pytest.mark.e2e

UNTIL_GO = "touch ready; until [ -e go ]; do sleep 0.01; done"
GONE: Answer = (404, b'{"request_id":"1"}')


def told(server: Server) -> list[tuple[int, str]]:
    """Which attempt (from 0) told what, in order."""
    return [(event["task_instance_id"] - INSTANCE, event["event"]) for event in server.events]


def run_of(*ends: str) -> list[tuple[int, str]]:
    """Start and end of attempts one after the other."""
    return [(number, event) for number, end in enumerate(ends) for event in ("start", end)]


def refusing(task: int, answer: Answer = NOT_LIVE, to: str = "start") -> object:
    """What a server says that lets one of them not go on."""

    def say(event: Event) -> Answer:
        return answer if (event["task_instance_id"], event["event"]) == (INSTANCE + task, to) else LIVE

    return say


def test_one_after_the_other_over_one_connection(site: Site, server: Server) -> None:
    """Each in its own environment with logs of its own, though all have one name; the job's id is that of all."""
    wrapped = site.start_all(*["echo $JOBMON_TASK_INSTANCE_ID; pwd"] * 3)
    assert (wrapped.end(), wrapped.said) == (0, "")
    assert told(server) == run_of("finish", "finish", "finish")
    starts = [event for event in server.events if event["event"] == "start"]
    assert {event["distributor_id"] for event in starts} == {"99_1"}
    for number, start in enumerate(starts):
        log = site.root / "logs" / f"fit.o99_1.{number + 1}"
        assert start["stdout"] == str(log)
        assert log.read_text() == f"{INSTANCE + number}\n{site.work}\n"
    assert server.num_connections == 1


def test_one_that_fails_is_nobody_elses_concern(site: Site, server: Server) -> None:
    """The others run; the exit code tells the cluster that not all was well."""
    wrapped = site.start_all("true", "echo oops >&2; exit 3", "touch ran")
    assert wrapped.end() == 3
    assert told(server) == run_of("finish", "fail", "finish")
    assert server.events[3]["description"] == "The command exited with code 3.\noops"
    assert (site.work / "ran").exists()


def test_what_each_used_is_its_own(site: Site, server: Server) -> None:
    """The peak of a large one is not that of the next."""
    large = "python3 -c 'x = bytearray(100 << 20); x[::4096] = bytes([1]) * len(x[::4096])'"
    assert site.start_all(large, "true").end() == 0
    first, second = (event for event in server.events if event["event"] == "finish")
    assert first["maxrss"] > 100 << 20
    assert second["maxrss"] < 50 << 20
    assert first["cpu"] > second["cpu"]


def test_one_that_overruns_has_what_nobody_after_it_asked_for(site: Site, server: Server) -> None:
    """It may use the slack, and is ended when it would eat the time of the next: it lacked run time."""
    wrapped = site.start_all("true", "exec sleep 600", "touch ran", runtime=1, job_seconds=8)
    assert wrapped.end() == 143
    assert told(server) == run_of("finish", "resource", "finish")
    end = server.events[3]
    assert end["cause"] == "resource"
    assert end["description"].startswith(
        "The command ran into its time limit of 1 s (runtime=1): it was ended after "
    )
    assert end["description"].endswith(" for the time left belongs to the tasks that share its job.")
    assert end["wallclock"] > 1
    assert (site.work / "ran").exists()


def test_a_command_that_ends_in_peace_when_its_time_is_over(site: Site, server: Server) -> None:
    """It has not succeeded."""
    wrapped = site.start_all(
        "trap 'exit 0' TERM; while :; do sleep 0.01; done", "true", runtime=1, job_seconds=9
    )
    wrapped.end()
    assert told(server) == run_of("resource", "finish")


def test_nothing_begins_for_which_no_time_is_left(site: Site, server: Server) -> None:
    """Of those that were not begun nothing is told; the cluster's log says how many."""
    wrapped = site.start_all("true", "true", runtime=20, job_seconds=20)
    assert wrapped.end() == 199
    assert told(server) == []
    assert "2 attempts of this job were not begun." in wrapped.said


@pytest.mark.parametrize("answer", [NOT_LIVE, GONE])
def test_one_that_may_not_go_on_is_left_out(site: Site, server: Server, answer: Answer) -> None:
    """Its turn is over at once; where it was ordered to end, it has."""
    server.answer = refusing(1, answer)  # type: ignore[assignment]
    wrapped = site.start_all("true", "touch never", "touch ran")
    assert wrapped.end() == 199
    expected = run_of("finish", "abort", "finish")
    if answer is GONE:
        expected.remove((1, "abort"))
    assert told(server) == expected
    assert [path.name for path in site.work.iterdir()] == ["ran"]
    assert not (site.root / "logs" / "fit.o99_1.2").exists()
    assert f"Nothing was run: task instance {INSTANCE + 1} may not go on." in wrapped.said


def test_one_that_is_ordered_to_end_while_it_runs(site: Site, server: Server) -> None:
    """The next has its turn."""
    server.answer = refusing(0, to="heartbeat")  # type: ignore[assignment]
    wrapped = site.start_all("exec sleep 600", "true", heartbeat_seconds=0.2)
    assert wrapped.end() != 0
    assert [each for each in told(server) if each[1] != "heartbeat"] == run_of("abort", "finish")


def test_sigterm_ends_the_one_that_runs_and_the_job(site: Site, server: Server) -> None:
    """What the cluster means by it, it says itself; of the others nothing is told."""
    wrapped = site.start_all("true", "touch ready; exec sleep 600", "touch never", runtime=5)
    site.wait_for("ready")
    wrapped.signal(signal.SIGTERM)
    assert wrapped.end() == 143
    assert told(server) == run_of("finish", "triage")
    assert "1 attempts of this job were not begun." in wrapped.said
    assert not (site.work / "never").exists()


def test_a_death_nobody_here_can_explain_ends_the_job(site: Site, server: Server) -> None:
    """The cluster may know, and tells it of the job as a whole."""
    wrapped = site.start_all("true", "kill -9 $$", "touch never")
    assert wrapped.end() == 137
    assert told(server) == run_of("finish", "triage")
    assert not (site.work / "never").exists()


def test_a_wrapper_that_is_killed_tells_nothing(site: Site, server: Server) -> None:
    """Neither of the one that ran nor of those that had not begun."""
    wrapped = site.start_all("true", "kill -9 $PPID; sleep 600", "touch never")
    assert wrapped.end() == -signal.SIGKILL
    assert told(server) == [*run_of("finish"), (1, "start")]


def test_a_server_that_is_away_costs_no_time(site: Site, server: Server) -> None:
    """All is left in the spool, in order, while the commands run one after the other."""
    server.stop()
    wrapped = site.start_all("true", "exit 4", "true", start_wait_seconds=0.1, report_wait_seconds=0.1)
    assert wrapped.end() == 4
    words = [(word.task_instance_id - INSTANCE, word.event) for word in site.spooled()]
    starts = TaskInstanceEvent.START
    ends = (TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL, TaskInstanceEvent.FINISH)
    assert sorted(words) == sorted((i, event) for i, end in enumerate(ends) for event in (starts, end))
    for number in range(3):
        assert [event for i, event in words if i == number] == [starts, ends[number]]


def test_a_server_that_comes_back_gets_all_of_it(site: Site, server: Server) -> None:
    """At the end of the job, or with the next sign of life; then nothing is left in the spool."""
    server.stop()
    wrapped = site.start_all("true", UNTIL_GO, start_wait_seconds=0.1, heartbeat_seconds=0.2)
    site.wait_for("ready")
    server.start()
    wait_until(lambda: "heartbeat" in server.told, "a sign of life")
    assert told(server)[:3] == [*run_of("finish"), (1, "start")]
    assert site.spooled() == []
    (site.work / "go").touch()
    assert wrapped.end() == 0
    assert told(server)[-1] == (1, "finish")


def test_what_no_node_can_run_is_told_of_each(site: Site, server: Server) -> None:
    """The working directory is not there: each start is told, and why nothing came of it."""
    wrapped = site.start_all("true", "true", working_dir="/no/such/place")
    assert wrapped.end() == 199
    assert told(server) == run_of("fail", "fail")
    assert {event["cause"] for event in server.events if event["event"] == "fail"} == {"launch"}
