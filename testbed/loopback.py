"""HTTP to the programs of a bed. All are on loopback, where no proxy named in the environment may stand between."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request


def fetch(
    url: str,
    body: bytes | None = None,
    *,
    token: str | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = 10.0,
) -> tuple[int, str]:
    """Status and body of a GET, or of a POST of ``body`` (JSON); status 0 when nothing answers."""
    request = urllib.request.Request(url, body)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""
