"""Routes, grouped by caller: scripts define, controllers run, wrappers report, people look."""

from jobmon.server.web.wire import WireRouter


def all_routers() -> list[WireRouter]:
    """Every group of routes."""
    from jobmon.server.web.routes import define, monitor, swarm, swarm_read, task, worker

    return [define.router, swarm.router, swarm_read.router, worker.router, monitor.router, task.router]
