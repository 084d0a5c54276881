"""Sign-in of browsers, against an identity provider on loopback that signs real tokens."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, running
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient
from test_every_route import assert_error, make_scene

from jobmon.core.access_token import new_token, token_hash
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError
from jobmon.server.web import dialect
from jobmon.server.web.api import get_app
from jobmon.server.web.auth.sessions import COOKIE, session_identity
from jobmon.server.web.auth.settings import AuthMode, auth_mode, is_loopback, require_usable
from jobmon.server.web.identity import Identity, UserRole
from jobmon.server.web.store.tokens import token_create
from jobmon.server.web.sub_path import below

pytestmark = pytest.mark.sqlite
SIGN_IN = "/api/auth/oidc"
LOOK = "/api/v3/monitor/workflow_status"
KEY = "k" * 40


@pytest.fixture(scope="module")
def provider_process() -> Iterator[IdentityProvider]:
    provider = IdentityProvider()
    with running(provider):
        yield provider


@pytest.fixture
def provider(provider_process: IdentityProvider) -> IdentityProvider:
    """As it was when it began, with the same keys."""
    one = provider_process
    one.person = {"sub": "42", "email": "ada@example.org", "email_verified": True, "name": "Ada L."}
    one.lies, one.refuses, one.algorithm, one.key = {}, "", "RS256", one.published
    return one


@pytest.fixture
def oidc(config: JobmonConfig, provider: IdentityProvider) -> JobmonConfig:
    """Configuration of a server whose browsers sign in there."""
    settings = {
        "conf_url": f"{provider.url}/.well-known/openid-configuration",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "admin_group": "jobmon-admins",
        "observer_group": "guests",
    }
    config.set("auth", "mode", "oidc")
    config.set("session", "secret_key", KEY)
    for name, value in settings.items():
        config.set("oidc", name, value)
    return config


@pytest.fixture
def app(oidc: JobmonConfig) -> Iterator[FastAPI]:
    app = get_app(oidc)
    yield app
    app.state.jobmon.database.dispose()


def browser_of(app: FastAPI, url: str = "http://testserver") -> TestClient:
    return TestClient(app, base_url=url, follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture
def browser(app: FastAPI) -> Iterator[TestClient]:
    with browser_of(app) as client:
        yield client


def way_back(browser: TestClient) -> str:
    """Where the provider sends a browser that wants to sign in."""
    there = browser.get(f"{SIGN_IN}/login")
    assert there.status_code == 302
    return str(httpx.get(there.headers["location"], trust_env=False).headers["location"])


def sign_in(browser: TestClient) -> Any:
    return browser.get(way_back(browser))


# -- who it is ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (None, "user"),
        ([], "user"),
        (["staff", "jobmon-admins"], "admin"),
        (["guests"], "observer"),
        (["guests", "jobmon-admins"], "admin"),
        ("jobmon-admins", "admin"),
        ([["jobmon-admins"], 5, ""], "user"),
        ({"jobmon-admins": True}, "user"),
    ],
)
def test_groups_say_what_somebody_may_do(
    browser: TestClient, provider: IdentityProvider, groups: object, role: str
) -> None:
    """The user is the part of the address before the @."""
    if groups is not None:
        provider.person["groups"] = groups
    done = sign_in(browser)
    assert (done.status_code, done.headers["location"]) == (302, "/")
    assert browser.get(f"{SIGN_IN}/userinfo").json() == {"user": "ada", "name": "Ada L.", "role": role}
    assert browser.get(LOOK).status_code == 200


def test_groups_of_applications_do_not_count(oidc: JobmonConfig, provider: IdentityProvider) -> None:
    """Nor is anybody an administrator where no group is named."""
    for group in ("app-jobmon", ""):
        oidc.set("oidc", "admin_group", group)
        provider.person["groups"] = ["app-jobmon", "app-x", ""]
        app = get_app(oidc)
        with browser_of(app) as browser:
            sign_in(browser)
            assert browser.get(f"{SIGN_IN}/userinfo").json()["role"] == "user"


def test_what_a_browser_may_do_follows_from_its_user(
    app: FastAPI, browser: TestClient, provider: IdentityProvider
) -> None:
    """As with a token: their own things, and as administrator all; pages of other sites change nothing."""
    scene = make_scene(app.state.jobmon.database)
    limit, body = f"/api/v3/swarm/workflow/{scene.workflow.workflow_id}/limit", {"max_tasks": 3}
    sign_in(browser)
    assert "belongs to user tester" in assert_error(browser.put(limit, json=body), 403).message
    provider.person["email"] = "tester@example.org"
    sign_in(browser)
    assert browser.put(limit, json=body).status_code == 200
    for site, status in (("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)):
        headers = {"Sec-Fetch-Site": site, "X-Jobmon-User": "eve"}
        assert browser.put(limit, json=body, headers=headers).status_code == status
        assert browser.get(LOOK, headers=headers).status_code == 200


def test_scripts_show_tokens(app: FastAPI, browser: TestClient) -> None:
    """A token goes before the session; one that is not good is refused whoever has signed in."""
    made = new_token()
    with app.state.jobmon.database.write() as connection:
        now = dialect.utcnow(connection)
        token_create(
            connection, token_hash(made), user="eve", role=UserRole.USER, label="", now=now, expires_at=None
        )
    path = "/api/v3/monitor/diagnosis"
    headers = {"Authorization": f"Bearer {made}"}
    assert browser.get(path, headers=headers).json()["user"] == "eve"
    sign_in(browser)
    assert browser.get(path).json()["user"] == "ada"
    assert browser.get(path, headers=headers).json()["user"] == "eve"
    assert_error(browser.get(path, headers={"Authorization": "Bearer jobmon_wrong"}), 401)


# -- who does not get in ----------------------------------------------------------------------------------------
def test_nobody_is_let_in_before(browser: TestClient) -> None:
    """The answer says where to sign in."""
    for path in (LOOK, "/", "/api/openapi.json", f"{SIGN_IN}/nothing"):
        response = browser.get(path)
        if path.startswith(SIGN_IN):
            assert_error(response, 404)
        else:
            assert f"{SIGN_IN}/login" in assert_error(response, 401).hint
    assert_error(browser.get(f"{SIGN_IN}/userinfo"), 401)


NOW = int(time.time())


@pytest.mark.parametrize(
    "lies",
    [
        {"aud": "another-client"},
        {"iss": "https://elsewhere.example"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": NOW - 3600},
        {"iat": NOW + 3600, "exp": NOW + 7200},
        {"exp": None},
        {"sub": None},
        {"email_verified": False},
        {"email": None},
        {"email": 5},
        {"email": "@example.org"},
        {"email": "a\nb@example.org"},
        {"email": "x" * 200},
        {"email": " ada@example.org"},
    ],
    ids="-".join,  # not the values: two collections must name them alike
)
def test_a_token_with_wrong_claims_lets_nobody_in(
    browser: TestClient, provider: IdentityProvider, lies: dict[str, Any]
) -> None:
    """Whatever is wrong: for another, from another, for another login, out of date, without a name."""
    provider.lies = lies
    assert_error(sign_in(browser), 401)
    assert provider.tokens_given
    assert_error(browser.get(LOOK), 401)


def test_a_token_that_the_provider_did_not_sign_lets_nobody_in(
    browser: TestClient, provider: IdentityProvider
) -> None:
    """With a key of somebody else's, or without a signature."""
    provider.key = RSAKey.generate_key(2048, {"kid": "one"})
    assert_error(sign_in(browser), 401)
    provider.key, provider.algorithm = provider.published, "none"
    assert_error(sign_in(browser), 401)
    assert_error(browser.get(LOOK), 401)


def test_a_login_is_of_the_browser_that_began_it(app: FastAPI, browser: TestClient) -> None:
    """Somebody else's way back is worth nothing, and one's own no second time."""
    path = way_back(browser)
    with browser_of(app) as another:
        assert_error(another.get(path), 401)
    assert browser.get(path).status_code == 302
    assert_error(browser.get(path), 401)


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=y", "?error=access_denied"])
def test_a_way_back_that_nobody_went(browser: TestClient, query: str) -> None:
    """Is refused in the one shape."""
    assert_error(browser.get(f"{SIGN_IN}/auth{query}"), 401)


def test_a_provider_that_refuses(browser: TestClient, provider: IdentityProvider) -> None:
    """What it says is not repeated: anybody could have written it."""
    provider.refuses = "<b>you</b>"
    assert "<b>" not in sign_in(browser).text
    assert_error(browser.get(LOOK), 401)


def test_a_provider_that_is_away(oidc: JobmonConfig) -> None:
    """The server serves nevertheless, and says what it waits for."""
    oidc.set("oidc", "conf_url", "http://127.0.0.1:9/nothing")
    app = get_app(oidc)
    with browser_of(app) as browser:
        assert "cannot be reached" in assert_error(browser.get(f"{SIGN_IN}/login"), 502).message
        assert browser.get("/health").status_code == 200


def test_the_way_back_leads_below_the_path_of_a_proxy(app: FastAPI) -> None:
    """Unless the configuration names it."""
    with browser_of(below(app, "/jobmon", "/api/v3")) as browser:  # type: ignore[arg-type]
        there = browser.get(f"/jobmon{SIGN_IN}/login").headers["location"]
        asked = parse_qs(urlsplit(there).query)["redirect_uri"]
        assert asked == [f"http://testserver/jobmon{SIGN_IN}/auth"]
        assert f"/jobmon{SIGN_IN}/login" in assert_error(browser.get(f"/jobmon{LOOK}"), 401).hint
        back = httpx.get(there, trust_env=False).headers["location"]
        assert browser.get(back).headers["location"] == "/jobmon/"


# -- the session --------------------------------------------------------------------------------------------------
def cookie_of(response: Any) -> str:
    return str(next(v for v in response.headers.get_list("set-cookie") if v.startswith(COOKIE)))


@pytest.mark.parametrize(("url", "is_secure"), [("http://testserver", False), ("https://testserver", True)])
def test_the_cookie_is_the_servers_own(app: FastAPI, url: str, is_secure: bool) -> None:
    """No script reads it, no other site has it sent; over HTTPS it stays there."""
    with browser_of(app, url) as browser:
        cookie = cookie_of(sign_in(browser)).lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert ("; secure" in cookie) == is_secure


def test_a_cookie_nobody_signed_is_none(app: FastAPI, browser: TestClient) -> None:
    """Nor one that was changed, or signed with another key."""
    sign_in(browser)
    good = browser.cookies[COOKIE]
    with browser_of(app) as another:
        for bad in (good[:-2] + "AA", "x" + good, good.split(".")[0], "null", ""):
            another.cookies.set(COOKIE, bad)
            assert_error(another.get(LOOK), 401)
            another.cookies.clear()
        another.cookies.set(COOKIE, good)
        assert another.get(LOOK).status_code == 200


def test_a_session_ends(browser: TestClient) -> None:
    """By logging out."""
    sign_in(browser)
    assert browser.get(LOOK).status_code == 200
    done = browser.get(f"{SIGN_IN}/logout")
    assert (done.status_code, done.headers["location"]) == (302, "/")
    assert_error(browser.get(LOOK), 401)


@pytest.mark.parametrize(
    ("changed", "now", "expected"),
    [
        ({}, 99, Identity("ada", UserRole.ADMIN)),
        ({}, 100, None),
        ({"role": "worker"}, 0, None),
        ({"role": "emperor"}, 0, None),
        ({"user": ""}, 0, None),
        ({"user": None}, 0, None),
        ({"until": "9999"}, 0, None),
    ],
)
def test_what_a_session_says(changed: dict[str, Any], now: float, expected: Identity | None) -> None:
    """It holds until its time, however often it is used; what is no session of ours says nothing."""
    session = {"user": "ada", "role": "admin", "name": "", "until": 100} | changed
    assert session_identity(session, now) == expected


def test_no_secret_is_logged(
    browser: TestClient, provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the client's, nor a code, nor an ID token; who signed in is."""
    caplog.set_level(logging.DEBUG)
    sign_in(browser)
    provider.lies = {"nonce": "x"}
    sign_in(browser)
    own = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("jobmon"))
    assert "user ada has signed in (role user)" in own
    for secret in (CLIENT_SECRET, KEY, "code-", "eyJ"):
        assert secret not in own


# -- configuration -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, AuthMode.NONE),
        ({"auth": {"mode": "token"}}, AuthMode.TOKEN),
        ({"auth": {"enabled": True}}, AuthMode.TOKEN),
        ({"auth": {"enabled": True}, "oidc": {"conf_url": "https://x"}}, AuthMode.OIDC),
        ({"auth": {"enabled": True, "mode": "none"}}, AuthMode.NONE),
        ({"auth": {"enabled": False, "mode": "oidc"}}, AuthMode.OIDC),
        ({"auth": {"enabled": False}, "oidc": {"conf_url": "https://x"}}, AuthMode.NONE),
    ],
)
def test_the_mode(settings: dict[str, Any], expected: AuthMode) -> None:
    """What older configurations say counts where the newer key is not set."""
    assert auth_mode(JobmonConfig(dict_config=settings)) is expected


def test_a_mode_that_is_none_of_them() -> None:
    with pytest.raises(ConfigError, match="'tokens'; it is one of none, token, oidc"):
        auth_mode(JobmonConfig(dict_config={"auth": {"mode": "tokens"}}))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("/run/jobmon.sock", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.1.1.1", False),
        ("jobmon.example.org", False),
        ("localhost.example.org", False),
    ],
)
def test_a_server_that_knows_nobody_stays_on_its_machine(host: str, expected: bool) -> None:
    """Unless it is told otherwise, or users show tokens."""
    assert is_loopback(host) is expected
    config = JobmonConfig(dict_config={"auth": {}})
    if not expected:
        with pytest.raises(ConfigError, match="JOBMON__AUTH__MODE=token"):
            require_usable(config, host)
        config.set("auth", "allow_open", True)
        require_usable(config, host)
        config = JobmonConfig(dict_config={"auth": {"mode": "token"}})
    require_usable(config, host)


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("oidc", "conf_url", "", r"oidc\.conf_url must be set"),
        ("oidc", "client_id", "", r"oidc\.client_id must be set"),
        ("oidc", "scope", "email", "openid must be among"),
        ("session", "secret_key", "short", "at least 32 characters"),
        ("session", "secret_key", "", r"session\.secret_key_file"),
    ],
)
def test_what_is_missing_for_a_sign_in(
    oidc: JobmonConfig, section: str, name: str, value: str, message: str
) -> None:
    """Is said before the server starts."""
    oidc.set(section, name, value)
    with pytest.raises(ConfigError, match=message):
        require_usable(oidc, "127.0.0.1")


def test_secrets_come_from_files_too(oidc: JobmonConfig, tmp_path: Path) -> None:
    """Which others may not read."""
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    file.chmod(0o600)
    oidc.set("session", "secret_key", "")
    oidc.set("session", "secret_key_file", str(file))
    require_usable(oidc, "127.0.0.1")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=r"session\.secret_key_file .* chmod 600"):
        require_usable(oidc, "127.0.0.1")


def test_without_its_packages_it_is_said_what_to_install(
    oidc: JobmonConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("authlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "authlib", None)
    monkeypatch.delitem(sys.modules, "jobmon.server.web.auth.oidc", raising=False)
    monkeypatch.delattr("jobmon.server.web.auth.oidc", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'jobmon\[oidc\]'"):
        require_usable(oidc, "127.0.0.1")
