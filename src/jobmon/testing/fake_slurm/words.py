"""The words of a command line, as Slurm's commands read them."""

from __future__ import annotations

import getopt
from collections.abc import Mapping, Sequence

from jobmon.testing.fake_slurm.answer import Refused


class Options:
    """Options a command knows.

    Args:
        command: its name, for what it says of others.
        names: long name (with ``=`` where it takes a value) → short letter, empty where there is none.
        is_mixed: options may follow other words.
    """

    def __init__(self, command: str, names: Mapping[str, str], is_mixed: bool = True) -> None:
        self._command, self._is_mixed = command, is_mixed
        self._long = list(names)
        self._short = "".join(
            letter + (":" if name.endswith("=") else "") for name, letter in names.items() if letter
        )
        self._name_of = {f"-{letter}": name.rstrip("=") for name, letter in names.items() if letter}

    def read(self, words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        """Values by the options' long names (the last one counts), and the words that are none.

        Raises:
            Refused: an option is unknown, or lacks its value.
        """
        read = getopt.gnu_getopt if self._is_mixed else getopt.getopt
        try:
            pairs, rest = read(list(words), self._short, self._long)
        except getopt.GetoptError as exc:
            text = (
                f"unrecognized option '--{exc.opt}'" if len(exc.opt) > 1 else f"invalid option -- '{exc.opt}'"
            )
            code = 255 if self._command == "sbatch" else 1
            hint = f'Try "{self._command} --help" for more information'
            raise Refused(f"{self._command}: {text}\n{hint}", code) from exc
        return {self._name_of.get(name, name.lstrip("-")): value for name, value in pairs}, rest
