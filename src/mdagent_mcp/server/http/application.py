"""The HTTP application: MCP at `/mcp`, whether the server lives and is ready, and what else is registered, gated.

The rule of this module: it only puts together. A route that another part of the program offers comes in as a value
of `ExtraRoute`, so that nothing is served that nobody implemented.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mdagent_mcp.config.http_settings import MOST_BODY_BYTES, HttpSettings
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.resilience.token_bucket import BucketOptions
from mdagent_mcp.server.http.gate import MCP_PATH, Admission, Gate, RequestLimits
from mdagent_mcp.server.http.hosts import caller_rules
from mdagent_mcp.server.http.rates import ClientRates
from mdagent_mcp.server.http.tokens import TokenBook
from mdagent_mcp.server.http.traffic import Traffic
from mdagent_mcp.server.lazy_service import LazyService, ServiceState

_NO_STORE: Final = {"Cache-Control": "no-store"}
_HEALTH: Final[Mapping[str, str]] = {"health": "/healthz", "readiness": "/readyz"}


@dataclass(frozen=True, slots=True)
class ExtraRoute:
    """Something else that is served beside MCP.

    Attributes:
        path: where, such as `/metrics`.
        answer: answers a GET.
        needs_token: whether a caller needs a bearer token where any is set.
    """

    path: str
    answer: Callable[[Request], Awaitable[Response]]
    needs_token: bool = True


def http_application(
    server: MCPServer[LazyService],
    service: LazyService,
    settings: HttpSettings,
    *,
    traffic: Traffic,
    clock: Clock,
    extra_routes: tuple[ExtraRoute, ...] = (),
) -> Gate:
    """The application, ready for an ASGI server that handles its lifespan.

    Args:
        server: what is served at `/mcp`.
        service: the engine behind it.
        settings: validated.
        traffic: what is under way; whoever stops the server drains it.
        clock: time.
        extra_routes: what else is served.
    """
    app = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        json_response=settings.json_response,
        stateless_http=settings.stateless,
        max_request_body_size=MOST_BODY_BYTES,  # the gate's limit, which can change, is the one that holds
        session_idle_timeout=settings.session_idle_s,
        max_sessions=settings.max_sessions,
        # The gate has checked both, for every path, and does not log what it refuses.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    app.add_route(_HEALTH["health"], _health(service), methods=["GET"])
    app.add_route(_HEALTH["readiness"], _readiness(service, traffic), methods=["GET"])
    for route in extra_routes:
        app.add_route(route.path, route.answer, methods=["GET"])
    return Gate(
        app,
        _admission(settings, settings.host, ClientRates(_rate(settings), clock)),
        _limits(settings),
        traffic=traffic,
        clock=clock,
        protected=[route.path for route in extra_routes if route.needs_token],
        open_paths=[*_HEALTH.values(), *(route.path for route in extra_routes if not route.needs_token)],
    )


def following(gate: Gate, began: HttpSettings, clock: Clock) -> Callable[[HttpSettings], None]:
    """What lets a running server follow its settings: tokens, names, origins, rates, size and depth of requests.

    Whoever calls it has refused settings that would open the server to everybody.

    Args:
        gate: made by `http_application`.
        began: the settings it was made with.
        clock: time.
    """
    rates = ClientRates(_rate(began), clock)

    def follow(settings: HttpSettings) -> None:
        nonlocal rates
        if rates.options != _rate(settings):
            rates = ClientRates(_rate(settings), clock)
        gate.admit_by(_admission(settings, began.host, rates), _limits(settings))

    return follow


def _admission(settings: HttpSettings, host: str, rates: ClientRates) -> Admission:
    hashes = {name: secret.get_secret_value() for name, secret in settings.tokens.items()}
    return Admission(caller_rules(host, settings.allowed_hosts, settings.allowed_origins), TokenBook(hashes), rates)


def _limits(settings: HttpSettings) -> RequestLimits:
    return RequestLimits(settings.max_body_bytes, settings.max_json_depth, settings.receive_s)


def _rate(settings: HttpSettings) -> BucketOptions | None:
    return BucketOptions(settings.requests_per_s, settings.burst) if settings.requests_per_s else None


def _health(service: LazyService) -> Callable[[Request], Awaitable[Response]]:
    """Whether it is worth keeping the process: not when the engine could not be opened, which only a restart mends."""

    async def answer(_: Request) -> Response:
        failed = service.state is ServiceState.FAILED
        return JSONResponse({"status": "failed" if failed else "ok"}, 503 if failed else 200, _NO_STORE)

    return answer


def _readiness(service: LazyService, traffic: Traffic) -> Callable[[Request], Awaitable[Response]]:
    """Whether calls should be sent here now."""

    async def answer(_: Request) -> Response:
        status = "draining" if traffic.draining else _READINESS[service.state]
        return JSONResponse({"status": status}, 200 if status == "ready" else 503, _NO_STORE)

    return answer


_READINESS: Final[Mapping[ServiceState, str]] = {
    ServiceState.WAITING: "starting",
    ServiceState.OPENING: "starting",
    ServiceState.OPEN: "ready",
    ServiceState.FAILED: "failed",
}
