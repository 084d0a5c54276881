"""Links to the pages of the server, for people.

The pages of a local server are let into by a link that is good once. Such a link is written only where nobody else can read it:
to a terminal, a pipe or a private file. Elsewhere the address alone is, and the page says how to come in.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, TextIO

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError
from jobmon.core.ui_link import entrance, page_address

if TYPE_CHECKING:
    from jobmon.core.requester import Requester

ROOT = "/ui/"


def page_of(workflow_id: int | None) -> str:
    """Path of the page of a workflow; ``None``: of the first page."""
    return ROOT if workflow_id is None else f"{ROOT}workflow/{workflow_id}"


def workflow_page(requester: Requester, workflow_id: int, stream: TextIO | None = None) -> str:
    """Address of the page of a workflow; empty: the server cannot be reached now.

    Args:
        requester: how to reach the server.
        workflow_id: the workflow.
        stream: where it will be written; a link that lets in is made only for one that nobody else reads.
    """
    try:
        return page_link(
            requester, page_of(workflow_id), is_entrance=stream is not None and is_private(stream)
        )
    except JobmonError:
        return ""


def page_link(requester: Requester, path: str, *, is_entrance: bool) -> str:
    """Address of a page.

    Args:
        requester: how to reach the server; a local one is started if need be.
        path: such as ``/ui/workflow/12``.
        is_entrance: to a local server a link that lets in, once.

    Raises:
        LocalServerError: the local server cannot be started.
    """
    config = JobmonConfig()
    fixed = requester.fixed_address
    if fixed is not None and (gui_url := str(config.get("http", "gui_url"))):
        return page_address(gui_url, path)
    url = requester.url if fixed is None else fixed.url
    root = url.rstrip("/").removesuffix(str(config.get("http", "route_prefix")).rstrip("/"))
    address = requester.known_address
    token = address.token if fixed is None and is_entrance and address is not None else ""
    return entrance(root, token, path, time.time())


def tell_page(requester: Requester, workflow_id: int, stream: TextIO) -> None:
    """Write a line with the link to the page of a workflow."""
    from jobmon.client.progress import say

    link = workflow_page(requester, workflow_id, stream)
    if link:
        say(stream, f"workflow {workflow_id}: see it at {link}")


def is_private(stream: TextIO) -> bool:
    """Whether nobody but this user reads what is written there, as far as can be seen; notebooks are often shared."""
    from jobmon.client.notebook import is_notebook

    if is_notebook():
        return False
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO))
