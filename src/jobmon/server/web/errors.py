"""Every error leaves the server in one shape: ``{error, message, hint, request_id}``."""

from __future__ import annotations

import logging

import msgspec
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from jobmon.core.exceptions import JobmonError
from jobmon.core.requester import ErrorBody
from jobmon.server.web.failure_dialect import answer_to, is_fault_of_values

logger = logging.getLogger("jobmon.server")


TRY_AGAIN = frozenset({503, 507})
"""Statuses of requests that changed nothing, or nothing that the same request sent again would not, and may succeed then."""
RETRY_AFTER_SECONDS = 2
"""What their answers advise."""


def error_response(status: int, error: str, message: str, request_id: str, hint: str = "") -> Response:
    """An error as an HTTP response."""
    body = msgspec.json.encode(ErrorBody(error, message, hint, request_id))
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in TRY_AGAIN else None
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def response_to(error: Exception, request_id: str) -> Response:
    """The answer to a request that failed with an error; what is the server's fault is logged."""
    if is_fault_of_values(error):
        reason = getattr(error, "orig", None) or error
        message = f"A value of the request is larger than can be kept, or is no text: {reason}."
        return error_response(400, "InvalidUsage", message, request_id)
    if isinstance(error, SQLAlchemyError):
        error = answer_to(error) or error
    if isinstance(error, JobmonError):
        if error.status_code in TRY_AGAIN:
            logger.warning("request %s: %s", request_id, error)
        elif error.status_code >= 500:
            logger.error("request %s: %s", request_id, error, exc_info=error)
        return error_response(error.status_code, type(error).__name__, str(error), request_id)
    if isinstance(error, msgspec.MsgspecError):
        hint = "Do client and server have the same version of Jobmon?"
        return error_response(
            400, "InvalidUsage", f"The request was not understood: {error}.", request_id, hint
        )
    if isinstance(error, SQLAlchemyError):
        logger.error("request %s: database error", request_id, exc_info=error)
        reason = getattr(error, "orig", None) or type(error).__name__
        return error_response(500, "ServerError", f"The database failed: {reason}.", request_id)
    logger.error("request %s failed", request_id, exc_info=error)
    message = "The server failed to answer this request; its log says why."
    return error_response(500, "ServerError", message, request_id)


async def _on_error(request: Request, error: Exception) -> Response:
    return response_to(error, str(request.scope.get("jobmon_request_id", "")))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    names = {401: "NotAllowedError", 403: "NotAllowedError", 404: "NotFoundError", 405: "InvalidUsage"}
    name = names.get(error.status_code, "InvalidUsage")
    message = f"{request.method} {request.url.path}: {error.detail}."
    return error_response(error.status_code, name, message, str(request.scope.get("jobmon_request_id", "")))


async def _on_disconnect(request: Request, _: Exception) -> Response:
    """Nobody waits for this answer: the sender went away in the middle of the request, of which nothing was done."""
    request_id = str(request.scope.get("jobmon_request_id", ""))
    return error_response(400, "InvalidUsage", "The request was broken off.", request_id)


def install(app: FastAPI) -> None:
    """Give the application these handlers."""
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    known = (JobmonError, msgspec.ValidationError, msgspec.DecodeError, SQLAlchemyError, OverflowError)
    for kind in (*known, Exception):
        app.add_exception_handler(kind, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
