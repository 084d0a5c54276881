"""Every route says what it asks of who uses it, and nothing is served that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from jobmon.server.web.identity import (
    GRANTS,
    OWNED,
    Access,
    Identity,
    Owner,
    UserRole,
    may_change,
    may_report,
)
from jobmon.server.web.roles import only_reads
from jobmon.server.web.routes import all_routers, probes
from jobmon.server.web.store.ownership import SUBJECTS
from jobmon.server.web.ui.browser import SIGN_IN_PATH, UI
from jobmon.server.web.ui.pages import all_pages
from jobmon.server.web.wire import WireRoute, WireRouter

ROUTES = [
    (router.prefix + route.path, route)
    for router in [*all_routers(), probes.router]
    for route in router.routes
]
EVERY = pytest.mark.parametrize(
    ("path", "route"), ROUTES, ids=[f"{route.method} {path}" for path, route in ROUTES]
)


@EVERY
def test_every_route_says_what_it_asks_for(path: str, route: WireRoute) -> None:
    """What reads asks for no more than to be known, and what changes something for more than that."""
    assert route.access is not None, "say access=Access.… where the route is registered"
    is_for_readers = route.access in (Access.READ, Access.OPEN)
    assert is_for_readers == only_reads(route.method, path)


@EVERY
def test_what_belongs_to_a_workflow_is_its_owners(path: str, route: WireRoute) -> None:
    """A route that changes something and names a workflow, a run or a task asks for the owner, or adds what a script says."""
    names_one = any(f"{{{subject}}}" in path for subject in SUBJECTS)
    if route.access in OWNED:
        assert names_one
    elif names_one and route.access is not Access.READ:
        assert path in {
            "/define/workflow/{workflow_id}/arrays",
            "/define/workflow/{workflow_id}/tasks",
            "/define/workflow/{workflow_id}/bound",
        }, "the store refuses strangers there (tests/routes/test_auth.py); elsewhere ask for the owner"


def served(routes: list[BaseRoute]) -> Iterator[tuple[str, set[str]]]:
    for context in iter_route_contexts(routes):
        yield context.path or "", set(context.methods or ())


def test_what_is_served_beside_the_routes_only_reads(app: FastAPI) -> None:
    """Whatever is no route of messages, and no form, has nothing but GET: nobody looks there whose a workflow is."""
    known = {path for path, _ in ROUTES}
    forms = {UI + page.path for pages in all_pages() for page in pages.routes if page.act is not None}
    beside = {
        path: methods
        for path, methods in served(app.routes)
        if path not in known and path.removeprefix("/api/v3") not in known and path not in forms
    }
    assert beside
    changing = {path for path, methods in beside.items() if methods - {"GET", "HEAD"}}
    assert changing == {SIGN_IN_PATH, f"{UI}/sign-out"}


def test_forms_ask_for_the_owner_of_what_they_name() -> None:
    """Those that name no workflow and no task change what all share, and ask for more than to be known."""
    forms = [page for pages in all_pages() for page in pages.routes if page.act is not None]
    assert forms
    for form in forms:
        is_named = "{workflow_id}" in form.path or "{task_id}" in form.path
        assert form.access is Access.OWNER if is_named else form.access in (Access.USER, Access.ADMIN)


def test_a_route_whose_owner_cannot_be_told_is_refused_at_import() -> None:
    """Without an id in its path, or on the event loop."""
    router = WireRouter("/x")
    with pytest.raises(TypeError, match="POST /y"):
        router.route("POST", "/y", access=Access.OWNER, response=int)(lambda context: 1)

    async def on_the_loop(context: object, task_id: int) -> int:
        return task_id

    with pytest.raises(TypeError, match="POST /z"):
        router.route("POST", "/z/{task_id}", access=Access.OWNER, response=int)(on_the_loop)


# -- the rules themselves -----------------------------------------------------------------------------------
def test_roles_form_a_ladder() -> None:
    """Who may do more may do all that others may; wrappers stand beside it."""
    observer, user, admin = (GRANTS[r] for r in (UserRole.OBSERVER, UserRole.USER, UserRole.ADMIN))
    assert observer < user < admin == set(Access)
    assert GRANTS[UserRole.WORKER] == {Access.OPEN, Access.WORKER}


@pytest.mark.parametrize(
    ("who", "changes", "reports"),
    [
        (Identity("ada"), True, True),
        (Identity("eve"), False, False),
        (Identity("eve", UserRole.ADMIN), True, True),
        (Identity("eve", is_proven=False), False, True),
        (Identity("ada", is_proven=False), True, True),
        (Identity("eve", UserRole.ADMIN, is_proven=False), False, True),
        (Identity("ada", UserRole.WORKER, workflow_id=7), True, True),
        (Identity("ada", UserRole.WORKER, workflow_id=8), True, False),
        (Identity("", UserRole.WORKER), False, True),
    ],
    ids=repr,
)
def test_the_one_rule(who: Identity, changes: bool, reports: bool) -> None:
    """The owner and administrators change a workflow. That a wrapper does not, its role says before that."""
    owner = Owner(7, "ada")
    assert (may_change(who, owner), may_report(who, owner)) == (changes, reports)
    assert may_change(who, Owner(7, ""))
