"""What a server process is for: everything, keeping the state, or answering questions.

``state`` (the JobStateManager) serves whatever changes something, and what scripts, controllers and wrappers read on their way.
``query`` (the JobQueryServer) serves whatever only reads; a database user that may do nothing but SELECT is enough for it.
``all`` serves both.
"""

from __future__ import annotations

from enum import StrEnum

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError


class Role(StrEnum):
    """What a server process serves."""

    ALL = "all"
    STATE = "state"
    QUERY = "query"

    @classmethod
    def from_config(cls, config: JobmonConfig) -> Role:
        """The role of ``server.role``.

        Raises:
            ConfigError: there is no such role.
        """
        name = str(config.get("server", "role"))
        try:
            return cls(name)
        except ValueError:
            raise ConfigError(f"server.role is '{name}'; it is one of {', '.join(cls)}.") from None

    @property
    def may_write(self) -> bool:
        """Whether processes of this role change the database."""
        return self is not Role.QUERY


_PEOPLE = "/monitor"
"""Prefix of the routes for people; all others are for scripts, controllers, wrappers and probes."""
_READING_POSTS = frozenset(
    {
        "/define/workflow_match",
        "/monitor/task_status",
        "/monitor/task_subtree",
        "/monitor/task_workflows",
        "/monitor/workflow/{workflow_id}/select",
    }
)
"""Questions that are too long for an address."""
_READ_BY_SCRIPTS = frozenset({"/monitor/task_status", "/monitor/workflow/{workflow_id}/errors"})
"""Questions a control script asks when its run is over."""


def only_reads(method: str, path: str) -> bool:
    """Whether a route changes nothing, whoever asks.

    Args:
        method: HTTP method.
        path: template of its path, with the prefix of its group, without that of all routes.
    """
    return method == "GET" or path in _READING_POSTS


def serves(role: Role, method: str, path: str) -> bool:
    """Whether a server of this role has a route; method and path as for :func:`only_reads`."""
    if role is Role.ALL:
        return True
    reads = only_reads(method, path)
    if role is Role.QUERY:
        return reads
    return not reads or not path.startswith(_PEOPLE) or path in _READ_BY_SCRIPTS


def refusal(role: Role) -> tuple[int, str, str]:
    """What a server of this role says to who asks for a route it does not have: HTTP status, message, hint."""
    if role is Role.QUERY:
        return (
            405,
            "This server answers questions only (its role is query).",
            "Send changes to a server of role state or all; http.service_url should name the address before both.",
        )
    return (
        404,
        "This server keeps the state of workflows and does not answer this question (its role is state).",
        "Ask a server of role query or all; http.service_url should name the address before both.",
    )
