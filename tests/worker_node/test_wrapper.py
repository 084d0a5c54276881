"""The wrapper as a cluster starts it: what it runs, how that ends, and what it tells of it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import sys
from pathlib import Path

import pytest

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.core.constants import LOG_TAIL_CHARACTERS
from jobmon.distributor.batch_file import wrapper_words
from jobmon.worker_node import wrapper
from processes import is_gone, wait_until
from wrapping import INSTANCE, LIVE, NOT_LIVE, TOKEN, Server, Site

pytestmark = pytest.mark.e2e


def test_a_command_is_run_and_the_server_told_of_its_start_and_end(site: Site, server: Server) -> None:
    """Both events arrive over one connection, with the token, the user and everything that is known."""
    command = "pwd; echo $JOBMON_TASK_INSTANCE_ID/$JOBMON_TASK_ID/$JOBMON_WORKFLOW_RUN_ID/$JOBMON_WORKFLOW_ID/$X; echo e >&2"
    batch_file = site.write("false", command, environment={"X": "a=b\nc"})
    wrapped = site.start_file(batch_file, step=1, env={**os.environ, "SLURMD_NODENAME": "n7"})
    assert (wrapped.end(), wrapped.said) == (0, "")
    start, finish = server.events
    logs = {"stdout": f"{site.root}/logs/fit.o99_2", "stderr": f"{site.root}/logs/fit.e99_2"}
    assert start == {
        "task_instance_id": INSTANCE + 1,
        "event": "start",
        "nodename": "n7",
        "process_group_id": wrapped.process.pid,
        "distributor_id": "99_2",
        "next_report_increment": 270.0,
        **logs,
    }
    out = f"{site.work}\n{INSTANCE + 1}/401/8/7/a=b c\n"
    assert (site.log("o", step=1).decode(), site.log("e", step=1)) == (out, b"e\n")
    measured = {name: finish.pop(name) for name in ("wallclock", "maxrss", "cpu", "io")}
    assert 0 < measured["wallclock"] < 20
    assert 1 << 20 < measured["maxrss"] < 1 << 27
    assert 0 < measured["cpu"] < 5
    assert finish == {
        "task_instance_id": INSTANCE + 1,
        "event": "finish",
        "exit_code": 0,
        "stdout_log": out,
        "stderr_log": "e\n",
    }
    paths, headers = zip(*server.requests, strict=True)
    assert set(paths) == {f"/api/v3/worker/task_instance/{INSTANCE + 1}/event"}
    assert [(h["Authorization"], h["X-Jobmon-User"]) for h in headers] == [
        (f"Bearer {TOKEN}", "somebody")
    ] * 2
    assert server.num_connections == 1


@pytest.mark.parametrize(
    ("command", "code", "event", "exit_code", "words"),
    [
        ("echo oops >&2; exit 3", 3, "fail", 3, "The command exited with code 3.\noops"),
        ("no_such_program_at_all", 127, "fail", 127, "Is it installed and on PATH?"),
        ("kill -SEGV $$", 139, "fail", -11, "The command was ended by signal 11 (SIGSEGV)."),
        ("kill -TERM $$", 143, "fail", -15, "The command was ended by signal 15 (SIGTERM)."),
        ("kill -9 $$", 137, "triage", -9, "signal 9 (SIGKILL). Nothing on the node says who killed it."),
        ("sh -c 'kill -9 $$'; exit $?", 137, "triage", 137, "Nothing on the node says who killed it."),
        ("exit 198", 198, "fail", 198, "code 198"),
    ],
)
def test_how_commands_fail(
    site: Site, server: Server, command: str, code: int, event: str, exit_code: int, words: str
) -> None:
    """The exit code goes through to the cluster; the server gets the event and a sentence."""
    assert site.run(command) == code
    end = server.events[-1]
    assert (server.told, end["exit_code"]) == (["start", event], exit_code)
    assert words in end["description"]
    assert end.get("cause") == ("code" if event == "fail" else None)


@pytest.mark.parametrize(
    "text",
    ['it\'s "quoted" $HOME `x` \\ !', "two\nlines\n", "naïve – 日本 \U0001f600", "-n", "  ", "a\tb", "%s"],
)
def test_any_text_reaches_the_command(site: Site, text: str) -> None:
    """Quotes, newlines and other alphabets arrive as they were written."""
    assert site.run(f"printf %s {shlex.quote(text)}") == 0
    assert site.log() == text.encode()


def test_bytes_that_are_no_text_reach_the_command_too(site: Site) -> None:
    """A file name of another encoding survives; in the server's words it is replaced."""
    raw = b"caf\xe9"
    command = b"printf %s 'x" + raw + b"'; exit 1"
    assert site.run(command.decode("utf-8", "surrogateescape")) == 1
    assert site.log() == b"x" + raw
    assert site.server.events[-1]["stdout_log"] == "xcaf\ufffd"


def test_a_shell_of_ones_own(site: Site) -> None:
    """The command is put behind the words of the shell, which is looked for on PATH."""
    assert site.run("x  y", shell=("printf", "<%s>", "in front")) == 0
    assert site.log() == b"<in front><x  y>"


@pytest.mark.parametrize("answer", [NOT_LIVE, (404, b'{"request_id":"1"}'), (409, b'{"request_id":"1"}')])
def test_an_attempt_that_may_not_go_on_is_not_run(
    site: Site, server: Server, answer: tuple[int, bytes]
) -> None:
    """The server said no to the start: nothing runs, nothing more is said, the exit code is 199."""
    server.answer = lambda _: answer
    wrapped = site.start("touch ran")
    assert wrapped.end() == 199
    assert f"Nothing was run: task instance {INSTANCE} may not go on." in wrapped.said
    assert (server.told, site.spooled(), list(site.work.iterdir())) == (["start"], [], [])


def test_signs_of_life_are_given_while_the_command_runs(site: Site, server: Server) -> None:
    """Each says until when the next one is due; a dead connection does not matter."""
    wrapped = site.start("until [ -e go ]; do sleep 0.01; done", heartbeat_seconds=0.05, report_seconds=9)
    wait_until(lambda: server.told.count("heartbeat") >= 3, "signs of life")
    (site.work / "go").touch()
    assert wrapped.end() == 0
    assert (server.told[0], server.told[-1], set(server.told[1:-1])) == ("start", "finish", {"heartbeat"})
    assert server.events[1]["next_report_increment"] == 9.0


STUBBORN = "trap '' INT TERM; (trap '' INT TERM; touch child; while :; do sleep 0.05; done) & touch ready; wait; wait"


def test_an_attempt_that_was_ordered_to_end_is_ended_with_its_whole_group(site: Site, server: Server) -> None:
    """It is asked by SIGINT, then killed; the last word is that it ended by order."""
    server.answer = lambda event: NOT_LIVE if event["event"] == "heartbeat" else LIVE
    wrapped = site.start(STUBBORN, heartbeat_seconds=0.3)
    site.wait_for("child")
    group = wrapped.command()
    assert wrapped.end() == 137
    assert server.told == ["start", "heartbeat", "abort"]
    assert (server.events[-1]["cause"], server.events[-1]["description"]) == ("ordered", "Ended by order.")
    assert group_is_gone(group)


def test_an_ordered_end_may_be_clean(site: Site, server: Server) -> None:
    """A command that obeys SIGINT is not killed."""
    server.answer = lambda event: NOT_LIVE if event["event"] == "heartbeat" else LIVE
    command = "trap 'echo saved; exit 5' INT; touch ready; while :; do sleep 0.01; done"
    assert site.run(command, heartbeat_seconds=0.3, interrupt_seconds=15) == 5
    assert server.told[-1] == "abort"
    assert site.log() == b"saved\n"


def group_is_gone(group: int) -> bool:
    """Whether no process of a group is left that runs."""
    members = [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and group_of(path) == group and not is_gone(int(path.name))
    ]
    return not members


def group_of(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[2])
    except OSError:
        return 0


def test_what_a_command_leaves_behind_in_its_group_ends_with_it(site: Site, server: Server) -> None:
    """A process in the background does not outlive the command, nor does it hold up the wrapper."""
    wrapped = site.start("sleep 600 & echo $! > pid; exit 0")
    assert wrapped.end() == 0
    pid = int((site.work / "pid").read_text())
    wait_until(lambda: is_gone(pid), "the end of the process in the background", 5)


def test_sigterm_is_told_as_cancelled_or_preempted(site: Site, server: Server) -> None:
    """Before the time limit the cluster is to be asked why: the attempt is in triage."""
    wrapped = site.start("touch ready; exec sleep 600", runtime=3600)
    site.wait_for("ready")
    wrapped.signal(signal.SIGCONT)
    wrapped.signal(signal.SIGTERM)
    assert wrapped.end() == 143
    assert (server.told, site.spooled()) == (["start", "triage"], [])
    end = server.events[-1]
    assert end["description"].startswith("The cluster sent SIGTERM after ")
    assert end["description"].endswith(" s: cancelled or preempted.")
    assert end["exit_code"] == -15


def test_sigterm_near_the_end_of_the_time_is_the_time_limit(site: Site, server: Server) -> None:
    """A command that does not obey is killed within a second or so: the cluster will not wait longer."""
    wrapped = site.start(STUBBORN, runtime=5)
    site.wait_for("child")
    group = wrapped.command()
    wrapped.signal(signal.SIGTERM)
    assert wrapped.end() == 137
    end = server.events[-1]
    assert (server.told, end["cause"]) == (["start", "resource"], "resource")
    assert (
        "The command ran into its time limit of 5 s (runtime=5): the cluster ended it after"
        in end["description"]
    )
    assert group_is_gone(group)


def test_a_command_that_makes_sigterm_a_success_has_not_succeeded(site: Site, server: Server) -> None:
    """It was ended before its end: an exit code of 0 says only that it went in peace."""
    wrapped = site.start("trap 'exit 0' TERM; touch ready; while :; do sleep 0.01; done")
    site.wait_for("ready")
    wrapped.signal(signal.SIGTERM)
    assert wrapped.end() == 0
    assert server.told == ["start", "triage"]


def test_other_signals_are_passed_on(site: Site, server: Server) -> None:
    """Jobs are asked by SIGUSR1 to save their work, and the like: that is for the command."""
    script = "trap 'echo usr1' USR1; trap 'echo hup; exit 0' HUP; touch ready; while :; do sleep 0.01; done"
    wrapped = site.start(script)
    site.wait_for("ready")
    wrapped.signal(signal.SIGUSR1)
    wait_until(lambda: site.log() == b"usr1\n", "the first signal")
    wrapped.signal(signal.SIGHUP)
    assert wrapped.end() == 0
    assert site.log() == b"usr1\nhup\n"
    assert server.told == ["start", "finish"]


def test_the_command_inherits_no_disposition_of_signals(site: Site) -> None:
    """Nothing is ignored or blocked that was so in the wrapper, or in what started it."""
    first = "import os, signal; signal.signal(15, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, [10]); "
    batch_file = site.write("grep -E 'Sig(Blk|Ign)' /proc/self/status")
    words = wrapper_words(batch_file, JobmonConfig())
    program = f"{first} os.execv(os.sys.argv[1], os.sys.argv[1:])"
    wrapped = site.start_file(batch_file, words=(sys.executable, "-c", program, *words))
    assert wrapped.end() == 0
    _, blocked, _, ignored = site.log().split()
    of_the_c_library = 0b11 << 31
    assert (int(blocked, 16), int(ignored, 16) & ~of_the_c_library) == (0, 0)


def test_log_files(site: Site, server: Server) -> None:
    """Their directories are made, a slash in a name is none, and what is relative is meant from the working directory."""
    assert site.run("echo out; echo err >&2", name="a/b", stdout="deep/er", stderr="") == 0
    assert (site.work / "deep" / "er" / "a_b.o99_1").read_bytes() == b"out\n"
    start = server.events[0]
    assert start["stdout"] == f"{site.work}/deep/er/a_b.o99_1"
    assert "stderr" not in start
    assert "stderr_log" not in server.events[-1]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_log_file_that_cannot_be_written_is_a_clear_failure(
    site: Site, server: Server, stream: str
) -> None:
    """The command is not run without its log; the server and the cluster's log get the sentence."""
    (site.root / "file").write_text("")
    wrapped = site.start("touch ran", **{stream: f"{site.root}/file/logs"})
    assert wrapped.end() == 199
    end = server.events[-1]
    assert (server.told, end["cause"]) == (["start", "fail"], "launch")
    letter = stream[3]
    sentence = f"Not a directory: {site.root}/file/logs/fit.{letter}99_1"
    assert end["description"].startswith("A log file cannot be written on node ")
    assert sentence in end["description"]
    assert sentence in wrapped.said
    assert list(site.work.iterdir()) == []


@pytest.mark.parametrize(
    ("header", "command", "words"),
    [
        ({"working_dir": "/no/such/place"}, "true", "The working directory cannot be used on node "),
        ({"shell": ("/no/such/shell", "-c")}, "true", "No such file or directory: /no/such/shell"),
        ({}, "# " + "x" * 140_000, "a command may have 131071 bytes; put what is longer into a file"),
    ],
)
def test_a_command_that_cannot_be_started(
    site: Site, server: Server, header: dict[str, str], command: str, words: str
) -> None:
    """The server is told why, with the name of the node."""
    wrapped = site.start(command, **header)
    assert wrapped.end() == 199
    assert server.told == ["start", "fail"]
    assert words in server.events[-1]["description"]
    assert words in wrapped.said


def test_only_the_end_of_a_large_log_is_told(site: Site, server: Server) -> None:
    """The tail is cut between characters, whatever their length in bytes."""
    text = "日本語\U0001f600" * 40_000
    (site.work / "text").write_text(text)
    assert site.run("cat text; printf 'x\\000\\377y' >&2") == 0
    assert site.log() == text.encode()
    assert server.events[-1]["stdout_log"] == text[-LOG_TAIL_CHARACTERS:]
    assert server.events[-1]["stderr_log"] == "x\ufffd\ufffdy"


def test_another_version_of_jobmon_on_the_node_runs_nothing(
    site: Site, server: Server, tmp_path: Path
) -> None:
    """It tells which versions meet, and exits with 198; the same version installed there is fine."""
    installed = tmp_path / "site-packages"
    package = installed / "jobmon" / "worker_node"
    shutil.copytree(Path(wrapper.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    metadata = installed / "jobmon-9.9.9.dist-info"
    metadata.mkdir()
    (installed / "jobmon_plugin-1.0.dist-info").mkdir()
    batch_file = site.write("touch ran")
    words = tuple(
        str(package) if word == os.path.dirname(wrapper.__file__) else word
        for word in wrapper_words(batch_file, JobmonConfig())
    )
    wrapped = site.start_file(batch_file, words=words)
    assert wrapped.end() == 198
    assert (server.told, server.events[-1]["cause"]) == (["start", "fail"], "launch")
    assert f"has Jobmon 9.9.9, the workflow runs with {__version__}." in server.events[-1]["description"]
    assert list(site.work.iterdir()) == []
    metadata.rename(installed / f"jobmon-{__version__}.dist-info")
    assert site.start_file(batch_file, words=words).end() == 0


def test_a_batch_file_that_is_not_there_or_has_no_such_step(site: Site, server: Server) -> None:
    """Nothing can be told to the server; the cluster's log has the sentence."""
    batch_file = site.write("true")
    for path, step, words in (
        (batch_file, 1, f"The batch file {batch_file} has no step 1."),
        (site.work / "gone", 0, "cannot be read: No such file or directory."),
        (site.work, 0, "is damaged or of another Jobmon"),
    ):
        wrapped = site.start_file(path, step)
        assert wrapped.end() == 199
        assert words in wrapped.said
        assert "Traceback" not in wrapped.said
    assert server.told == []


def test_what_is_left_on_disk_is_for_its_owner_only(site: Site, server: Server) -> None:
    """The token stands in no argument, no environment of the command, and no file that others may read."""
    server.stop()
    batch_file = site.write("tr '\\0' '\\n' < /proc/$PPID/environ; tr '\\0' ' ' < /proc/$PPID/cmdline; env")
    wrapped = site.start_file(batch_file)
    assert wrapped.end() == 0
    assert TOKEN.encode() not in site.log()
    for directory, _, names in os.walk(site.shared.root):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        for name in names:
            assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == 0o600
