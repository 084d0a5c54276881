"""Being shown by a proxy below a path of its own, such as ``https://jobs.example.org/jobmon/``."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from jobmon.core.exceptions import ConfigError


class SubPath:
    """Takes the path of the proxy off the requests, where the proxy has not done so, and has links begin with it.

    Args:
        app: the application.
        root_path: the path, such as ``/jobmon``.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app, self.root_path = app, root_path
        self._below = root_path + "/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(self._below) or path == self.root_path:
                path = path[len(self.root_path) :] or "/"
            scope = {**scope, "path": path, "root_path": self.root_path}
        await self.app(scope, receive, send)


def below(app: ASGIApp, root_path: str, route_prefix: str) -> ASGIApp:
    """An application as a proxy shows it below a path; empty: at the root.

    Raises:
        ConfigError: the path cannot be told from the server's own ones.
    """
    path = root_path.rstrip("/")
    if not path:
        return app
    own = (route_prefix + "/", "/api/")
    if not path.startswith("/") or any(each.startswith(path + "/") for each in own):
        raise ConfigError(
            f"server.root_path is '{root_path}'; it begins with a slash, such as /jobmon, and is not part of a path of "
            f"the server itself ({route_prefix}, /api)."
        )
    return SubPath(app, path)
