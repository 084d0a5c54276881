"""What differs between two commands of one template, in as few words as possible."""

from __future__ import annotations

from collections.abc import Sequence

from jobmon.serializers.explain import Difference

SHOWN_CHARACTERS = 200


def command_difference(before: str, after: str, op_args: Sequence[str]) -> Difference:
    """The words in which two commands with equal node and task args differ: those of the op args.

    Args:
        before, after: the commands.
        op_args: names of all op args of the template.
    """
    old, new = before.split(" "), after.split(" ")
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    parts = [" ".join(words[start : len(words) - end]) for words in (old, new)]
    shown = [part if len(part) <= SHOWN_CHARACTERS else part[: SHOWN_CHARACTERS - 1] + "…" for part in parts]
    return Difference("op arg" if op_args else "command", ", ".join(op_args), *shown)
