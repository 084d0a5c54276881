"""What the end of a command means, and the parts of the wrapper that read files: no process is started."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.batch_cluster import WRAPPER_ID_OPTION, WRAPPER_STEP_OPTION
from jobmon.core.constants import LOG_TAIL_CHARACTERS
from jobmon.core.exceptions import ReturnCodes
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.core.task_names import legal_task_name
from jobmon.plugins.multiprocess.distributor import log_path
from jobmon.worker_node import cli, ends, wire, wrapper
from jobmon.worker_node.ends import End, JobMemory, verdict
from jobmon.worker_node.reporter import encode

GIB = 1 << 30
bools = st.booleans()
any_end = st.builds(
    End,
    exit_code=st.one_of(st.sampled_from([0, 1, 137, 143, -9, -15]), st.integers(-64, 255)),
    seconds=st.floats(0, 1e6),
    is_ordered=bools,
    is_terminated=bools,
    is_oom_killed=st.sampled_from([None, False, True]),
    peak=st.integers(0, 4 * GIB),
)


def test_words_are_those_of_the_rest_of_jobmon() -> None:
    """What is spelt again here, because the original takes too long to import, is the same."""
    for name in ("START", "HEARTBEAT", "FINISH", "FAIL", "RESOURCE", "TRIAGE", "ABORT"):
        assert getattr(ends, name) == TaskInstanceEvent[name]
    for name in ("CODE", "RESOURCE", "LAUNCH", "ORDERED"):
        assert getattr(ends, f"CAUSE_{name}") == Cause[name]
    assert ends.TAIL_CHARACTERS == LOG_TAIL_CHARACTERS
    assert (wrapper.VERSION_DIFFERS, wrapper.NOT_RUN) == (
        ReturnCodes.WORKER_NODE_ENV_FAILURE,
        ReturnCodes.WORKER_NODE_CLI_FAILURE,
    )
    options = (WRAPPER_STEP_OPTION, WRAPPER_ID_OPTION)
    assert options == (wrapper.STEP_OPTION, wrapper.ID_OPTION)
    assert options == (cli.WRAPPER_STEP_OPTION, cli.WRAPPER_ID_OPTION)


@pytest.mark.parametrize(
    ("end", "event", "words"),
    [
        (End(0, 9), "finish", ""),
        (End(0, 9, is_oom_killed=True), "finish", ""),
        (End(3, 9), "fail", ""),
        (End(-11, 9), "fail", ""),
        (End(3, 9, is_ordered=True), "abort", "Ended by order."),
        (End(-9, 9), "triage", "ended by signal 9 (SIGKILL). Nothing on the node says who killed it."),
        (End(137, 9, peak=GIB), "triage", "code 137. Nothing on the node says who killed it."),
        (End(-9, 9, is_oom_killed=False, peak=3 * GIB), "triage", "Nothing on the node"),
        (End(-9, 9, is_oom_killed=True), "resource", "(SIGKILL). The node killed it for want of memory."),
        (
            End(137, 9, is_oom_killed=True, peak=2 * GIB),
            "resource",
            "code 137. The node killed it for want of memory. It asked for 2 GiB, peak 2 GiB.",
        ),
        (End(1, 9, is_oom_killed=True, peak=GIB), "resource", "It asked for 2 GiB, peak 1 GiB."),
        (End(-9, 9, peak=2 * GIB), "resource", "It asked for 2 GiB, peak 2 GiB."),
        (End(-9, 80, is_terminated=True, is_oom_killed=True), "resource", "for want of memory"),
        (
            End(-15, 40, is_terminated=True),
            "triage",
            "The cluster sent SIGTERM after 40 s: cancelled or preempted.",
        ),
        (
            End(-15, 7201, is_terminated=True),
            "resource",
            "ran into its time limit of 2 h 00 min (runtime=7200): the cluster ended it after 2 h 00 min.",
        ),
        (End(0, 7196, is_terminated=True), "resource", "ran into its time limit of 2 h 00 min"),
    ],
)
def test_what_an_end_means(end: End, event: str, words: str) -> None:
    """Certain knowledge is said; where there is none, the cluster is asked."""
    found, cause, description = verdict(end, runtime=7200, memory=2 * GIB)
    assert found == event
    assert words in description
    assert bool(description) == bool(words)
    assert cause == {"fail": "code", "resource": "resource", "abort": "ordered"}.get(event, "")


@given(end=any_end, runtime=st.integers(0, 10**6), memory=st.integers(0, 4 * GIB))
def test_no_end_is_more_than_what_is_known_of_it(end: End, runtime: int, memory: int) -> None:
    """Success needs an exit code of 0, a resource error evidence, and an order is always obeyed."""
    event, cause, description = verdict(end, runtime, memory)
    assert (event == "abort") == end.is_ordered
    if event == "finish":
        assert end.exit_code == 0
        assert not end.is_terminated
    if event == "resource":
        is_over = end.is_terminated and runtime and end.seconds >= runtime - 5
        is_full = end.is_oom_killed is None and end.is_killed and memory and end.peak >= memory
        assert end.is_oom_killed or is_over or is_full
    if event == "triage":
        assert not cause
        assert description
    TaskInstanceEvent(event)
    assert not cause or Cause(cause)


@given(name=st.text(max_size=300).map(legal_task_name) | st.text(max_size=300), number=st.integers(0, 10**9))
def test_log_files_are_named_as_on_the_local_cluster(name: str, number: int) -> None:
    """With a name that file systems take, and never half a character."""
    if any("\ud800" <= character <= "\udfff" for character in name):
        return
    suffix = f".o{number}_7"
    found = ends.log_name(name.encode(), suffix.encode())
    assert len(found) <= 255
    assert b"/" not in found
    assert f"/logs/{found.decode()}" == log_path("/logs", name, "o", f"{number}_7")
    if len(name.encode()) + len(suffix) <= 255:
        assert found.decode() == name.replace("/", "_").replace("\0", "_") + suffix


@given(text=st.text(min_size=1), times=st.integers(1, 9000), before=st.binary(max_size=5))
def test_the_tail_of_a_log_is_that_of_its_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, times: int, before: bytes
) -> None:
    """Whatever lies before it, and wherever the cut falls."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    times = min(times, 60_000 // len(text))
    path = tmp_path_factory.getbasetemp() / "tail"
    path.write_bytes(before + text.encode() * times)
    whole = (before + text.encode() * times).decode("utf-8", "replace").replace("\0", "\ufffd")
    found = ends.tail(bytes(path))
    if len(text) * times >= LOG_TAIL_CHARACTERS:
        assert found == whole[-LOG_TAIL_CHARACTERS:]
    else:
        assert found == whole


def test_the_tail_of_what_is_no_text_or_not_there(tmp_path: Path) -> None:
    """Bytes without any meaning are replaced; no file says nothing."""
    path = tmp_path / "log"
    path.write_bytes(b"\x80" * 100_000)
    assert set(ends.tail(bytes(path))) == {"\ufffd"}
    assert ends.tail(bytes(tmp_path / "gone")) == ""


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1.5 * GIB, "1.5 GiB"),
        (3 << 40, "3 TiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_memory_in_words(amount: float, words: str) -> None:
    """In the unit that fits."""
    assert ends.describe_bytes(amount) == words


# -- the control group -------------------------------------------------------------------------------
def group(tmp_path: Path, is_first_version: bool, **files: str) -> JobMemory:
    for name, text in files.items():
        (tmp_path / f"memory.{name}").write_text(text)
    memory = JobMemory()
    memory.directory, memory.is_first_version = bytes(tmp_path), is_first_version
    memory.kills_before = memory._kills()
    return memory


STAT_1 = "cache 9\ninactive_file 7\ntotal_cache 500\ntotal_inactive_file 200\ntotal_active_file 100\n"


def test_memory_by_the_first_version_of_control_groups(tmp_path: Path) -> None:
    """The peak without pages of files; a kill counts when it came after the start."""
    files = {"max_usage_in_bytes": "1000\n", "stat": STAT_1, "oom_control": "under_oom 0\noom_kill 2\n"}
    memory = group(tmp_path, True, **files)
    assert (memory.peak(), memory.is_oom_killed()) == (700, False)
    (tmp_path / "memory.oom_control").write_text("under_oom 0\noom_kill 3\n")
    assert memory.is_oom_killed() is True


def test_memory_by_the_second_version_of_control_groups(tmp_path: Path) -> None:
    """The same from other files."""
    files = {
        "peak": "1000\n",
        "stat": "anon 4\ninactive_file 50\nactive_file 50\n",
        "events": "oom 4\noom_kill 0\n",
    }
    memory = group(tmp_path, False, **files)
    assert (memory.peak(), memory.is_oom_killed()) == (900, False)
    (tmp_path / "memory.events").write_text("oom 5\noom_kill 1\n")
    assert memory.is_oom_killed() is True


@pytest.mark.parametrize("is_first_version", [True, False])
def test_memory_where_the_kernel_says_nothing(tmp_path: Path, is_first_version: bool) -> None:
    """An old kernel lacks the counter, an old control group the peak: both are unknown then."""
    memory = group(tmp_path, is_first_version, oom_control="under_oom 0\n", peak="", max_usage_in_bytes="?")
    assert (memory.peak(), memory.is_oom_killed()) == (0, None)
    memory.directory = b""
    assert (memory.peak(), memory.is_oom_killed()) == (0, None)


def test_a_control_group_of_others_says_nothing() -> None:
    """What holds other processes than the wrapper's, such as a whole session, is not asked."""
    with subprocess.Popen(["sleep", "60"]) as process:
        assert JobMemory().directory == b""
        process.kill()


# -- words on the wire -------------------------------------------------------------------------------
@given(
    st.dictionaries(
        st.sampled_from(["description", "nodename", "stdout_log", "stderr_log"]),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    st.integers(0, 2**31),
    st.floats(0, 1e9),
)
def test_events_are_read_as_they_were_meant(texts: dict[str, str], number: int, seconds: float) -> None:
    """JSON as the server's own decoder reads it."""
    body = encode({"task_instance_id": number, "event": "fail", "wallclock": seconds, "cause": None, **texts})
    event = msgspec.json.decode(body, type=InstanceEvent)
    assert (event.task_instance_id, event.wallclock, event.cause) == (number, seconds, None)
    for name, text in texts.items():
        assert (getattr(event, name) or "") == text


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "is_secure"),
    [
        ("http://host:8070/api/v3", "host", 8070, "/api/v3", False),
        ("http://10.0.0.1/api/v3/", "10.0.0.1", 80, "/api/v3", False),
        ("https://jobmon.example.org", "jobmon.example.org", 443, "", True),
        ("http://[::1]:81/api", "::1", 81, "/api", False),
        ("http://[fe80::1]", "fe80::1", 80, "", False),
    ],
)
def test_addresses(url: str, host: str, port: int, path: str, is_secure: bool) -> None:
    """All forms a site may write."""
    address = wire.Address(url, "", "")
    assert (address.host, address.port, address.path, address.is_secure) == (host, port, path, is_secure)


@given(
    st.integers(100, 599),
    st.binary(max_size=60) | st.sampled_from([b'{"is_live": true}', b'{"is_live":\nfalse}']),
)
def test_only_the_servers_own_words_count(status: int, body: bytes) -> None:
    """An answer is a word about the attempt only in the server's form."""
    answer, reason = wire.understand(status, body)
    if answer in (wire.LIVE, wire.NOT_LIVE):
        assert status == 200
        assert b"is_live" in body
    elif answer == wire.GONE:
        assert status in (404, 409)
        assert b"request_id" in body
    else:
        assert answer == wire.AWAY
        assert reason
