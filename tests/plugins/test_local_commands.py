"""What a command on a local cluster sees, does to its cluster, and leaves behind."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.plugins.multiprocess.distributor import MultiprocessDistributor
from jobmon.plugins.sequential import SequentialDistributor
from jobmon.testing.conformance import BLOCK, LocalCluster
from processes import is_gone, wait_until

START, FINISH, FAIL = TaskInstanceEvent.START, TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL
REFUSE, ABORT = TaskInstanceEvent.REFUSE, TaskInstanceEvent.ABORT
OpenCluster = Callable[[ClusterDistributor], LocalCluster]


def python(program: str, *args: str) -> str:
    return shlex.join([sys.executable, "-S", "-c", program, *args])


# -- how it ends ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", [1, 2, 42, 128, 255])
def test_exit_codes_are_told_as_they_are(cluster: LocalCluster, code: int) -> None:
    end = cluster.outcome(f"exit {code}")
    assert (end.event, end.cause, end.exit_code) == (FAIL, Cause.CODE, code)
    assert end.description == f"The command exited with code {code}."


@pytest.mark.parametrize(
    "number", [signal.SIGHUP, signal.SIGABRT, signal.SIGUSR1, signal.SIGKILL, signal.SIGTERM]
)
def test_signals_are_told_by_name(cluster: LocalCluster, number: signal.Signals) -> None:
    end = cluster.outcome(f"kill -{int(number)} $$")
    assert (end.event, end.cause, end.exit_code) == (FAIL, Cause.CODE, -number)
    assert f"signal {int(number)} ({number.name})" in end.description
    assert ("out of memory" in end.description) == (number == signal.SIGKILL)


def test_a_real_time_signal_has_only_a_number(cluster: LocalCluster) -> None:
    number = signal.SIGRTMIN + 3
    assert f"signal {number} ({number})" in cluster.outcome(f"kill -{number} $$").description


def test_a_command_that_does_not_exist(cluster: LocalCluster) -> None:
    end = cluster.outcome("no-such-command --at-all")
    assert (end.event, end.exit_code) == (FAIL, 127)
    assert "the shell did not find it" in end.description
    assert "no-such-command" in end.description


def test_a_command_that_may_not_be_executed(cluster: LocalCluster) -> None:
    (cluster.directory / "plain").write_text("#!/bin/sh\n")
    end = cluster.outcome("./plain")
    assert (end.event, end.exit_code) == (FAIL, 126)
    assert "may not be executed" in end.description


def test_the_text_of_a_failure_has_the_last_lines_only(cluster: LocalCluster) -> None:
    end = cluster.outcome("seq 100 >&2; exit 1")
    assert end.description.splitlines() == ["The command exited with code 1.", *map(str, range(81, 101))]


# -- what it prints ---------------------------------------------------------------------------------------
def test_it_prints_nothing(cluster: LocalCluster) -> None:
    (instance,) = cluster.run("true")
    end = cluster.wait_end(instance)
    start = cluster.wait_start(instance)
    assert (end.stdout_log, end.stderr_log) == ("", "")
    assert [Path(path).stat().st_size for path in (start.stdout, start.stderr)] == [0, 0]


def test_megabytes_on_both_streams_at_once(cluster: LocalCluster) -> None:
    program = (
        "import sys, threading\n"
        "def tell(stream): stream.write('0123456789abcde\\n' * 131072 + stream.name)\n"
        "both = [threading.Thread(target=tell, args=(s,)) for s in (sys.stdout, sys.stderr)]\n"
        "[t.start() for t in both]; [t.join() for t in both]"
    )
    end = cluster.outcome(python(program))
    for tail, name in ((end.stdout_log, "<stdout>"), (end.stderr_log, "<stderr>")):
        assert tail is not None
        assert len(tail) == 10_000
        assert tail.endswith("abcde\n" + name)


@pytest.mark.parametrize("character", ["é", "語", "🙂"])
@pytest.mark.parametrize("offset", range(4))
def test_the_tail_begins_with_a_whole_character(cluster: LocalCluster, character: str, offset: int) -> None:
    """Wherever in a character the cut of the bytes falls."""
    program = "import sys; sys.stdout.buffer.write(b'.' * int(sys.argv[2]) + sys.argv[1].encode() * 20_001)"
    end = cluster.outcome(python(program, character, str(offset)))
    assert end.stdout_log == character * 10_000


def test_bytes_that_are_not_utf8_are_replaced(cluster: LocalCluster) -> None:
    end = cluster.outcome(r"printf 'caf\351 \377\376\000end'; printf '\303' >&2")
    assert end.stdout_log == "caf\ufffd \ufffd\ufffd\0end"
    assert end.stderr_log == "\ufffd"


def test_a_tail_of_continuation_bytes_only(cluster: LocalCluster) -> None:
    """No text at all; nothing but replacements, or less."""
    end = cluster.outcome(python(r"import sys; sys.stdout.buffer.write(b'\x80' * 100_000)"))
    assert set(end.stdout_log or "") <= {"\ufffd"}


# -- its log files ----------------------------------------------------------------------------------------
def test_directories_of_logs_are_made(cluster: LocalCluster) -> None:
    deep = cluster.directory / "not" / "there yet"
    (instance,) = cluster.run("echo deep", stdout=str(deep / "out"), stderr=str(deep / "err"))
    cluster.wait_end(instance)
    assert cluster.wait_start(instance).stdout == str(deep / "out" / f"task.o{instance}")
    assert (deep / "out" / f"task.o{instance}").read_text() == "deep\n"
    assert (deep / "err" / f"task.e{instance}").read_text() == ""


def test_a_directory_of_logs_that_cannot_be_made(cluster: LocalCluster) -> None:
    """Here a file stands in its way; the command is refused, the file named, and the next command runs."""
    (cluster.directory / "file").touch()
    end = cluster.outcome("true", stderr=str(cluster.directory / "file" / "logs"))
    assert (end.event, end.cause) == (REFUSE, Cause.LAUNCH)
    assert "Not a directory" in end.description
    assert str(cluster.directory / "file") in end.description
    assert cluster.outcome("true").event is FINISH


def test_a_directory_of_logs_that_cannot_be_written(cluster: LocalCluster) -> None:
    """``/proc`` takes no files, not even from root."""
    end = cluster.outcome("true", stdout="/proc")
    assert (end.event, end.cause) == (REFUSE, Cause.LAUNCH)
    assert "/proc/task.o" in end.description
    assert cluster.outcome("true").event is FINISH


def test_a_log_directory_named_from_the_working_directory(cluster: LocalCluster) -> None:
    """A relative one is meant from where the command runs; it is told in full, and its tail is found."""
    (cluster.directory / "work").mkdir()
    (instance,) = cluster.run(
        "echo here", stdout="logs", stderr="logs", working_dir=str(cluster.directory / "work")
    )
    end = cluster.wait_end(instance)
    path = cluster.directory / "work" / "logs" / f"task.o{instance}"
    assert cluster.wait_start(instance).stdout == str(path)
    assert path.read_text() == end.stdout_log == "here\n"


@pytest.mark.parametrize(
    "name",
    [
        "a" * 1000,
        "日本語" * 100,
        "🙂" * 200,
        "a/b/../c",
        "/etc/passwd",
        "..",
        "with space 'and' \"quotes\" $x",
        "nul\0byte",
    ],
    ids=["long", "unicode", "emoji", "slashes", "absolute", "dots", "quotes", "nul"],
)
def test_any_task_name_gives_log_files(cluster: LocalCluster, name: str) -> None:
    """In the directory itself, whatever the name; the id is never cut off."""
    logs = cluster.directory / "logs"
    (instance,) = cluster.run("echo name", name=name, stdout=str(logs), stderr=str(logs))
    assert cluster.wait_end(instance).event is FINISH
    assert {
        Path(p).parent for p in (cluster.wait_start(instance).stdout, cluster.wait_start(instance).stderr)
    } == {logs}
    names = sorted(entry.name for entry in logs.iterdir())
    assert [each.rpartition(".")[2] for each in names] == [f"e{instance}", f"o{instance}"]
    assert all(len(os.fsencode(each)) <= 255 for each in names)


# -- texts of commands ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "echo one\necho two",
        "\n\n  echo one; echo two\n",
        "echo 'one'\\\n;echo \"two\"",
        "x='one\ntwo'; echo \"$x\"",
    ],
)
def test_commands_of_several_lines(cluster: LocalCluster, text: str) -> None:
    assert cluster.outcome(text).stdout_log == "one\ntwo\n"


def test_an_empty_command_does_nothing(cluster: LocalCluster) -> None:
    assert [cluster.outcome(text).event for text in ("", " ", "\n", "# a comment")] == [FINISH] * 4


def test_a_command_that_looks_like_an_option(cluster: LocalCluster) -> None:
    """The shell takes it for one and says so; nothing hangs on it."""
    assert cluster.outcome("-x").event is FAIL


def test_a_nul_byte_in_a_command_is_refused(cluster: LocalCluster) -> None:
    end = cluster.outcome("echo a\0b")
    assert (end.event, end.cause) == (REFUSE, Cause.LAUNCH)
    assert "null" in end.description
    assert cluster.outcome("true").event is FINISH


def test_half_a_character_in_a_command_is_refused(cluster: LocalCluster) -> None:
    """A lone surrogate cannot be written as UTF-8."""
    end = cluster.outcome("echo \ud83d")
    assert (end.event, end.cause) == (REFUSE, Cause.LAUNCH)
    assert "surrogate" in end.description
    assert cluster.outcome("true").event is FINISH


def test_a_command_of_100_kilobytes_runs(cluster: LocalCluster) -> None:
    end = cluster.outcome(f"x={'y' * 100_000}; echo ${{#x}}")
    assert (end.event, end.stdout_log) == (FINISH, "100000\n")


def test_a_command_of_200_kilobytes_is_refused(cluster: LocalCluster) -> None:
    """With the reason and what to do."""
    end = cluster.outcome(f": {'y' * 200_000}")
    assert (end.event, end.cause) == (REFUSE, Cause.LAUNCH)
    assert "Argument list too long" in end.description
    assert "into a file" in end.description
    assert cluster.outcome("true").event is FINISH


# -- what surrounds it ------------------------------------------------------------------------------------
def test_stdin_is_the_null_device(cluster: LocalCluster) -> None:
    assert cluster.outcome("readlink /proc/$$/fd/0").stdout_log == "/dev/null\n"


def test_no_file_of_the_launcher_stays_open(cluster: LocalCluster) -> None:
    end = cluster.outcome("for fd in /proc/$$/fd/*; do echo ${fd##*/}; done")
    assert set((end.stdout_log or "").split()) - {"0", "1", "2"} <= {
        "3",
        "10",
    }  # the shell's own directory handle


def test_signals_have_their_default_disposition(open_cluster: OpenCluster) -> None:
    """Also when the controller, like anything behind ``nohup`` or ``&``, ignores some."""
    ignored = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        cluster = open_cluster(MultiprocessDistributor("multiprocess", parallelism=1))
        end = cluster.outcome("cat /proc/self/status")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            signal.signal(number, handler)
    status = dict(line.split(":", 1) for line in (end.stdout_log or "").splitlines())
    every = sum(1 << (number - 1) for number in signal.valid_signals())  # the C library keeps some to itself
    assert [int(status[name], 16) & every for name in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]


def test_a_pipe_whose_reader_leaves_ends_quietly(cluster: LocalCluster) -> None:
    end = cluster.outcome("yes | head -1")
    assert (end.event, end.stdout_log, end.stderr_log) == (FINISH, "y\n", "")


def test_it_leads_its_own_session_and_group(cluster: LocalCluster) -> None:
    (instance,) = cluster.run("cut -d' ' -f5,6 /proc/$$/stat; echo $$")
    end = cluster.wait_end(instance)
    pid = cluster.wait_start(instance).process_group_id
    assert (end.stdout_log or "").split() == [str(pid)] * 3


def test_without_a_working_directory_it_runs_where_the_controller_does(cluster: LocalCluster) -> None:
    assert cluster.outcome("pwd -P", working_dir="").stdout_log == os.path.realpath(os.getcwd()) + "\n"


def test_a_working_directory_is_no_other_commands(cluster: LocalCluster, tmp_path: Path) -> None:
    """Neither a good one nor one that is missing, nor a file."""
    (tmp_path / "file").touch()
    assert cluster.outcome("true", working_dir=str(tmp_path)).event is FINISH
    assert "Not a directory" in cluster.outcome("true", working_dir=str(tmp_path / "file")).description
    assert cluster.outcome("pwd -P").stdout_log == os.path.realpath(cluster.directory) + "\n"


# -- what it used -----------------------------------------------------------------------------------------
MEGABYTE = 2**20


def test_memory_is_that_of_the_command(cluster: LocalCluster) -> None:
    end = cluster.outcome(python(f"x = b'x' * {50 * MEGABYTE}"))
    assert end.maxrss is not None
    assert 50 * MEGABYTE <= end.maxrss < 200 * MEGABYTE
    small = cluster.outcome("true")
    assert small.maxrss is not None
    assert 0 < small.maxrss < 40 * MEGABYTE


def test_cpu_is_that_of_the_command_and_its_children(cluster: LocalCluster) -> None:
    loop = python("import time\nwhile time.process_time() < 0.3: pass")
    end = cluster.outcome(f"{loop}; :")
    assert end.cpu is not None
    assert 0.3 <= end.cpu < 3
    assert end.wallclock is not None
    assert end.wallclock >= 0.3
    lazy = cluster.outcome("sleep 0.1")
    assert lazy.wallclock is not None
    assert lazy.cpu is not None
    assert lazy.cpu < 0.1 <= lazy.wallclock


def test_io_is_a_number_of_bytes(cluster: LocalCluster) -> None:
    end = cluster.outcome("dd if=/dev/zero of=big bs=1M count=2 conv=fsync && rm big")
    assert isinstance(end.io, int)
    assert end.io >= 0
    assert end.io % 512 == 0


# -- what it leaves behind --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "leave",
    [
        "{block} &",
        "setsid {block} &",
        "nohup {block} >/dev/null 2>&1 &",
        "(trap '' TERM HUP; setsid {block}) &",
    ],
    ids=["group", "session", "nohup", "deaf"],
)
def test_children_that_outlive_it_are_ended(cluster: LocalCluster, leave: str) -> None:
    child = "sh -c 'echo $$ > child.tmp; mv child.tmp child; exec sleep 600'"
    (instance,) = cluster.run(
        f"{leave.format(block=child)} until [ -e child ]; do sleep 0.01; done; echo done"
    )
    end = cluster.wait_end(instance)
    assert (end.event, end.stdout_log) == (FINISH, "done\n")
    pid = int(cluster.wait_file("child"))
    wait_until(lambda: is_gone(pid), "the end of the child", 5)


DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    with open("daemon.tmp", "w") as file:
        file.write(f"{os.getpid()}\\n")
    os.rename("daemon.tmp", "daemon")
    os.execve("/bin/sleep", ["sleep", "600"], {} if sys.argv[1:] else os.environ)
while not os.path.exists("daemon"):
    pass
"""


def test_a_daemon_ends_with_its_command_while_others_go_on(cluster: LocalCluster) -> None:
    """A grandchild of init, by its environment."""
    (other,) = cluster.run(BLOCK)
    cluster.wait_start(other)
    assert cluster.outcome(python(DAEMON)).event is FINISH
    pid = int(cluster.wait_file("daemon"))
    wait_until(lambda: is_gone(pid), "the end of the daemon", 5)
    assert cluster.events_of(other)[-1].event is START


def test_a_daemon_without_environment_ends_with_the_last_command(cluster: LocalCluster) -> None:
    """Nobody can tell whose it is: it ends when nothing runs that it could belong to."""
    (other,) = cluster.run(BLOCK)
    cluster.wait_start(other)
    assert cluster.outcome(python(DAEMON, "clean")).event is FINISH
    pid = int(cluster.wait_file("daemon"))
    assert not is_gone(pid)
    cluster.terminate(other)
    wait_until(lambda: is_gone(pid), "the end of the daemon", 5)


def test_descendants_of_what_is_ended_by_order(cluster: LocalCluster) -> None:
    """In its group, in a session of its own, deaf to SIGTERM, and any mixture."""
    deaf = "trap '' TERM HUP; echo >> up; while :; do sleep 0.05; done"
    (instance,) = cluster.run(f"({deaf}) & setsid sh -c {shlex.quote(deaf)} & {deaf}")
    wait_until(
        lambda: (cluster.directory / "up").exists() and (cluster.directory / "up").stat().st_size == 3,
        "all three",
    )
    cluster.terminate(instance)
    end = cluster.wait_end(instance)
    assert (end.event, end.cause, end.exit_code) == (ABORT, Cause.ORDERED, -signal.SIGKILL)
    cluster.wait_gone(instance)


def test_a_command_may_clean_up_when_ordered_to_end(cluster: LocalCluster) -> None:
    """SIGTERM comes first; what it says then is kept."""
    (instance,) = cluster.run("trap 'echo tidy; exit 0' TERM; echo > up; while :; do sleep 0.01; done")
    cluster.wait_file("up")
    cluster.terminate(instance)
    end = cluster.wait_end(instance)
    assert (end.event, end.exit_code, end.stdout_log) == (ABORT, 0, "tidy\n")


def test_an_order_that_is_given_twice(cluster: LocalCluster) -> None:
    (instance,) = cluster.run("trap '' TERM; echo > up; while :; do sleep 0.01; done")
    cluster.wait_file("up")
    cluster.terminate(instance)
    cluster.terminate(instance)
    assert cluster.wait_end(instance).event is ABORT
    assert cluster.outcome("true").event is FINISH  # the end is told once, which the fixture checks


# -- how many at once -------------------------------------------------------------------------------------
def test_sequential_is_one_at_a_time_in_order(open_cluster: OpenCluster) -> None:
    cluster = open_cluster(SequentialDistributor("sequential"))
    assert cluster.distributor.slots == 1
    text = "mkdir lock && echo $JOBMON_TASK_INSTANCE_ID >> order && rmdir lock"
    instances = cluster.run(*[text] * 30)
    assert [cluster.wait_end(instance).event for instance in instances] == [FINISH] * 30
    assert list(map(int, (cluster.directory / "order").read_text().split())) == instances
    assert cluster.most_at_once() == 1


def test_thousands_of_commands_each_end_once(cluster: LocalCluster) -> None:
    """More than the queue is cut at; ends of all of them arrive."""
    instances = cluster.run(*[":"] * 1200)
    cluster.terminate(*instances[1150:])
    ends = [cluster.wait_end(instance).event for instance in instances]
    assert set(ends[:1150]) == {FINISH}
    assert set(ends[1150:]) <= {FINISH, ABORT}
    assert cluster.most_at_once() <= 2


def test_slots_come_from_parameters_configuration_or_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MultiprocessDistributor("c").slots == len(os.sched_getaffinity(0))
    monkeypatch.setenv("JOBMON__MULTIPROCESS__PARALLELISM", "7")
    assert MultiprocessDistributor("c").slots == 7
    assert MultiprocessDistributor("c", parallelism=9).slots == 9
    assert SequentialDistributor("c").slots == 1
