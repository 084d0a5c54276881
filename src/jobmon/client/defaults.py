"""What holds when a task does not say itself on which cluster it runs and with which resources.

The cascade
-----------
From weak to strong::

    tool version  <  workflow  <  task template  <  array (create_tasks)  <  task

- Resources and scales are merged name by name: the strongest level that names ``memory`` says how much. The three
  weak levels keep them by cluster, and only those of the cluster the task runs on count; an array and a task give
  theirs for whichever cluster that is.
- Cluster, limit of attempts, fallback queues and ``compute_resources_callable`` are taken as a whole from the
  strongest level that says something. What the callable gives is laid over everything else.
- When nobody names a cluster it is ``multiprocess``; when nobody gives scales they are +50 % memory and +50 % run
  time; when nobody limits attempts there are 3.

A workflow takes over its tool version's defaults when it is created: what is changed in the tool later is for
workflows to come. Changes of a workflow, a template or a task count until the workflow is run. ``set_…`` replaces what
there is for a cluster, ``update_…`` changes only what it names; both exist with a dictionary and with a YAML file
(:mod:`jobmon.client.yaml_file`). In a dictionary or a file the first cluster that is named becomes the default cluster
of a tool or a workflow that has none, and always that of a template.

:class:`Settings` is what an array or a task says itself, :class:`ResourceDefaults` what the levels above them say;
:class:`Cascade` puts them together.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobmon.client.yaml_file import find_section, read_yaml
from jobmon.core.constants import DEFAULT_MAX_ATTEMPTS, DEFAULT_RESOURCE_SCALES
from jobmon.core.exceptions import InvalidResourceScale
from jobmon.core.resources import ScaleSequence

DEFAULT_CLUSTER_NAME = "multiprocess"
"""The cluster when nobody names one: this machine."""

logger = logging.getLogger(__name__)

ComputeResources = Mapping[str, Any] | Callable[[], dict[str, Any]]
"""Resources by name, or a function that gives them when the task is about to be queued."""


def validate_task_resource_scales(resource_scales: Mapping[str, Any]) -> None:
    """Check that every scale is a number, a callable or an iterator.

    Raises:
        InvalidResourceScale: (a ValueError) one is something else; the message names it.
    """
    for name, scale in resource_scales.items():
        is_number = isinstance(scale, int | float) and not isinstance(scale, bool)
        if not (is_number or callable(scale) or isinstance(scale, Iterator | ScaleSequence)):
            raise InvalidResourceScale(
                f"The resource scale of '{name}' is {scale!r}; it must be a number, a callable or an "
                "iterator."
            )


def own_scales(resource_scales: Mapping[str, Any]) -> dict[str, Any]:
    """A checked copy of scales in which every task can go through an iterator by itself."""
    validate_task_resource_scales(resource_scales)
    return {
        name: ScaleSequence.of(scale) if isinstance(scale, Iterator) else scale
        for name, scale in resource_scales.items()
    }


def check_max_attempts(max_attempts: int | None) -> int | None:
    """The limit of attempts; 0 and ``None`` mean that there is nothing said.

    Raises:
        ValueError: it is not a positive whole number.
    """
    if not max_attempts:
        return None
    number = whole_number(max_attempts)
    if number is None or number < 0:
        raise ValueError(f"max_attempts must be a whole number of at least 1, not {max_attempts!r}.")
    return number


def whole_number(value: Any) -> int | None:
    """A whole number, also when it is written as 3.0, as every number in R is; ``None`` for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class Settings:
    """What an array or a task says about the way it is run; shared by all that say the same.

    Attributes:
        cluster_name: empty for the one of the level above.
        compute_resources: laid over those of the levels above.
        compute_resources_callable: gives resources laid over everything else when the task is about to be
            queued.
        resource_scales: laid over those of the levels above.
        fallback_queues: queues to go to, in this order, when adjusted resources do not fit the first.
        max_attempts: ``None`` for the limit of the level above.
    """

    cluster_name: str = ""
    compute_resources: dict[str, Any] | None = None
    compute_resources_callable: Callable[[], dict[str, Any]] | None = None
    resource_scales: dict[str, Any] | None = None
    fallback_queues: tuple[str, ...] = ()
    max_attempts: int | None = None

    @classmethod
    def of(
        cls,
        cluster_name: str = "",
        compute_resources: ComputeResources | None = None,
        compute_resources_callable: Callable[[], dict[str, Any]] | None = None,
        resource_scales: Mapping[str, Any] | None = None,
        fallback_queues: Iterable[str] | None = None,
        max_attempts: int | None = None,
    ) -> Settings:
        """Settings from what a user wrote, checked and copied; :data:`NO_SETTINGS` when they say nothing.

        Raises:
            ValueError: one of them has the wrong type.
        """
        if not (
            cluster_name
            or compute_resources
            or compute_resources_callable
            or resource_scales
            or fallback_queues
            or max_attempts
        ):
            return NO_SETTINGS
        if callable(compute_resources):
            compute_resources, compute_resources_callable = None, compute_resources
        if not isinstance(compute_resources, Mapping | None):
            raise ValueError(
                f"compute_resources must be a dictionary or a callable, not {compute_resources!r}."
            )
        if compute_resources_callable is not None and not callable(compute_resources_callable):
            raise ValueError(
                f"compute_resources_callable must be callable, not {compute_resources_callable!r}."
            )
        if isinstance(fallback_queues, str):
            fallback_queues = (fallback_queues,)
        return cls(
            cluster_name,
            copy.deepcopy(dict(compute_resources)) if compute_resources else None,
            compute_resources_callable,
            own_scales(resource_scales) if resource_scales else None,
            tuple(fallback_queues or ()),
            check_max_attempts(max_attempts),
        )

    def with_resources(self, resources: Mapping[str, Any]) -> Settings:
        """These settings with some resources changed."""
        return replace(self, compute_resources={**(self.compute_resources or {}), **resources})

    def with_scales(self, scales: Mapping[str, Any]) -> Settings:
        """These settings with some scales changed."""
        return replace(self, resource_scales={**(self.resource_scales or {}), **own_scales(scales)})


NO_SETTINGS = Settings()
"""Nothing said."""


class ResourceDefaults:
    """Defaults of a tool version, a workflow or a task template.

    Args:
        cluster_name: default cluster; empty for none.
        max_attempts: default limit of attempts; ``None`` for none.

    Attributes:
        default_cluster_name: default cluster; empty for none.
        default_compute_resources_set: resources by cluster.
        default_resource_scales_set: scales by cluster.
        default_max_attempts: default limit of attempts; ``None`` for none.
    """

    def __init__(self, cluster_name: str = "", max_attempts: int | None = None) -> None:
        self.default_cluster_name = cluster_name
        self.default_compute_resources_set: dict[str, dict[str, Any]] = {}
        self.default_resource_scales_set: dict[str, dict[str, Any]] = {}
        self.default_max_attempts = check_max_attempts(max_attempts)

    def _changed(self) -> None:
        """Called when a default changed."""

    def snapshot(self) -> tuple[Any, ...]:
        """All defaults as they are now, to see later whether they changed, be it by a setter or in place."""
        return (
            self.default_cluster_name,
            self.default_max_attempts,
            copy.deepcopy(self.default_compute_resources_set),
            {name: dict(scales) for name, scales in self.default_resource_scales_set.items()},
        )

    def set_default_cluster_name(self, cluster_name: str) -> None:
        """Run on this cluster what does not name one itself."""
        self.default_cluster_name = cluster_name
        self._changed()

    def set_default_max_attempts(self, value: int | None) -> None:
        """Limit the attempts of tasks that have no limit of their own; 0 and ``None`` are ignored."""
        if not value:
            logger.info("default_max_attempts stays %s: %r is not a limit.", self.default_max_attempts, value)
            return
        self.default_max_attempts = check_max_attempts(value)
        self._changed()

    def update_default_compute_resources(self, cluster_name: str, **kwargs: Any) -> None:
        """Change these default resources of a cluster; the others stay."""
        self.default_compute_resources_set.setdefault(cluster_name, {}).update(copy.deepcopy(kwargs))
        self._changed()

    def update_default_resource_scales(self, cluster_name: str, **kwargs: Any) -> None:
        """Change these default scales of a cluster; the others stay.

        Raises:
            ValueError: a scale is neither a number, nor a callable, nor an iterator.
        """
        self.default_resource_scales_set.setdefault(cluster_name, {}).update(own_scales(kwargs))
        self._changed()

    def set_default_compute_resources_from_dict(
        self, cluster_name: str, compute_resources: Mapping[str, Any]
    ) -> None:
        """Replace the default resources of a cluster; it becomes the default cluster where there is none."""
        self._name_cluster(cluster_name)
        self.default_compute_resources_set[cluster_name] = copy.deepcopy(dict(compute_resources))
        self._changed()

    def set_default_resource_scales_from_dict(
        self, cluster_name: str, resource_scales: Mapping[str, Any]
    ) -> None:
        """Replace the default scales of a cluster, which becomes the default cluster where there is none.

        Raises:
            ValueError: a scale is neither a number, nor a callable, nor an iterator.
        """
        scales = own_scales(resource_scales)
        self._name_cluster(cluster_name)
        self.default_resource_scales_set[cluster_name] = scales
        self._changed()

    def _name_cluster(self, cluster_name: str) -> None:
        self.default_cluster_name = self.default_cluster_name or cluster_name

    def take_defaults(
        self,
        compute_resources_set: Mapping[str, Mapping[str, Any]],
        resource_scales_set: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Lay resources and scales by cluster over those there are; the default cluster stays."""
        for cluster_name, resources in compute_resources_set.items():
            self.update_default_compute_resources(cluster_name, **resources)
        for cluster_name, scales in resource_scales_set.items():
            self.update_default_resource_scales(cluster_name, **scales)

    def take_resources_from_yaml(self, path: str, *keys: str) -> None:
        """Replace the default resources of every cluster named below ``keys`` of a YAML file.

        Raises:
            KeyError: there are no such keys.
            ValueError: the file is malformed.
        """
        for cluster_name, resources in find_section(read_yaml(path), path, *keys).items():
            self.default_compute_resources_set[cluster_name] = resources
        self._changed()

    def take_scales_from_yaml(self, path: str, *keys: str) -> None:
        """Replace the default scales of every cluster named below ``keys`` of a YAML file.

        Raises:
            KeyError: there are no such keys.
            ValueError: the file is malformed, or a scale is not a number.
        """
        for cluster_name, scales in find_section(read_yaml(path), path, *keys).items():
            self.default_resource_scales_set[cluster_name] = own_scales(scales)
        self._changed()


@dataclass(frozen=True, slots=True)
class Cascade:
    """All levels above a task, from weak to strong, and what they come to.

    Attributes:
        defaults: workflow (when there is one), task template.
        settings: array, task.
    """

    defaults: tuple[ResourceDefaults, ...]
    settings: tuple[Settings, ...]

    @property
    def cluster_name(self) -> str:
        """The cluster to run on."""
        for settings in reversed(self.settings):
            if settings.cluster_name:
                return settings.cluster_name
        for level in reversed(self.defaults):
            if level.default_cluster_name:
                return level.default_cluster_name
        return DEFAULT_CLUSTER_NAME

    @property
    def compute_resources(self) -> dict[str, Any]:
        """The resources to ask for, as they were written."""
        cluster_name = self.cluster_name
        merged: dict[str, Any] = {}
        for level in self.defaults:
            merged.update(level.default_compute_resources_set.get(cluster_name, {}))
        for settings in self.settings:
            merged.update(settings.compute_resources or {})
        return merged

    @property
    def resource_scales(self) -> dict[str, Any]:
        """How the resources grow after a resource error."""
        cluster_name = self.cluster_name
        merged: dict[str, Any] = {}
        for level in self.defaults:
            merged.update(level.default_resource_scales_set.get(cluster_name, {}))
        for settings in self.settings:
            merged.update(settings.resource_scales or {})
        return merged or dict(DEFAULT_RESOURCE_SCALES)

    @property
    def max_attempts(self) -> int:
        """The limit of attempts."""
        for settings in reversed(self.settings):
            if settings.max_attempts:
                return settings.max_attempts
        for level in reversed(self.defaults):
            if level.default_max_attempts:
                return level.default_max_attempts
        return DEFAULT_MAX_ATTEMPTS

    @property
    def compute_resources_callable(self) -> Callable[[], dict[str, Any]] | None:
        """What gives resources when the task is about to be queued."""
        for settings in reversed(self.settings):
            if settings.compute_resources_callable is not None:
                return settings.compute_resources_callable
        return None

    @property
    def fallback_queues(self) -> tuple[str, ...]:
        """Queues for adjusted resources that do not fit the first."""
        for settings in reversed(self.settings):
            if settings.fallback_queues:
                return settings.fallback_queues
        return ()
