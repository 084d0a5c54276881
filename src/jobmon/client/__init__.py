"""What a control script imports: tools, task templates, tasks, workflows.

Objects live in memory until ``Workflow.bind()`` registers them. Imports core and serializers; the controller
(:mod:`jobmon.swarm`) is imported when a workflow is run. Start reading at :mod:`jobmon.client.api`.
"""

from jobmon.core import __version__

__all__ = ["__version__"]
