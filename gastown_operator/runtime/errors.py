"""The closed hierarchy of what can go wrong between a controller and the API server.

Two questions are asked of an error. `transient`: may the *same call* be repeated at once (asked by the client, for
idempotent calls only)? `retryable`: may the *same reconcile* succeed later without a change to the object (asked
by the queue)? What is neither waits for the user to change something.
"""

# ruff: noqa: N818 - the names are the reasons of the Kubernetes API conventions

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class RuntimeFailure(Exception):
    """Everything that the runtime raises on purpose."""


class ConfigurationError(RuntimeFailure):
    """There is no usable connection to a cluster: bad kubeconfig, missing files, bad certificates."""


class LeadershipLost(RuntimeFailure):
    """Another process may act from now on, so this one must end."""


class StoppedAtOnce(RuntimeFailure):
    """A second signal ended the process before its work had ended."""


class TerminalError(RuntimeFailure):
    """Raised by a reconciler: trying again is useless until a watched object changes."""


class ApiError(RuntimeFailure):
    """One call to the API server failed.

    `status` is the HTTP status (0: no answer), `reason` the machine-readable reason of the server's Status,
    `details` its details, and `retry_after` the seconds that the server asked us to wait.
    """

    transient: ClassVar[bool] = False
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        verb: str = "",
        path: str = "",
        retry_after: float | None = None,
    ) -> None:
        """Keep the server's answer; the text of the error says what was being done."""
        super().__init__(message, status, reason, verb, path)
        self.message = message
        self.status = status
        self.reason = reason
        self.details: Mapping[str, Any] = details or {}
        self.verb = verb
        self.path = path
        self.retry_after = retry_after

    def __str__(self) -> str:
        answer = " ".join(str(part) for part in (self.status, self.reason) if part)
        call = f"{self.verb} {self.path}".strip()
        return ": ".join(part for part in (call, answer, self.message) if part)


class BadRequest(ApiError):
    """400: the request makes no sense to the server."""


class Unauthorized(ApiError):
    """401: the credentials were refused; a rotated token may heal it."""

    retryable = True


class Forbidden(ApiError):
    """403: RBAC, quota or an admission policy refused; all three can change without the object changing."""

    retryable = True


class NotFound(ApiError):
    """404: no such object, namespace or kind (yet)."""

    retryable = True


class Conflict(ApiError):
    """409: the object is not what the precondition said. Read again; do not repeat the call."""

    retryable = True


class AlreadyExists(Conflict):
    """409 on create: the name is taken."""


class Gone(ApiError):
    """410: the resource version or continue token is too old; list again."""

    retryable = True


class Invalid(ApiError):
    """422: the object breaks its schema or a validation rule."""


class TooManyRequests(ApiError):
    """429: flow control, or a disruption budget; `retry_after` says when."""

    transient = True
    retryable = True


class InternalError(ApiError):
    """500."""

    transient = True
    retryable = True


class UnknownField(InternalError):
    """500 to an apply: the kind's definition in the cluster lacks a field that is written. Only a newer definition helps."""

    transient = False

    def __str__(self) -> str:
        return f"{super().__str__()}; the CustomResourceDefinition in the cluster is older than this program: apply that of its version"


class ServiceUnavailable(ApiError):
    """503: the server or an extension of it is not ready."""

    transient = True
    retryable = True


class ServerTimeout(ApiError):
    """504, or 500 with reason ServerTimeout: the server gave up; a write may have happened."""

    transient = True
    retryable = True


class ResourceVersionTooLarge(ServerTimeout):
    """The server has not yet seen the resource version that was asked for (it was restored, or lags)."""


class UnexpectedResponse(ApiError):
    """The answer is not from a Kubernetes API: HTML from a proxy, plain text, nothing at all."""

    transient = True
    retryable = True


class ConnectionFailed(ApiError):
    """No connection, or it broke before the whole answer came; a write may have happened."""

    transient = True
    retryable = True


class RequestTimeout(ConnectionFailed):
    """No answer within the client's own deadline; a write may have happened."""


class NotLeader(ApiError):
    """A write was not sent: this process does not hold the lease at this moment. It happens nowhere, or elsewhere."""

    retryable = True


_BY_REASON: Mapping[str, type[ApiError]] = {
    "AlreadyExists": AlreadyExists,
    "Expired": Gone,
    "Gone": Gone,
    "ServerTimeout": ServerTimeout,
    "Timeout": ServerTimeout,
    "TooManyRequests": TooManyRequests,
}
_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
    500: InternalError,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServerTimeout,
}
_UID = "metadata.uid"
_TOO_LARGE = "ResourceVersionTooLarge"
_UNKNOWN_FIELD_TEXT = "field not declared in schema"  # structured-merge-diff; the Status has no reason
_TOO_LARGE_TEXT = (
    "Too large resource version"  # apiserver storage.NewTooLargeResourceVersionError; the cause may be absent
)


def from_status(
    body: Mapping[str, Any],
    *,
    code: int = 0,
    verb: str = "",
    path: str = "",
    retry_after: float | None = None,
) -> ApiError:
    """Turn a Kubernetes Status object (from a response or an ERROR event) into the error it stands for.

    `code` is the HTTP status, if there was one; else the Status' own code counts.
    """
    stated = body.get("code")
    status = code or (stated if isinstance(stated, int) else 0)
    reason = str(body.get("reason") or "")
    message = str(body.get("message") or "")
    raw_details = body.get("details")
    details = raw_details if isinstance(raw_details, dict) else {}
    seconds = details.get("retryAfterSeconds")
    if retry_after is None and isinstance(seconds, int | float) and seconds > 0:
        retry_after = float(seconds)
    kind = _kind(status, reason, message, details)
    return kind(
        message, status=status, reason=reason, details=details, verb=verb, path=path, retry_after=retry_after
    )


def from_text(
    text: str, *, status: int, verb: str = "", path: str = "", retry_after: float | None = None
) -> ApiError:
    """Turn an error answer without a Status body into an error: the HTTP status decides, else UnexpectedResponse."""
    kind = _BY_STATUS.get(status, UnexpectedResponse)
    excerpt = " ".join(text.split())[:200] or "empty answer"
    return kind(f"not a Status: {excerpt}", status=status, verb=verb, path=path, retry_after=retry_after)


def _kind(status: int, reason: str, message: str, details: Mapping[str, Any]) -> type[ApiError]:
    if _TOO_LARGE in _causes(details) or message.startswith(_TOO_LARGE_TEXT):
        return ResourceVersionTooLarge
    if status == 422 and _UID in _causes(details, "field"):
        return Conflict  # how the server refuses a patch whose metadata.uid is another object's
    if status == 500 and _UNKNOWN_FIELD_TEXT in message:
        return UnknownField
    by_status = _BY_STATUS.get(status)
    return _BY_REASON.get(reason) or by_status or (InternalError if status >= 500 else ApiError)


def _causes(details: Mapping[str, Any], member: str = "reason") -> Iterable[str]:
    causes = details.get("causes")
    entries = causes if isinstance(causes, list) else []
    return [str(cause.get(member) or "") for cause in entries if isinstance(cause, dict)]
