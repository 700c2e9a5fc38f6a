"""What the API server, or the way to it, can answer besides success.

    SupernodeError
    ├── NoCluster                no usable kubeconfig or service account
    └── ApiError                 status, reason, message, details of a Kubernetes Status
        ├── BadRequest           400
        ├── Unauthorized         401
        ├── Forbidden            403
        │   └── NamespaceTerminating
        ├── NotFound             404
        ├── AlreadyExists        409, reason AlreadyExists
        ├── Conflict             409, any other reason: the object changed, or a precondition does not hold
        ├── Gone                 410: the resourceVersion or continue token has expired
        ├── Invalid              422
        │   ├── NotJson          not sent: it has no form in JSON
        │   └── NotAName         not sent: no object can have such a name
        ├── TooManyRequests      429, with retry_after
        ├── Unavailable          5xx, connection errors, time-outs, with maybe_applied
        │   └── Stalled          a stream that stayed silent
        └── NotLeading           not sent: another operator may be leading

Codes without a class of their own are a plain ``ApiError``.
"""

# ruff: noqa: N818 (named for the answer they stand for, as the API names its reasons)
from __future__ import annotations

from typing import Any

from supernode.api.errors import SupernodeError

__all__ = [
    "AlreadyExists",
    "ApiError",
    "BadRequest",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "NamespaceTerminating",
    "NoCluster",
    "NotAName",
    "NotFound",
    "NotJson",
    "NotLeading",
    "Stalled",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "error_from_status",
]


class NoCluster(SupernodeError):
    """There is no way to a cluster: credentials are missing or unreadable."""


class ApiError(SupernodeError):
    """A request the API server refused, or that never got an answer.

    ``status`` is the HTTP code (0: no answer), ``reason`` the machine-readable ``Status.reason``, ``details`` the
    ``Status.details`` object (name, kind, uid, causes), empty when there is none.
    """

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.details = details or {}


class BadRequest(ApiError):
    """The request makes no sense to the server (400)."""


class Unauthorized(ApiError):
    """The credentials are missing, wrong or expired (401)."""


class Forbidden(ApiError):
    """RBAC, an admission plugin, a quota or a terminating namespace forbids the request (403)."""


class NamespaceTerminating(Forbidden):
    """The namespace is being deleted: nothing can be created in it any more (403)."""


class NotFound(ApiError):
    """There is no such object, or the resource is not installed (404)."""


class AlreadyExists(ApiError):
    """An object of that name exists (409); whether it is ours is for the caller to find out by uid or owner."""


class Conflict(ApiError):
    """The resourceVersion or uid given as a precondition no longer holds (409)."""


class Gone(ApiError):
    """The resourceVersion or continue token is too old to continue from (410)."""


class Invalid(ApiError):
    """The object breaks its schema or a validation rule (422); ``details["causes"]`` names the fields."""


class NotJson(Invalid):
    """An object was not sent, because JSON cannot say what is in it, such as an integer of more than 64 bits."""


class NotAName(Invalid):
    """A request was not sent, because its path would lead elsewhere: no object and no namespace is named so."""


class TooManyRequests(ApiError):
    """The server sheds load (429); try again after ``retry_after`` seconds. The request was not processed."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 429,
        reason: str = "TooManyRequests",
        details: dict[str, Any] | None = None,
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(message, status=status, reason=reason, details=details)
        self.retry_after = retry_after


class Unavailable(ApiError):
    """The server failed or could not be reached (5xx, connection error, time-out).

    ``maybe_applied`` is False only when the request surely was not processed, such as a refused connection. When it is
    True a write may have happened: read before repeating it, unless repeating is harmless.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        details: dict[str, Any] | None = None,
        maybe_applied: bool = True,
    ) -> None:
        super().__init__(message, status=status, reason=reason, details=details)
        self.maybe_applied = maybe_applied


class Stalled(Unavailable):
    """A stream sent nothing, not even a bookmark, for its idle time-out: half-open, or no longer fed."""


class NotLeading(ApiError):
    """A request that would have changed something was not sent: the Lease may belong to another operator by now."""


_BY_CODE: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}


def error_from_status(code: int, status: dict[str, Any], *, retry_after: float | None = None) -> ApiError:
    """The error for a Kubernetes ``Status`` object with HTTP code `code`.

    `retry_after` is the parsed header, in seconds; ``details.retryAfterSeconds`` is used when there is none.
    """
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or reason or f"the API server answered {code}")
    details: dict[str, Any] = status.get("details") or {}
    if code == 429:
        delay = retry_after if retry_after is not None else float(details.get("retryAfterSeconds", 1))
        return TooManyRequests(message, reason=reason, details=details, retry_after=delay)
    if code >= 500:
        return Unavailable(message, status=code, reason=reason, details=details)
    kind = AlreadyExists if code == 409 and reason == "AlreadyExists" else _BY_CODE.get(code, ApiError)
    if any(cause.get("reason") == "NamespaceTerminating" for cause in details.get("causes") or ()):
        kind = NamespaceTerminating
    return kind(message, status=code, reason=reason, details=details)
