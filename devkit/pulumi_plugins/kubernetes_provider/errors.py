"""Errors of the API server and of waits."""

from collections.abc import Mapping, Sequence
from typing import Any


class ApiError(Exception):
    """An error response of the API server."""

    def __init__(self, code: int, message: str, *, reason: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    @classmethod
    def from_status(cls, code: int, status: Mapping[str, Any]) -> "ApiError":
        """The error that a `Status` object describes."""
        return cls(
            code,
            str(status.get("message") or f"HTTP {code}"),
            reason=str(status.get("reason") or ""),
            details=status.get("details"),
        )

    @property
    def not_found(self) -> bool:
        """Whether the object, or something it needs, does not exist."""
        return self.code == 404

    @property
    def missing_namespace(self) -> bool:
        """Whether it is the object's namespace that does not exist."""
        return self.code == 404 and self.details.get("kind") == "namespaces"

    @property
    def already_exists(self) -> bool:
        """Whether an object of that name exists."""
        return self.code == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """Whether another writer owns a field, or wrote first."""
        return self.code == 409 and not self.already_exists

    @property
    def forbidden(self) -> bool:
        """Whether the request is not allowed."""
        return self.code == 403

    @property
    def immutable_field(self) -> bool:
        """Whether the request would change a field that can't be changed."""
        return self.code == 422 and "field is immutable" in self.message


class NoMatchError(Exception):
    """The API server does not know the kind."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f'no matches for kind "{kind}" in version "{api_version}"')


class Unreachable(Exception):
    """The cluster can't be reached, or its configuration can't be used."""


class Refused(Exception):
    """A feature of the official provider that this one does not have."""


class PartialFailure(Exception):
    """The object was written, but the operation on it did not complete."""

    def __init__(self, message: str, obj: Mapping[str, Any], reasons: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.object = dict(obj)
        self.reasons = list(reasons)
