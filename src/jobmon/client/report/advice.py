"""What to ask for next time, in words and as YAML: values in, values out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobmon.client.report.figures import Figures, Outcome, TemplateFigures, Use
from jobmon.core.recommendation import (
    CLOSE,
    LEAST_MEMORY_MIB,
    LEAST_RUNTIME_SECONDS,
    LOOSE,
    MEMORY_FACTOR,
    RUNTIME_FACTOR,
    memory_to_ask_for,
    runtime_to_ask_for,
)
from jobmon.core.resources import describe_memory
from jobmon.core.words import describe_duration

_MIB_OF_GIB = 1024

__all__ = [
    "LEAST_MEMORY_MIB",
    "LEAST_RUNTIME_SECONDS",
    "MEMORY_FACTOR",
    "RUNTIME_FACTOR",
    "Advice",
    "cores_advice",
    "memory_advice",
    "recommended_memory",
    "recommended_runtime",
    "recommended_yaml",
    "runtime_advice",
]
"""The margins too: the report's template names them."""


@dataclass(frozen=True)
class Advice:
    """What to say about one resource of one template.

    Attributes:
        verdict: ``close``, ``loose``, ``fits`` or ``unknown``.
        words: a sentence.
    """

    verdict: str
    words: str


def recommended_memory(use: Use) -> str | None:
    """The most that was used and a fifth more, as resources are written; ``None`` when it was not measured."""
    return memory_to_ask_for(use.peak)


def recommended_runtime(use: Use) -> int | None:
    """The longest run time and three tenths more, in seconds; ``None`` when it was not measured."""
    return runtime_to_ask_for(use.peak)


def memory_advice(template: TemplateFigures) -> Advice:
    """Whether the memory asked for suits the template."""
    use, wanted = template.memory, recommended_memory(template.memory)
    if wanted is None:
        return Advice("unknown", "Memory was not measured.")
    request = use.usual_request
    if request is None:
        return Advice("unknown", f"No memory was asked for; {wanted} would do.")
    killed = template.number_of(Outcome.RESOURCE)
    if use.fullest >= 1 and killed:
        return Advice(
            "close",
            f"{describe_memory(request)} was too little: attempts used up to {describe_memory(use.peak)}. Ask for "
            f"{wanted}.",
        )
    if use.fullest > CLOSE:
        return Advice("close", f"Up to {use.fullest:.0%} of the request was used. Ask for {wanted}.")
    if use.peak < LOOSE * request and _mib(wanted) < request * _MIB_OF_GIB:
        return Advice("loose", f"{_times(request / use.peak)} what was needed. {wanted} is enough.")
    return Advice("fits", "Fits.")


def runtime_advice(template: TemplateFigures) -> Advice:
    """Whether the run time asked for suits the template."""
    use, wanted = template.runtime, recommended_runtime(template.runtime)
    if wanted is None:
        return Advice("unknown", "Run time was not measured.")
    request = use.usual_request
    if request is None:
        return Advice("unknown", f"No limit was asked for; {describe_duration(wanted)} would do.")
    if use.fullest > CLOSE:
        return Advice(
            "close", f"Up to {use.fullest:.0%} of the limit was used. Ask for {describe_duration(wanted)}."
        )
    if use.peak < LOOSE * request and wanted < request:
        return Advice(
            "loose", f"{_times(request / use.peak)} what was needed. {describe_duration(wanted)} is enough."
        )
    return Advice("fits", "Fits.")


def cores_advice(template: TemplateFigures) -> Advice:
    """Whether the cores asked for were busy."""
    use = template.cores
    request = use.usual_request
    if not use.peak:
        return Advice("unknown", "CPU time was not measured.")
    if request is None:
        return Advice("unknown", "No cores were asked for.")
    wanted = max(1, math.ceil(use.peak - 0.1))
    if request > 1 and use.peak < LOOSE * request and wanted < request:
        return Advice("loose", f"At most {use.peak:.1f} were busy. {wanted} {_cores(wanted)} enough.")
    if use.peak > 1.1 * request:
        return Advice("close", f"Up to {use.peak:.1f} were busy. Ask for {wanted}.")
    return Advice("fits", "Fits.")


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:.0f} times"


def _cores(count: int) -> str:
    return "is" if count == 1 else "are"


def _mib(memory: str) -> int:
    return int(memory[:-1]) * (1 if memory.endswith("M") else _MIB_OF_GIB)


def recommended_yaml(figures: Figures) -> str:
    """Resources for every template that was measured, as ``set_default_compute_resources_from_yaml`` reads them.

    Cores stay as they were asked for; the queue is left to the cluster.
    """
    import yaml

    content: dict[str, dict[str, dict[str, object]]] = {}
    for template in figures.templates:
        cores = template.cores.usual_request
        values: dict[str, object] = {
            "cores": math.ceil(cores) if cores else None,
            "memory": recommended_memory(template.memory),
            "runtime": recommended_runtime(template.runtime),
        }
        known = {name: value for name, value in values.items() if value is not None}
        is_measured = "memory" in known or "runtime" in known
        for cluster in sorted({cluster for cluster, _ in template.placed} if is_measured else ()):
            content.setdefault(template.name, {})[cluster] = known
    if not content:
        return ""
    text: str = yaml.dump({"task_template_resources": content}, Dumper=_plain_dumper(), sort_keys=False)
    return text


def _plain_dumper() -> type:
    """Without anchors where two clusters are given the same."""
    import yaml

    class PlainDumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    return PlainDumper
