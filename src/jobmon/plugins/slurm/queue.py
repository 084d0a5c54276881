"""A partition of a Slurm cluster: what may be asked of it, how much, and what is asked where a task does not say.

The parameters of a queue, all optional; what is absent is not limited::

    {"cores": [1, 64],            # of one node
     "memory": [0, 250],          # GiB of one node
     "runtime": [0, 86400],       # seconds
     "default_runtime": 3600,     # seconds, where a task does not say
     "nodes": [1, 8],
     "gres": {"gpu": 4},          # most of a kind on one node; {}: there are none
     "accounts": ["a", "b"], "refused_accounts": ["c"], "qos": ["normal"],
     "is_default": true,          # jobs that name no partition go there
     "is_up": true,               # as it was when the cluster was last asked; nothing is refused because of it
     "is_gone": true}             # the cluster has it no more
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.words import describe_resource
from jobmon.plugins.slurm.asked import RESOURCES, read_resources, unknown_names

DEFAULT_CORES = 1
DEFAULT_GIB = 1
DEFAULT_RUNTIME_SECONDS = 600
LIMITED = ("cores", "memory", "runtime", "nodes")
"""Resources with a lowest and a highest amount in the parameters of a queue."""
GPU = "gpu"


class SlurmQueue(ClusterQueue):
    """A partition with the limits its parameters name."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        """Whether the partition can ever run a job that asks for this, and if not, all that is wrong.

        Names that are not known, values that cannot be meant and accounts that may not use it are always wrong; amounts
        beyond its limits only if ``strict``, because :meth:`coerce_resources` brings them within.
        """
        asked, problems = read_resources(kwargs)
        problems = [*unknown_names(kwargs), *problems, *self._refusals(asked)]
        if strict:
            problems += self._excesses(asked)
        return not problems, " ".join(problems)

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        """What a job is to ask for: within the limits, with defaults for cores, memory and run time.

        Names that are not known are left out.

        Raises:
            ValueError: a value cannot be meant, such as ``cores="many"``.
        """
        asked, problems = read_resources(kwargs)
        if problems:
            raise ValueError(" ".join(problems))
        given = {**self._defaults(), **asked}
        within = {name: self._within(name, given[name]) for name in RESOURCES if name in given}
        most = self._most_gpus()
        if most and within.get("gpus", 0) > most:
            within["gpus"] = most
        return within

    def longest_shared_seconds(self, requested_resources: Mapping[str, Any]) -> float:
        """The time limit of the partition; 0 where a task has options of its own for sbatch, which may be about time."""
        if requested_resources.get("sbatch_arguments"):
            return 0.0
        limits = self._limits("runtime")
        return math.inf if limits is None else limits[1]

    # -- what this partition has ---------------------------------------------------------------------
    def _defaults(self) -> dict[str, Any]:
        return {
            "cores": DEFAULT_CORES,
            "memory": DEFAULT_GIB,
            "runtime": self.parameters.get("default_runtime") or DEFAULT_RUNTIME_SECONDS,
        }

    def _limits(self, name: str) -> tuple[float, float] | None:
        limits = self.parameters.get(name)
        return (limits[0], limits[1]) if name in LIMITED and limits is not None else None

    def _within(self, name: str, value: Any) -> Any:
        limits = self._limits(name)
        return value if limits is None else min(max(value, limits[0]), limits[1])

    def _most_gpus(self) -> int | None:
        """Most GPUs of one node; ``None``: not known."""
        gres: Mapping[str, int] | None = self.parameters.get("gres")
        return None if gres is None else int(gres.get(GPU, 0))

    # -- what it does not take -----------------------------------------------------------------------
    def _refusals(self, asked: Mapping[str, Any]) -> Iterator[str]:
        """What no amount would mend."""
        queue = f"queue {self.queue_name}"
        if self.parameters.get("is_gone"):
            yield (
                f"The cluster has no {queue} any more; choose another (jobmon cluster show lists them), "
                "or bring what is known of the cluster up to date: jobmon cluster sync."
            )
        project, accounts = asked.get("project"), self.parameters.get("accounts")
        if project is not None and accounts is not None and project not in accounts:
            yield f"project={project} may not use {queue}; these may: {', '.join(accounts)}."
        if project is not None and project in self.parameters.get("refused_accounts", ()):
            yield f"project={project} may not use {queue}."
        qos, qualities = asked.get("qos"), self.parameters.get("qos")
        if qos is not None and qualities is not None and qos not in qualities:
            yield f"qos={qos} is not allowed in {queue}; these are: {', '.join(qualities)}."
        if asked.get("gpus") and self._most_gpus() == 0:
            yield f"gpus={asked['gpus']} cannot be had: the nodes of {queue} have no GPUs."

    def _excesses(self, asked: Mapping[str, Any]) -> Iterator[str]:
        """Amounts beyond its limits."""
        for name in LIMITED:
            limits = self._limits(name)
            if name not in asked or limits is None or limits[0] <= asked[name] <= limits[1]:
                continue
            low, high = (describe_resource(name, limit) for limit in limits)
            gives = f"takes no less than {low}" if asked[name] < limits[0] else f"gives at most {high}"
            whole = describe_resource(name, asked[name])
            what = f"{name}={asked[name]}" + ("" if whole == str(asked[name]) else f" ({whole})")
            yield f"{what} cannot be had: queue {self.queue_name} {gives}."
        most = self._most_gpus()
        if most and asked.get("gpus", 0) > most:
            yield f"gpus={asked['gpus']} cannot be had: the nodes of queue {self.queue_name} have at most {most}."
