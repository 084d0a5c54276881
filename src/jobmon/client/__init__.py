"""What a control script imports: tools, task templates, tasks, workflows.

Objects live in memory until ``Workflow.bind()`` registers them. Imports core and serializers; the controller
(:mod:`jobmon.swarm`) is imported when a workflow is run. Start reading at :mod:`jobmon.client.api`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobmon.core import __version__

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """The version, looked up when it is asked for."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jobmon.core import __version__

    return __version__
