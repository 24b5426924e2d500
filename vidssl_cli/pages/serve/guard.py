"""Who may ask the search page: this machine, or who has the token; never another web page.

A page of another site that the browser shows can send requests to 127.0.0.1, and by a name whose
address it changes (DNS rebinding) read the answers. So the names by which the page is asked for
are checked, and so is where a request comes from.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.responses import PlainTextResponse, RedirectResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: what this server has, and nothing written into the page."""
_HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+)(:\d{1,5})?")
_LOCAL = "localhost"


class Guard:
    """Refuses requests before an application sees them, and adds headers to its answers."""

    def __init__(self, application: Application, host: str, token: str | None) -> None:
        """Guard an application.

        Args:
            application: To guard.
            host: Name or address that it listens on.
            token: What requests must have; None lets all of this machine in.
        """
        self._application, self._host, self._token = application, host.lower(), token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":  # the start and the end of the server
            if scope["type"] == "lifespan":
                await self._application(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        answer = self._refusal(scope) or self._unknown(scope) or self._application
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Application | None:
        """Return the answer to a request that another page sends, or by another name."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            told = f"this server has not the name {', '.join(hosts) or '(none)'}"
            return _told(told, 421)
        for origin in _values(scope, b"origin"):
            if origin.partition("://")[2].lower() != hosts[0].lower():
                return _told("another site may not ask this server", 403)
        # A link on another page may open this one, but nothing else of this server.
        opens = scope["path"] == "/" and _values(scope, b"sec-fetch-dest") == ["document"]
        for site in _values(scope, b"sec-fetch-site"):
            if site not in ("same-origin", "none") and not (opens and scope["method"] == "GET"):
                return _told("another site may not ask this server", 403)
        return None

    def _is_own(self, text: str) -> bool:
        match = _HOST.fullmatch(text)
        if not match:
            return False
        name = match[1].strip("[]").lower()
        if name in (_LOCAL, self._host):
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        # No name leads to an address that is written out, so it needs no list.
        return address.is_loopback or not is_local(self._host)

    def _unknown(self, scope: Scope) -> Application | None:
        """Return the answer to a request without the token, or to the first one with it."""
        if self._token is None:
            return None
        cookie = f"vidssl-{(scope.get('server') or ('', 0))[1]}"
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if scope["path"] == "/" and given is not None and self._is_token(given):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            redirect = RedirectResponse(f"/?{rest}" if rest else "/", 303)
            redirect.set_cookie(cookie, self._token, httponly=True, samesite="lax")
            answer: Application = redirect
            return answer
        jar: SimpleCookie = SimpleCookie()
        for text in _values(scope, b"cookie"):
            try:
                jar.load(text)
            except CookieError:
                continue
        tokens = [jar[cookie].value] if cookie in jar else []
        tokens += [text.removeprefix("Bearer ") for text in _values(scope, b"authorization")]
        if any(map(self._is_token, tokens)):
            return None
        return _told(
            "This page needs its token: open the address that `vidssl serve` printed.", 401
        )

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), (self._token or "").encode())


def is_local(host: str) -> bool:
    """Tell whether only this machine reaches a name or an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == _LOCAL


def _told(text: str, status: int) -> Application:
    answer: Application = PlainTextResponse(text, status)
    return answer


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
