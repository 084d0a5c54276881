"""Scripts run up to their first ``run()`` or ``bind()``, where they answer a question about their workflow and end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from jobmon.client.atomic_file import replaced_when_complete
from jobmon.core.exceptions import UsageError

STDERR = 2


class AnswerWritten(SystemExit):
    """Ends a script that was asked something, in good order: what it has open is closed, nothing else is done."""


def script_command(script: str | Path) -> list[str]:
    """The words that run a script.

    Args:
        script: a Python file, or something else that can be executed.

    Raises:
        UsageError: there is no such file.
    """
    path = Path(script)
    if not path.is_file():
        raise UsageError(f"There is no script {path}; name a file, or the id of a workflow.")
    command = [str(path.resolve())]
    if path.suffix == ".py" or not os.access(path, os.X_OK):
        command.insert(0, sys.executable)
    return command


def answer_of_script(script: str | Path, arguments: Sequence[str], variable: str, usage: str) -> bytes:
    """What a script answers at its first ``run()`` (or ``bind()``).

    The script is started in a process of its own and ends there: what stands before that call is carried out, what
    stands behind it is not. What it prints goes to stderr.

    Args:
        script: a Python file, or something else that can be executed.
        arguments: its arguments.
        variable: environment variable that asks the question; it names the file the answer is written to.
        usage: the command that is being carried out, for messages.

    Raises:
        UsageError: there is no such file, it failed, or it never came to ``run()``; the message says which.
    """
    command = script_command(script)
    with tempfile.TemporaryDirectory(prefix="jobmon-script-") as directory:
        answer = Path(directory, "answer.json")
        environment = {**os.environ, variable: str(answer)}
        done = subprocess.run([*command, *arguments], env=environment, stdout=STDERR, check=False)
        if answer.exists():
            return answer.read_bytes()
    if done.returncode:
        raise UsageError(
            f"{script} ended with exit code {done.returncode} before it came to Workflow.run(); its own words stand "
            "above."
        )
    raise UsageError(
        f"{script} ended and left no plan: it never called Workflow.run(), or caught what that raised. Does it need "
        f"arguments ({usage} SCRIPT -- ARGUMENTS)?"
    )


def end_with_answer(path: str, answer: Callable[[], bytes]) -> NoReturn:
    """Write an answer to a file, unless an earlier one stands there, and end the script.

    Raises:
        AnswerWritten: always.
    """
    place = Path(path)
    if not place.exists():
        content = answer()
        with replaced_when_complete(place) as partial:
            partial.write_bytes(content)
    raise AnswerWritten(0)
