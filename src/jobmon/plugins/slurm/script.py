"""The batch script: it prepares the environment of the task's command and becomes the wrapper. Pure text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from jobmon.core.batch_cluster import WRAPPER_ID_OPTION, WRAPPER_STEP_OPTION
from jobmon.core.exceptions import SubmissionError

ENVIRONMENT_EXIT_CODE = 97
"""Exit code of a script that could not prepare the environment; no wrapper has started then."""
ENVIRONMENT_FAILED = "jobmon: the environment could not be prepared"

_STEP = '"$((SLURM_ARRAY_TASK_ID - 1))"'
_ID = '"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'

_CLEAN = """\
PATH=/usr/local/bin:/usr/bin:/bin
USER=$(id -un)
LOGNAME=$USER
HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
SHELL=/bin/sh
export PATH USER LOGNAME HOME SHELL"""

_FAIL = f"""\
jobmon_fail() {{
    echo "{ENVIRONMENT_FAILED}: $1" >&2
    exit {ENVIRONMENT_EXIT_CODE}
}}"""

_FIND_MODULE = """\
if ! command -v module >/dev/null 2>&1; then
    for init in "${LMOD_PKG:-}/init/sh" "${MODULESHOME:-}/init/sh" /etc/profile.d/lmod.sh \\
        /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh /usr/share/lmod/lmod/init/sh /usr/share/modules/init/sh; do
        if [ -r "$init" ] && . "$init" && command -v module >/dev/null 2>&1; then
            break
        fi
    done
    command -v module >/dev/null 2>&1 || jobmon_fail "this node has no command module"
fi"""


def batch_script(wrapper: Sequence[str], asked: Mapping[str, Any]) -> str:
    """The script of a batch.

    Args:
        wrapper: words of the command that runs the wrapper.
        asked: resources as :func:`~jobmon.plugins.slurm.asked.read_resources` gives them; ``environment``, ``modules``,
            ``venv`` and ``conda`` matter here.

    Raises:
        SubmissionError: a word cannot be part of a script.
    """
    preparation = environment_lines(asked)
    command = " ".join([*map(quoted, wrapper), WRAPPER_STEP_OPTION, _STEP, WRAPPER_ID_OPTION, _ID])
    return "\n".join(["#!/bin/sh", *preparation, f"exec {command}", ""])


def environment_lines(asked: Mapping[str, Any]) -> list[str]:
    """Lines that prepare the environment; none where it is taken as it comes."""
    lines = []
    modules, venv, conda = asked.get("modules", ()), asked.get("venv"), asked.get("conda")
    if asked.get("environment") == "clean":
        lines.append(_CLEAN)
    if modules or venv or conda:
        lines.append(_FAIL)
    if modules:
        words = " ".join(map(quoted, modules))
        lines += [_FIND_MODULE, f"module load {words} || jobmon_fail {quoted('module load ' + words)}"]
    if conda:
        lines += _conda_lines(conda)
    if venv:
        lines += _venv_lines(venv)
    return lines


def _venv_lines(venv: str) -> list[str]:
    activate = quoted(venv.rstrip("/") + "/bin/activate")
    missing = quoted(f"there is no virtual environment {venv} on this node")
    return [f"[ -r {activate} ] || jobmon_fail {missing}", f". {activate}"]


def _conda_lines(conda: str) -> list[str]:
    """Activate a conda environment; one given by its path needs no conda on the node."""
    name = quoted(conda)
    failed = quoted(f"conda activate {conda}")
    lines = [
        "conda=${CONDA_EXE:-$(command -v conda || command -v mamba)}",
        'if [ -x "$conda" ]; then',
        '    eval "$("$conda" shell.posix hook)"',
        f"    conda activate {name} || jobmon_fail {failed}",
    ]
    if "/" in conda:
        lines += [
            f"elif [ -d {name}/bin ]; then",
            f"    PATH={name}/bin:$PATH CONDA_PREFIX={name}",
            "    export PATH CONDA_PREFIX",
        ]
    return [*lines, "else", '    jobmon_fail "this node has no conda"', "fi"]


def quoted(word: str) -> str:
    """A word as the shell reads it from a script.

    Raises:
        SubmissionError: no script can hold it.
    """
    if "\0" in word:
        raise SubmissionError(f"A zero character cannot be part of a command: {word!r}.")
    if "\r\n" in word:
        raise SubmissionError(
            f"Slurm takes no script with line ends of Windows (carriage return, line feed): {word!r}."
        )
    return shlex.quote(word)
