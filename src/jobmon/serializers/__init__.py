"""The wire: one typed message for every request and every response, used by both ends.

Imports :mod:`jobmon.core` only. Modules follow the callers: ``define`` (scripts), ``swarm`` (controllers),
``worker`` (wrappers on compute nodes), ``monitor`` (people who look). Large requests are columnar: lists of equal length, one
entry a row. Unknown fields are ignored, so that a newer end can talk to an older one.
"""

from jobmon.serializers.swarm import SerializeSwarmTask

__all__ = ["SerializeSwarmTask"]
