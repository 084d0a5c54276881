"""Who asks, and what they may do. Pure.

Rules
-----
1. Every route says which access it asks for (:class:`Access`), and every request has an :class:`Identity`.
2. What an identity may do at all follows from its role (:data:`GRANTS`). What it may do to a workflow follows from whose
   that is: its owner's and every administrator's (:func:`may_change`). There is no other rule.
3. Where nobody signs in (``auth.mode`` none) a name is what its sender says it is: the second rule holds all the same, so that
   friends do not change each other's things by mistake, and the first lets everybody pass.
4. The token of a wrapper is good for reports of attempts of one workflow, and for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UserRole(StrEnum):
    """What somebody is."""

    OBSERVER = "observer"
    USER = "user"
    ADMIN = "admin"
    WORKER = "worker"


SIGN_IN_ROLES = (UserRole.USER, UserRole.ADMIN, UserRole.OBSERVER)
"""Roles of people; that of wrappers is not given to them."""


class Access(StrEnum):
    """What a route asks of who uses it."""

    OPEN = "open"
    """Nothing: it tells only that there is a server."""
    READ = "read"
    """To be known: it looks at things and changes nothing."""
    USER = "user"
    """To be one who runs things: it adds to what all share, or to what is one's own."""
    OWNER = "owner"
    """To own the workflow that the path names, by the id of itself, of a run, or of a task."""
    OWNER_OR_TASK = "owner or task"
    """The same; where nobody signs in, tasks run as others may use it too."""
    ADMIN = "admin"
    """To look after the server: it changes what everybody's jobs depend on."""
    WORKER = "worker"
    """To speak for attempts: their wrapper, their owner."""


GRANTS: dict[UserRole, frozenset[Access]] = {
    UserRole.OBSERVER: frozenset({Access.OPEN, Access.READ}),
    UserRole.USER: frozenset(Access) - {Access.ADMIN},
    UserRole.ADMIN: frozenset(Access),
    UserRole.WORKER: frozenset({Access.OPEN, Access.WORKER}),
}
"""What each role may use; whose a workflow is comes on top."""
OWNED = frozenset({Access.OWNER, Access.OWNER_OR_TASK})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        user: name.
        role: what they are.
        is_proven: they showed a token or signed in; otherwise they are who they say they are.
        workflow_run_id: for wrappers the run whose controller gave them their token.
        workflow_id: for wrappers the workflow whose attempts they may speak for; ``None``: all.
    """

    user: str
    role: UserRole = UserRole.USER
    is_proven: bool = True
    workflow_run_id: int | None = None
    workflow_id: int | None = None


def claimed(user: str) -> Identity:
    """Somebody where nobody signs in."""
    return Identity(user, is_proven=False)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a workflow is.

    Attributes:
        workflow_id: the workflow.
        user: who registered it; empty: nobody knows, and it is whose who runs it first.
    """

    workflow_id: int
    user: str


def refusal(identity: Identity, access: Access) -> str:
    """Why a role may not use a route; empty: it may."""
    is_free = not identity.is_proven and identity.role is not UserRole.WORKER
    if is_free or access in GRANTS[identity.role]:
        return ""
    if identity.role is UserRole.WORKER:
        return "This bearer token is good for reports of attempts only."
    if access is Access.ADMIN:
        return f"Only administrators may do this; user {identity.user} is none (role {identity.role})."
    return (
        f"User {identity.user} has the role {identity.role}, which may look at everything and change nothing."
    )


def may_change(identity: Identity, owner: Owner) -> bool:
    """Whether somebody may change a workflow and what belongs to it: its owner, or an administrator."""
    return not owner.user or identity.user == owner.user or _is_admin(identity)


def may_report(identity: Identity, owner: Owner) -> bool:
    """Whether somebody may speak for the attempts of a workflow."""
    if identity.role is UserRole.WORKER:
        return identity.workflow_id in (None, owner.workflow_id)
    return not identity.is_proven or may_change(identity, owner)


def may_report_all(identity: Identity) -> bool:
    """Whether somebody may speak for every attempt there is, so that it need not be asked whose one is."""
    if identity.role is UserRole.WORKER:
        return identity.workflow_id is None
    return not identity.is_proven or _is_admin(identity)


def _is_admin(identity: Identity) -> bool:
    return identity.is_proven and identity.role is UserRole.ADMIN


def stranger(identity: Identity, owner: Owner) -> str:
    """What is said to who may not change a workflow."""
    return (
        f"Workflow {owner.workflow_id} belongs to user {owner.user}; "
        f"user {identity.user or '(unknown)'} may not change it."
    )
