"""Tokens for slurmrestd: read from anywhere, renewed in good time, shown nowhere."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.exceptions import ClusterUnreachable
from jobmon.plugins.slurm.token import (
    TokenKeeper,
    claims_of,
    from_command,
    from_environment_or,
    from_file,
    read_token,
    token_of,
)

NOW = 1_000_000.0


def web_token(**claims: object) -> str:
    """A JSON web token that says so of itself."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{body}.c2lnbmF0dXJl"


@given(st.integers(0, 10**10), st.integers(1, 10**7))
def test_a_token_is_renewed_after_four_fifths_of_its_life(issued: int, life: int) -> None:
    """Whenever it was given out and however long it lives."""
    token = token_of(web_token(iat=issued, exp=issued + life, sun="me"), NOW)
    assert token.renew_at == pytest.approx(issued + 0.8 * life)


@pytest.mark.parametrize("text", ["plain", "a.b.c", "a.!!.c", "..", web_token(exp="soon"), web_token()])
def test_a_token_that_does_not_say_when_it_ends_is_kept(text: str) -> None:
    """It may be of another kind."""
    assert token_of(text, NOW).renew_at == float("inf")


def test_a_token_without_its_beginning_begins_now() -> None:
    """Only its end is certain."""
    assert token_of(web_token(exp=NOW + 100), NOW).renew_at == pytest.approx(NOW + 80)


@given(st.text())
def test_claims_of_anything(text: str) -> None:
    """No text is too strange."""
    assert isinstance(claims_of(text), dict)


@pytest.mark.parametrize(
    "text",
    [
        "SLURM_JWT=ey.b.c\n",
        "some words\nSLURM_JWT=ey.b.c\n",
        "ey.b.c\n",
        '{"token": "ey.b.c", "exp": 5}',
        '{"SLURM_JWT": "ey.b.c"}',
        '{"access_token": "ey.b.c"}',
        '"ey.b.c"',
    ],
)
def test_where_a_token_may_stand(text: str) -> None:
    """As scontrol prints it, bare, or in JSON."""
    assert read_token(text) == "ey.b.c"


@pytest.mark.parametrize(
    "text", ["", "SLURM_JWT=\n", "two words", "{}", '{"token": 5}', "{broken", "é", "a\nb"]
)
def test_what_is_no_token(text: str) -> None:
    """The message does not repeat it: it might be a token with a flaw."""
    with pytest.raises(ValueError) as caught:
        read_token(text)
    assert not text or text not in str(caught.value)


def test_a_keeper_renews_in_good_time_and_after_a_refusal() -> None:
    """One is fetched at first, at the time of renewal, and after one was not accepted; not in between."""
    now = [NOW]
    given_out = []

    def source() -> str:
        given_out.append(web_token(iat=now[0], exp=now[0] + 100, n=len(given_out)))
        return given_out[-1]

    keeper = TokenKeeper(source, clock=lambda: now[0])
    first = keeper.current()
    now[0] += 79
    assert keeper.current() == first
    now[0] += 1
    second = keeper.current()
    assert second != first
    keeper.reject(first)  # somebody who still had the old one
    assert keeper.current() == second
    keeper.reject(second)
    assert keeper.current() != second
    assert len(given_out) == 3


def test_a_token_is_not_shown() -> None:
    """Neither by itself nor by its keeper."""
    keeper = TokenKeeper(lambda: web_token(exp=NOW + 1), clock=lambda: NOW)
    text = keeper.current()
    assert text not in repr(token_of(text, NOW))
    assert text not in repr(keeper)


def test_a_file_is_read_anew_and_must_be_closed_to_others(tmp_path: Path) -> None:
    """Somebody keeps it up to date; what everybody may read is refused."""
    path = tmp_path / "token"
    source = from_file(path)
    with pytest.raises(ClusterUnreachable, match="cannot be read"):
        source()
    path.touch(0o600)
    with pytest.raises(ClusterUnreachable, match="no token"):
        source()
    path.write_text("SLURM_JWT=one\n")
    assert source() == "one"
    path.write_text("two")
    assert source() == "two"
    path.chmod(0o644)
    with pytest.raises(ClusterUnreachable, match="chmod 600"):
        source()


def test_a_command_prints_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token in the environment is kept from it, as scontrol would use that one."""
    monkeypatch.setenv("SLURM_JWT", "old")
    script = "import os; print('SLURM_JWT=new', os.environ.get('SLURM_JWT', ''), sep='')"
    assert from_command((sys.executable, "-c", script), 30)() == "new"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("/no/such/program",), "cannot be run"),
        ((sys.executable, "-c", "raise SystemExit('not today')"), "not today"),
        ((sys.executable, "-c", "print('a secret that is no token')"), "printed holds something else"),
        ((sys.executable, "-c", "input(); import time; time.sleep(60)"), "failed"),
    ],
)
def test_a_command_that_gives_none(words: tuple[str, ...], said: str) -> None:
    """It is not known how the cluster is; what was printed is not repeated."""
    with pytest.raises(ClusterUnreachable, match=said) as caught:
        from_command(words, 30)()
    assert "secret" not in str(caught.value) or "secret" in " ".join(words)


def test_a_command_that_hangs() -> None:
    """It is given up."""
    with pytest.raises(ClusterUnreachable, match=r"within 0\.5 s"):
        from_command((sys.executable, "-c", "import time; time.sleep(60)"), 0.5)()


def test_the_environment_comes_first_as_long_as_it_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old token, or none, is replaced."""
    source = from_environment_or(lambda: "fallback", clock=lambda: NOW)
    good = web_token(iat=NOW - 10, exp=NOW + 100)
    monkeypatch.setenv("SLURM_JWT", good)
    assert source() == good
    monkeypatch.setenv("SLURM_JWT", web_token(iat=NOW - 100, exp=NOW - 10))
    assert source() == "fallback"
    monkeypatch.delenv("SLURM_JWT")
    assert source() == "fallback"
