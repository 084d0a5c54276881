"""Every error Jobmon raises on purpose::

    JobmonError
    ├── UsageError                       the call, the script or the configuration is at fault
    │   ├── ConfigError
    │   ├── SharedFileError              a file for the compute nodes cannot be written
    │   ├── InvalidRequest               the server refused a request (4xx)
    │   ├── WireVersionMismatch          client and server are too far apart in version
    │   ├── RequestTooLarge              the server takes no request of that size
    │   ├── InvalidMemoryFormat, InvalidMemoryUnit
    │   ├── InvalidResourceScale         (also a ValueError)
    │   ├── CallableReturnedInvalidObject
    │   ├── DuplicateNodeArgsError, NodeDependencyNotExistError, CyclicGraphError
    │   ├── EmptyWorkflowError           (also a RuntimeError)
    │   ├── UnknownClusterError, UnknownQueueError   (also ValueErrors)
    │   ├── WorkflowAlreadyExists, WorkflowAlreadyComplete, WorkflowNotResumable
    │   └── WorkflowRunStateError
    ├── ServerError                      the server is at fault or out of reach
    │   ├── InvalidResponse
    │   ├── ServerBusy                   it has no room for more requests at the moment
    │   ├── RetryBudgetExhausted         (also a RuntimeError)
    │   └── LocalServerError             the embedded server could not be started or reached
    ├── ClusterError                     the cluster is at fault
    │   ├── RemoteExitInfoNotAvailable
    │   ├── SubmissionError
    │   │   └── BatchTooLarge
    │   └── ClusterUnreachable, ClusterBusy
    ├── TransitionError                  an event came at the wrong time
    │   └── InvalidStateTransition
    ├── WorkflowTimeoutError             (also a RuntimeError)
    ├── DistributorNotAlive, DistributorStartupTimeout, DistributorUnexpected, DistributorInterruptedError
    ├── ResumeSet                        somebody asked for a resume of this workflow
    └── WorkflowTestError

The docstring of a class is its message where none is given. ``status_code`` is the HTTP status the server
answers with when the error leaves a route.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from enum import IntEnum


class ReturnCodes(IntEnum):
    """Exit codes of the worker node wrapper."""

    OK = 0
    WORKER_NODE_ENV_FAILURE = 198
    WORKER_NODE_CLI_FAILURE = 199


class JobmonError(Exception):
    """Something went wrong inside Jobmon."""

    status_code: int = 500

    def __init__(self, message: str = "", *args: object) -> None:
        """Fall back on the class docstring as the message."""
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or type(self).__name__), *args)


class UsageError(JobmonError):
    """The request cannot be carried out as it was made."""

    status_code = 400


class ConfigError(UsageError):
    """The configuration lacks a value or holds one that cannot be used."""


class SharedFileError(UsageError):
    """A file that the compute nodes read cannot be written; look at distributor.shared_directory."""


class InvalidRequest(UsageError):
    """The server refused the request."""


class WireVersionMismatch(UsageError):
    """The versions of client and server do not understand each other; upgrade the older one."""

    status_code = 426


class RequestTooLarge(UsageError):
    """The request is larger than the server takes (server.max_request_bytes)."""

    status_code = 413


class InvalidUsage(UsageError):
    """The request is not one this server understands."""


class NotFoundError(UsageError):
    """There is no such thing in the database."""

    status_code = 404


class NotAllowedError(UsageError):
    """Only the owner of a workflow may change it."""

    status_code = 403


class InvalidMemoryFormat(UsageError):
    """Memory is written as a whole number and a unit, such as 8G or 500M."""


class InvalidMemoryUnit(UsageError):
    """The units of memory are B, K, M, G and T."""


class InvalidResourceScale(UsageError, ValueError):
    """A resource scale must be a number, or a function or an iterator that gives numbers."""


class CallableReturnedInvalidObject(UsageError):
    """A compute_resources_callable must return a dictionary of resources."""


class DuplicateNodeArgsError(UsageError):
    """Two tasks of a workflow have the same task template and the same node args."""


class NodeDependencyNotExistError(UsageError):
    """A task depends on a task that was not added to the workflow."""


class CyclicGraphError(UsageError):
    """The dependencies of the tasks form a circle."""


class EmptyWorkflowError(UsageError, RuntimeError):
    """The workflow has no tasks; add some with workflow.add_tasks() before it is bound."""


class UnknownClusterError(UsageError, ValueError):
    """There is no cluster of that name."""

    status_code = 404


class UnknownQueueError(UsageError, ValueError):
    """There is no queue of that name on the cluster."""

    status_code = 404


class WorkflowAlreadyExists(UsageError):
    """This workflow exists already; use run(resume=True) to go on with it, or other workflow_args for a new one."""

    status_code = 409


class WorkflowAlreadyComplete(UsageError):
    """Every task of this workflow is done already; use other workflow_args for a new one."""

    status_code = 409


class WorkflowNotResumable(UsageError):
    """Another run of this workflow is alive."""

    status_code = 409


class WorkflowRunStateError(UsageError):
    """The workflow run is not in the state that was expected."""

    status_code = 409


class ServerError(JobmonError):
    """The Jobmon server failed to answer the request; its log says why."""


class InvalidResponse(ServerError):
    """The answer of the Jobmon server was not understood; do client and server have the same version?"""


class ServerBusy(ServerError):
    """The Jobmon server has no room for more requests at the moment; try again later."""

    status_code = 503


class RetryBudgetExhausted(ServerError, RuntimeError):
    """Exceeded HTTP request retry budget: the Jobmon server could not be reached in time."""


class LocalServerError(ServerError):
    """The local Jobmon server could not be started."""


class ClusterError(JobmonError):
    """The cluster did not do what it was asked."""


class RemoteExitInfoNotAvailable(ClusterError):
    """The cluster does not know (yet) how the job ended."""


class SubmissionError(ClusterError):
    """The cluster did not accept the job."""


class BatchTooLarge(SubmissionError):
    """The cluster takes no batch of so many steps, but smaller ones.

    Args:
        message: what it said.
        most_steps: how many it takes at once, at most.
    """

    def __init__(self, message: str = "", most_steps: int = 1) -> None:
        super().__init__(message)
        self.most_steps = most_steps


class ClusterUnreachable(ClusterError):
    """The cluster did not answer, or what it said could not be understood: nothing is known, nothing has failed."""


class ClusterBusy(ClusterError):
    """The cluster takes no more jobs for the moment (limits on submitted jobs); try again later."""


class TransitionError(JobmonError):
    """An event arrived that its state does not allow."""

    status_code = 409

    def __init__(self, message: str = "", story: Sequence[str] = ()) -> None:
        """Append the story, one earlier transition a line, to the message."""
        self.story = tuple(story)
        text = message or inspect.cleandoc(type(self).__doc__ or "")
        super().__init__("\n  ".join([text, *self.story]) if story else text)


class InvalidStateTransition(TransitionError):
    """Raised by the state tables for an event that is absent from a state."""

    def __init__(
        self, model: str, id: int | str, old_state: str, new_state: str, story: Sequence[str] = ()
    ) -> None:
        """Name the thing, where it was and what was asked of it."""
        self.model, self.id, self.old_state, self.new_state = model, id, old_state, new_state
        super().__init__(f"{model} {id} is {old_state}: '{new_state}' is not allowed from there.", story)


class WorkflowTimeoutError(JobmonError, RuntimeError):
    """The workflow run met its timeout."""


class DistributorNotAlive(JobmonError):
    """The distributor died."""


class DistributorStartupTimeout(JobmonError):
    """The distributor did not start in time."""


class DistributorUnexpected(JobmonError):
    """The distributor said something that was not understood."""


class DistributorInterruptedError(JobmonError):
    """The distributor was interrupted."""


class ResumeSet(JobmonError):
    """Somebody asked for a resume of this workflow; this run ends."""


class WorkflowTestError(JobmonError):
    """Raised on purpose by a test hook."""
