"""Failures that are alike, found by what they say.

Rules
-----
1. Of each text the line that tells most is taken (:mod:`jobmon.core.error_text`).
2. What differs from task to task is folded into placeholders, by the same module.
3. Equal patterns are one cluster. Patterns that differ in one word only are merged when there are so many of them that
   the word must be data. This looks at distinct patterns only, and takes time linear in their words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jobmon.core.error_text import LINE_CHARACTERS, fold, telling_line
from jobmon.serializers.failures import SharedTrait

if TYPE_CHECKING:
    from datetime import datetime

MIN_VARIANTS = 4
"""So many patterns that differ in one word only are one pattern."""

MAX_PATTERNS = 5000
"""Patterns beyond these are not merged, but counted by their first word: then texts have nothing in common anyway."""

MERGED_WORDS = 40
"""Patterns with more words are not merged."""

MANY = 0.8
"""A trait is shared when this part of the failures has it."""

RARER = 0.5
"""… and it tells something when it is rarer among the others by this factor."""

MIN_FAILURES = 3
"""Fewer failures share nothing but chance."""

ANY = "<…>"


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that failed.

    Attributes:
        task_instance_id, task_id, array_id: which one.
        failed_at: time of the database.
        nodename: host it ran on; may be empty.
        cause: why it did not succeed.
        exit_code: of its command; negative: a signal; null: unknown.
        noted: beginning of what was noted about it.
        text: end of what was noted, where that is more than a line, else of its stderr.
        stderr: path of its log file.
    """

    task_instance_id: int
    task_id: int
    array_id: int
    failed_at: datetime
    nodename: str
    cause: str
    exit_code: int | None
    noted: str
    text: str
    stderr: str


@dataclass(slots=True)
class ErrorCluster:
    """Failures that are alike.

    Attributes:
        pattern: what they say.
        where: function in which they happened; may be empty.
        cause: why the attempts did not succeed.
        example: the latest attempt.
        first_at, last_at: when the first and the last failed.
        line: what the first of them said, unfolded; null when others said something else.
        num_attempts: how many.
        tasks: ids of their tasks by array.
        nodes: attempts by array and host.
    """

    pattern: str
    where: str
    cause: str
    example: FailedAttempt
    first_at: datetime
    last_at: datetime
    line: str | None = None
    num_attempts: int = 0
    tasks: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    nodes: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def num_tasks(self) -> int:
        """How many tasks failed like this."""
        return sum(map(len, self.tasks.values()))

    @property
    def title(self) -> str:
        """What all of them say: their line, where it is the same, else their pattern."""
        return self.pattern if self.line is None else self.line

    def add(self, attempt: FailedAttempt, line: str) -> None:
        """One more, and its line."""
        if line != self.line:
            self.line = None
        self.num_attempts += 1
        self.tasks[attempt.array_id].add(attempt.task_id)
        if attempt.nodename:
            self.nodes[attempt.array_id][attempt.nodename] += 1
        self._span(attempt, attempt.failed_at, attempt.failed_at)

    def merge(self, other: ErrorCluster) -> None:
        """All of another cluster, which says something else."""
        self.line = None
        self.num_attempts += other.num_attempts
        for array_id, task_ids in other.tasks.items():
            self.tasks[array_id] |= task_ids
        for array_id, nodes in other.nodes.items():
            self.nodes[array_id] += nodes
        self._span(other.example, other.first_at, other.last_at)

    def _span(self, latest: FailedAttempt, first_at: datetime, last_at: datetime) -> None:
        self.first_at, self.last_at = min(self.first_at, first_at), max(self.last_at, last_at)
        if latest.task_instance_id > self.example.task_instance_id:
            self.example = latest


def cluster_errors(attempts: Iterable[FailedAttempt]) -> list[ErrorCluster]:
    """Failures that are alike, most tasks first; takes time linear in their number.

    Args:
        attempts: read once; in any order, the result is the same.
    """
    found: dict[tuple[str, str, str], ErrorCluster] = {}
    for attempt in attempts:
        line, where = telling_line(attempt.noted, attempt.text, attempt.cause, attempt.exit_code)
        line = line[:LINE_CHARACTERS]
        pattern = fold(line)
        key = (attempt.cause, where, pattern)
        cluster = found.get(key)
        if cluster is None:
            if len(found) >= MAX_PATTERNS:
                key = (attempt.cause, "", f"{pattern.split(maxsplit=1)[0] if pattern else ''} {ANY}")
                cluster = found.get(key)
            if cluster is None:
                cluster = found[key] = ErrorCluster(
                    key[2], key[1], attempt.cause, attempt, attempt.failed_at, attempt.failed_at, line
                )
        cluster.add(attempt, line)
    return sorted(
        _merged(list(found.values())), key=lambda c: (-c.num_tasks, -c.num_attempts, c.pattern, c.where)
    )


def all_together(clusters: Sequence[ErrorCluster]) -> ErrorCluster:
    """Some failures as one cluster, whatever they say."""
    first = clusters[0]
    together = ErrorCluster("", "", "", first.example, first.first_at, first.last_at)
    for cluster in clusters:
        together.merge(cluster)
    return together


# -- merging --------------------------------------------------------------------------------------------
def _merged(clusters: list[ErrorCluster]) -> list[ErrorCluster]:
    """Clusters whose patterns differ in one word only, where these are many."""
    keys_of = {id(cluster): _wildcards(cluster) for cluster in clusters}
    variants = Counter(key for keys in keys_of.values() for key in keys)
    merged: dict[tuple[str, ...], ErrorCluster] = {}
    kept = []
    for cluster in sorted(clusters, key=lambda c: (c.cause, c.where, c.pattern)):
        keys = keys_of[id(cluster)]
        best = max(keys, key=variants.__getitem__, default=None)
        if best is None or variants[best] < MIN_VARIANTS:
            kept.append(cluster)
        elif best in merged:
            merged[best].merge(cluster)
        else:
            merged[best] = replace(cluster, pattern=" ".join(best[2:]), line=None)
    return [*kept, *merged.values()]


def _wildcards(cluster: ErrorCluster) -> list[tuple[str, ...]]:
    """The pattern with each of its words left open in turn; something that is said must remain."""
    words = cluster.pattern.split(" ")
    if len(words) > MERGED_WORDS:
        return []
    return [
        (cluster.cause, cluster.where, *words[:place], ANY, *words[place + 1 :])
        for place, word in enumerate(words)
        if any(other[0].isalpha() for other in (*words[:place], *words[place + 1 :]) if other)
        and not word.startswith("<")
    ]


# -- what failures share --------------------------------------------------------------------------------
def shared_trait(
    trait: Callable[[int, int, bool], SharedTrait],
    failed: tuple[int, int],
    done: tuple[int, int],
    everything: tuple[int, int],
) -> SharedTrait | None:
    """A trait, if failures share it and the others do not; each pair is how many have it, of how many.

    Args:
        trait: makes it from how many of how many others have it, and whether these are done.
        failed: of the failures.
        done: of those that are done; the comparison, where there are any.
        everything: of all, failures included.
    """
    has, count = failed
    if count < MIN_FAILURES or has < MANY * count:
        return None
    others = done if done[1] else (everything[0] - has, everything[1] - count)
    if others[1] <= 0 or others[0] / others[1] > RARER * has / count:
        return None
    return trait(max(0, others[0]), others[1], bool(done[1]))


def most_telling_first(traits: Iterable[SharedTrait]) -> list[SharedTrait]:
    """Traits, the most surprising one first."""

    def rarity(trait: SharedTrait) -> tuple[float, int, str, str]:
        among_others = trait.num_others / trait.num_others_in_all
        return (
            among_others - trait.num_failed / trait.num_failed_in_all,
            -trait.num_failed,
            trait.name,
            trait.value,
        )

    return sorted(traits, key=rarity)
