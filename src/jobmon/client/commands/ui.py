"""The pages of the server: open them in a browser, or say where they are."""

from __future__ import annotations

import html
import os
from pathlib import Path

from jobmon.client.pages import page_link, page_of
from jobmon.core.configuration import JobmonConfig
from jobmon.core.local_server import LocalServerFiles
from jobmon.core.requester import Requester

OPENING_PAGE = "open.html"


def page_url(workflow_id: int | None = None, requester: Requester | None = None) -> str:
    """Link to the first page, or to that of a workflow; to a local server, which is started if need be, one that is good once.

    Raises:
        LocalServerError: the local server cannot be started.
    """
    return page_link(requester or Requester.from_defaults(), page_of(workflow_id), is_entrance=True)


def open_pages(workflow_id: int | None = None, requester: Requester | None = None) -> str:
    """Open the page in a browser; what was done, in words.

    A link that lets in is not told to the browser on its command line, which others can read, but by a private file.

    Raises:
        LocalServerError: the local server cannot be started.
    """
    import webbrowser

    requester = requester or Requester.from_defaults()
    link = page_url(workflow_id, requester)
    shown = page_link(requester, page_of(workflow_id), is_entrance=False)
    target = link if link == shown else _write_opening_page(link).as_uri()
    if webbrowser.open(target):
        return f"Opened {shown} in a browser. For a browser elsewhere: jobmon ui --print-url"
    return f"No browser could be started here. Open this link, which is good once:\n{link}"


def _write_opening_page(link: str) -> Path:
    """A page that leads to a link, which only this user can read."""
    path = LocalServerFiles.from_config(JobmonConfig()).directory / OPENING_PAGE
    path.unlink(missing_ok=True)
    target = html.escape(link, quote=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Jobmon</title>'
            f'<meta http-equiv="refresh" content="0; url={target}"><p><a href="{target}">Jobmon</a></p></html>\n'
        )
    return path
