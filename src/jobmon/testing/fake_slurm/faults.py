"""What is wrong with the fake cluster at the moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Faults:
    """The faults that are switched on.

    Attributes:
        slow: seconds each command takes, by its name; ``""`` stands for all.
        hanging: commands that never answer; ``""`` stands for all.
        refusal: what ``sbatch`` says instead of taking a job; empty: it takes them.
        lost_replies: how many more submissions are taken without the submitter being told.
        lag_seconds: how long accounting takes to learn of anything.
        half_told: accounting shows one row for a whole array.
        no_accounting: there is no accounting at all.
        accounting_away: accounting does not answer; it has not forgotten anything.
        is_away: the controller does not answer.
        nonsense: what a command prints instead of an answer, by its name.
        false_state: the state that every job is shown in; empty: the true one.
        submit_limit: how many jobs a user may have at once; 0: any number.
    """

    slow: dict[str, float] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    refusal: str = ""
    lost_replies: int = 0
    lag_seconds: float = 0.0
    half_told: bool = False
    no_accounting: bool = False
    accounting_away: bool = False
    is_away: bool = False
    nonsense: dict[str, str] = field(default_factory=dict)
    false_state: str = ""
    submit_limit: int = 0

    def delay_of(self, command: str) -> float:
        """Seconds a command takes."""
        return self.slow.get(command, self.slow.get("", 0.0))

    def is_hanging(self, command: str) -> bool:
        """Whether a command never answers."""
        return command in self.hanging or "" in self.hanging


@dataclass
class Calls:
    """How often each command was called, and with which words.

    Attributes:
        count: number of calls by the command's name.
        words: the words of each call, in order; the first is the command's name.
    """

    count: Counter[str] = field(default_factory=Counter)
    words: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, command: str, arguments: tuple[str, ...]) -> None:
        """One more call."""
        self.count[command] += 1
        self.words.append((command, *arguments))

    @property
    def total(self) -> int:
        """Number of all calls."""
        return self.count.total()
