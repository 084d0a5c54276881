"""Routes, grouped by caller: scripts define, controllers run, wrappers report, people look."""

from jobmon.server.web.wire import WireRouter


def all_routers() -> list[WireRouter]:
    """Every group of routes."""
    from jobmon.server.web.routes import (
        define,
        diagnosis,
        explain,
        failures,
        monitor,
        select,
        swarm,
        swarm_read,
        task,
        trace,
        usage,
        worker,
    )

    return [
        define.router,
        swarm.router,
        swarm_read.router,
        worker.router,
        monitor.router,
        diagnosis.router,
        task.router,
        select.router,
        trace.router,
        usage.router,
        explain.router,
        failures.router,
    ]
