"""The command line as a person meets it: a terminal, a pipe, Ctrl-C, the Tab key."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from jobmon.client.cli import cli

JOBMON = [sys.executable, "-c", "from jobmon.client.cli import main; main()"]
ESCAPE = "\x1b["


def in_a_terminal(*words: str, **variables: str) -> str:
    """What a terminal is sent."""
    environment = {**os.environ, "TERM": "xterm-256color", **variables}
    ours, theirs = pty.openpty()
    with subprocess.Popen([*JOBMON, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        sent = b""
        try:
            while chunk := os.read(ours, 65536):
                sent += chunk
        except OSError:  # how Linux tells that the other end was closed
            pass
    os.close(ours)
    return sent.decode()


@pytest.mark.e2e
def test_colours_in_a_terminal_only(directory: Path) -> None:
    """And not with NO_COLOR."""
    words = ("update_config", "http.request_timeout", "9")
    assert ESCAPE in in_a_terminal(*words)
    assert ESCAPE in in_a_terminal("config", "show", "--origin")
    assert ESCAPE not in in_a_terminal(*words, NO_COLOR="1")
    assert ESCAPE not in in_a_terminal("config", "show", "--origin", NO_COLOR="1")
    piped = subprocess.run([*JOBMON, *words], capture_output=True, text=True, check=True)
    assert ESCAPE not in piped.stdout + piped.stderr
    assert piped.stderr.startswith("DEPRECATION WARNING")


@pytest.mark.e2e
def test_a_reader_that_goes_away_is_no_fault(directory: Path) -> None:
    """``jobmon … | head -1``: nothing is said about it."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*JOBMON, "config", "show"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.e2e
def test_ctrl_c_ends_with_130(directory: Path) -> None:
    """In the middle of a request to a server that does not answer."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        environment = {**os.environ, "JOBMON__HTTP__SERVICE_URL": url}
        with subprocess.Popen(
            [*JOBMON, "workflow", "tasks", "1"], stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            connection, _ = listener.accept()
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30)[1] == "Interrupted.\n"
            connection.close()
    assert process.returncode == 130


def test_warnings_are_one_line_each_and_said_once(directory: Path) -> None:
    (directory / ".env").write_text("JOBMON__HTTP__SEVICE_URL=x\n")
    done = subprocess.run(
        [*JOBMON, "config", "show", "--key", "http.request_timeout", "--origin"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "Warning: .env: unknown configuration variable JOBMON__HTTP__SEVICE_URL (ignored)\n"


# -- completion -----------------------------------------------------------------------------------------
def completed(line: str, shell: str = "bash") -> list[str]:
    """What the Tab key offers at the end of a line; ``bash`` sends each as ``plain,word``."""
    words = line.split(" ")
    environment = {
        "_JOBMON_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1),
    }
    result = CliRunner().invoke(cli, env=environment, prog_name="jobmon", complete_var="_JOBMON_COMPLETE")
    return [each.rpartition(",")[2] for each in result.output.split()]


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("jobmon work", {"workflow"}, {"task", "workflow_status"}),
        ("jobmon workflow ", {"status", "tasks", "resume"}, {"version"}),
        ("jobmon workflow tasks --st", {"--status"}, {"--limit"}),
        ("jobmon workflow tasks -s ", {"done", "fatal"}, {"-s"}),
        ("jobmon workflow tasks -s DONE F", {"fatal"}, {"done"}),
        ("jobmon workflow tasks -s DONE -s ", {"done", "fatal"}, set()),
        ("jobmon workflow tasks -s DONE -o j", {"json"}, {"table"}),
        ("jobmon task status -t 1 2 --o", {"--output"}, set()),
        ("jobmon completion ", {"bash", "zsh", "fish"}, set()),
    ],
)
def test_what_the_tab_key_offers(line: str, some: set[str], none: set[str]) -> None:
    offered = {word.lower() for word in completed(line)}
    assert some <= offered
    assert not none & offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(shell: str) -> None:
    """It calls back what :func:`completed` calls, and the shell understands it where it is installed."""
    result = CliRunner().invoke(cli, ["completion", shell], prog_name="jobmon")
    assert result.exit_code == 0
    assert f"_JOBMON_COMPLETE={shell}_complete" in result.output
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=result.output, text=True, check=True)


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_in_a_real_bash(directory: Path) -> None:
    """The line of the documentation, and then what Tab would run."""
    bin_directory = directory / "bin"
    bin_directory.mkdir()
    script = bin_directory / "jobmon"
    script.write_text(f"#!{sys.executable}\nfrom jobmon.client.cli import main\nmain()\n")
    script.chmod(0o755)
    program = (
        'eval "$(jobmon completion bash)"\n'
        "COMP_WORDS=(jobmon workflow lo) COMP_CWORD=2\n"
        "_jobmon_completion jobmon\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", program], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("logs\n", "")


# -- budgets --------------------------------------------------------------------------------------------
def test_help_loads_little() -> None:
    """No package metadata, which takes longer than all else; the version is looked up when it is asked for."""
    code = "import sys, jobmon.client.cli; print('importlib.metadata' in sys.modules, len(sys.modules) < 200)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
    assert re.fullmatch(r"[\d.a-z+]+\n", CliRunner().invoke(cli, ["--version"]).output)
