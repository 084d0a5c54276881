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


def _request_id(request: Request) -> str:
    return str(request.scope.get("jobmon_request_id", ""))


async def _on_jobmon_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, JobmonError)
    if error.status_code >= 500:
        logger.error("request %s: %s", _request_id(request), error, exc_info=error)
    return error_response(error.status_code, type(error).__name__, str(error), _request_id(request))


async def _on_bad_message(request: Request, error: Exception) -> Response:
    hint = "Do client and server have the same version of Jobmon?"
    message = f"The request was not understood: {error}."
    return error_response(400, "InvalidUsage", message, _request_id(request), hint)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    names = {401: "NotAllowedError", 403: "NotAllowedError", 404: "NotFoundError", 405: "InvalidUsage"}
    name = names.get(error.status_code, "InvalidUsage")
    message = f"{request.method} {request.url.path}: {error.detail}."
    return error_response(error.status_code, name, message, _request_id(request))


async def _on_database_error(request: Request, error: Exception) -> Response:
    logger.error("request %s: database error", _request_id(request), exc_info=error)
    reason = getattr(error, "orig", None) or type(error).__name__
    status = 503 if isinstance(error, DBAPIError) and error.connection_invalidated else 500
    return error_response(status, "ServerError", f"The database failed: {reason}.", _request_id(request))


async def _on_any_error(request: Request, error: Exception) -> Response:
    logger.error("request %s failed", _request_id(request), exc_info=error)
    message = "The server failed to answer this request; its log says why."
    return error_response(500, "ServerError", message, _request_id(request))


def install(app: FastAPI) -> None:
    """Give the application these handlers."""
    app.add_exception_handler(JobmonError, _on_jobmon_error)
    app.add_exception_handler(msgspec.ValidationError, _on_bad_message)
    app.add_exception_handler(msgspec.DecodeError, _on_bad_message)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(SQLAlchemyError, _on_database_error)
    app.add_exception_handler(Exception, _on_any_error)
