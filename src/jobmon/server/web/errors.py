"""Every error leaves the server in one shape: ``{error, message, hint, request_id}``."""

from __future__ import annotations

import logging

import msgspec
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from jobmon.core.exceptions import JobmonError
from jobmon.core.requester import ErrorBody

logger = logging.getLogger("jobmon.server")


def error_response(status: int, error: str, message: str, request_id: str, hint: str = "") -> Response:
    """An error as an HTTP response."""
    body = msgspec.json.encode(ErrorBody(error, message, hint, request_id))
    return Response(body, status_code=status, media_type="application/json")


def response_to(error: Exception, request_id: str) -> Response:
    """The answer to a request that failed with an error; what is the server's fault is logged."""
    if isinstance(error, JobmonError):
        if error.status_code >= 500:
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
        status = 503 if isinstance(error, DBAPIError) and error.connection_invalidated else 500
        return error_response(status, "ServerError", f"The database failed: {reason}.", request_id)
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


def install(app: FastAPI) -> None:
    """Give the application these handlers."""
    for kind in (JobmonError, msgspec.ValidationError, msgspec.DecodeError, SQLAlchemyError, Exception):
        app.add_exception_handler(kind, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
