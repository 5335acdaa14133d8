"""Session tokens that some endpoints need beside cookies: fetched when first needed, forgotten when refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import Reply, Request, SessionToken, Vendor

Send = Callable[[Request], Awaitable[Reply]]


class TokenKeeper:
    """Keeps one vendor's session token.

    Args:
        vendor: whose token; it must declare one.
        spec: the declaration.
        send: sends a request within the caller's own limits.
    """

    def __init__(self, vendor: Vendor, spec: SessionToken, send: Send) -> None:
        self._vendor = vendor
        self._spec = spec
        self._send = send
        self._token: str | None = None
        self._fetching = anyio.Lock()

    async def token(self) -> Outcome[str]:
        """The token, fetched when there is none; concurrent askers share one fetch."""
        async with self._fetching:
            if self._token is None:
                try:
                    self._token = await self._fetch()
                except SourceError as error:
                    return error.as_failure(self._vendor.id)
            return Answered(self._token)

    def refused(self, token: str) -> None:
        """Forget a token that the vendor did not accept."""
        if self._token == token:
            self._token = None

    async def _fetch(self) -> str:
        try:
            await self._send(self._spec.warm_up)
        except SourceError as error:
            if error.kind not in {FailureKind.SOURCE_ERROR, FailureKind.MALFORMED_REPLY}:
                raise
        reply = await self._send(self._spec.fetch)
        refuse_errors(self._vendor, reply)
        return self._spec.parse(reply)

    def placed(self, request: Request, token: str) -> Request:
        """The request with the token where the vendor wants it."""
        return Request(request.path, (*request.query, (self._spec.parameter, token)), request.headers, request.host)


def is_refusal(failure: Failure) -> bool:
    """Whether a failure means that the token was not accepted."""
    return failure.kind is FailureKind.UNAUTHORIZED
