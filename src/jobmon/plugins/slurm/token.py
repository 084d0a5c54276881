"""Tokens for slurmrestd: where they come from, how long they last, and their renewal in good time.

A token is a JSON web token. It is as good as a password: it stands in no argument list, no log and no message, and a
file of it that everybody may read is refused.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from jobmon.core.exceptions import ClusterUnreachable

VARIABLE = "SLURM_JWT"
"""Environment variable with a token, and the name before it in what ``scontrol token`` prints."""
DEFAULT_COMMAND = ("scontrol", "token", "lifespan=1800")
RENEWAL_SHARE = 0.8
"""Share of a token's life after which another is asked for."""
NAMES_IN_ANSWER = ("token", VARIABLE, "access_token", "jwt")
"""Under which names a token may stand in the JSON a service answers with."""

Source = Callable[[], str]
"""Gives the text of a new token, or raises :class:`~jobmon.core.exceptions.ClusterUnreachable`."""


@dataclass(frozen=True)
class Token:
    """A token; its text is never shown.

    Attributes:
        text: what is sent.
        renew_at: moment (Unix seconds) from which another should be used; infinite: it does not say when it ends.
    """

    text: str = field(repr=False)
    renew_at: float


class TokenKeeper:
    """Keeps a token and fetches another in good time. May be used from several threads.

    Args:
        source: where tokens come from.
        clock: the present moment in Unix seconds.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = time.time) -> None:
        self._source, self._clock = source, clock
        self._token: Token | None = None
        self._lock = threading.Lock()

    def current(self) -> str:
        """Text of a token that is good for a while.

        Raises:
            ClusterUnreachable: none can be had.
        """
        with self._lock:
            if self._token is None or self._clock() >= self._token.renew_at:
                self._token = token_of(self._source(), self._clock())
            return self._token.text

    def reject(self, text: str) -> None:
        """Forget a token that was not accepted, unless it was replaced already."""
        with self._lock:
            if self._token is not None and self._token.text == text:
                self._token = None


# -- pure ---------------------------------------------------------------------------------------------
def token_of(text: str, now: float) -> Token:
    """The token with the moment of its renewal, by what it says of itself; its signature is not looked at."""
    claims = claims_of(text)
    expires = _moment(claims.get("exp"))
    if expires is None:
        return Token(text, float("inf"))
    issued = _moment(claims.get("iat"))
    begins = now if issued is None or issued > expires else issued
    return Token(text, begins + RENEWAL_SHARE * (expires - begins))


def claims_of(text: str) -> Mapping[str, Any]:
    """What a JSON web token says of itself; nothing where it is of another kind."""
    parts = text.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def read_token(text: str) -> str:
    """The token in what a command printed, a file holds or a service answered.

    Taken are ``SLURM_JWT=…`` on a line of its own, JSON with one of :data:`NAMES_IN_ANSWER`, or nothing but the token.

    Raises:
        ValueError: there is none; the message does not show the text.
    """
    for line in reversed(text.splitlines()):
        name, equals, value = line.strip().partition("=")
        if equals and name == VARIABLE:
            return _checked(value)
    if text.lstrip().startswith(("{", '"')):
        try:
            return _checked(_token_in(json.loads(text)))
        except json.JSONDecodeError:
            raise ValueError("is no JSON") from None
    return _checked(text.strip())


def _token_in(answer: Any) -> str:
    if isinstance(answer, dict):
        answer = next((answer[name] for name in NAMES_IN_ANSWER if name in answer), None)
    return answer if isinstance(answer, str) else ""


def _checked(token: str) -> str:
    if not token:
        raise ValueError("holds no token")
    if not all("!" <= character <= "~" for character in token):
        raise ValueError("holds something else than a token")
    return token


def _moment(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# -- sources ------------------------------------------------------------------------------------------
def from_file(path: Path) -> Source:
    """A file that somebody keeps up to date; it is read anew for each token."""

    def read() -> str:
        try:
            if path.stat().st_mode & stat.S_IROTH:
                raise ClusterUnreachable(
                    f"The file with the Slurm token, {path}, may be read by everybody; that gives your jobs away. "
                    f"Close it: chmod 600 {path}"
                )
            return read_token(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterUnreachable(f"The file with the Slurm token cannot be read: {error}.") from None
        except ValueError as error:
            raise ClusterUnreachable(f"The file with the Slurm token, {path}, {error}.") from None

    return read


def from_command(words: tuple[str, ...], timeout_seconds: float) -> Source:
    """A command that prints a token; a token in the environment is kept from it, as it would be asked with that one."""

    def run() -> str:
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        try:
            done = subprocess.run(
                words,
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_seconds,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            raise ClusterUnreachable(
                f"The command for a Slurm token did not answer within {timeout_seconds:g} s: {' '.join(words)}"
            ) from None
        except OSError as error:
            raise ClusterUnreachable(
                f"The command for a Slurm token cannot be run: {error}. Set token_command, token_file or "
                f"slurmtool_token_host in the connection parameters of the cluster, or {VARIABLE} in the environment."
            ) from None
        if done.returncode != 0:
            raise ClusterUnreachable(
                f"The command for a Slurm token failed ({' '.join(words)}): {done.stderr.strip()[-300:]}"
            )
        try:
            return read_token(done.stdout)
        except ValueError as error:
            raise ClusterUnreachable(f"What {' '.join(words)} printed {error}.") from None

    return run


def from_service(url: str, user: str, timeout_seconds: float) -> Source:
    """A service that answers ``GET url`` with a token.

    ``{user}`` in the address is replaced by the user's name; without it, ``username=NAME`` is added to the query. The
    answer is read by :func:`read_token`.
    """

    def ask() -> str:
        address = httpx.URL(url.replace("{user}", user))
        if "{user}" not in url:
            address = address.copy_merge_params({"username": user})
        try:
            answer = httpx.get(address, timeout=timeout_seconds, follow_redirects=False)
        except httpx.HTTPError as error:
            raise ClusterUnreachable(
                f"The service for Slurm tokens did not answer ({address}): {error}"
            ) from None
        if answer.status_code != httpx.codes.OK:
            raise ClusterUnreachable(
                f"The service for Slurm tokens gave none ({address}): status {answer.status_code}."
            )
        try:
            return read_token(answer.text)
        except ValueError as error:
            raise ClusterUnreachable(
                f"What the service for Slurm tokens answered ({address}) {error}."
            ) from None

    return ask


def from_environment_or(fallback: Source, clock: Callable[[], float] = time.time) -> Source:
    """The token in ``SLURM_JWT`` as long as it is good, then another source."""

    def take() -> str:
        text = os.environ.get(VARIABLE, "")
        try:
            token = token_of(read_token(text), clock())
        except ValueError:
            return fallback()
        return token.text if clock() < token.renew_at else fallback()

    return take
