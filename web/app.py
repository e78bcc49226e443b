"""The web application: POST /events, which answers once the events are in the database."""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from psycopg import OperationalError

from operations.events import receive
from store.connection import pool
from web.reading import NotTaken, came
from workers.log import log
from workers.process import identity
from workers.settings import secret
from workflow.errors import InvalidInput
from workflow.events import Fault, Malformed
from workflow.webhooks import Unsigned, check, key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from operations.events import Taken
    from store.connection import Pool
    from workers.settings import Settings

LARGEST_BODY: Final = 256 * 1024
_CONNECTIONS: Final = 16
_TITLES: Final = {
    400: "Not understood",
    401: "Not signed",
    409: "Here already",
    413: "Too large",
    415: "Not a kind of content that is taken",
    422: "Rejected",
    503: "Later",
}


def make_app(settings: Settings) -> FastAPI:
    """The application. Raises InvalidInput where no secret is named, or one cannot be used."""
    if not settings.event_secrets.split():
        reason = "name the secrets that sign events: env:NAME or file:PATH"
        raise InvalidInput(field="RELANCE_EVENT_SECRETS", value=None, reason=reason)
    keys = [key(secret(one)) for one in settings.event_secrets.split()]
    shared: dict[str, Pool] = {}

    @contextlib.asynccontextmanager
    async def living(_app: FastAPI) -> AsyncGenerator[None]:
        with pool(settings.database_url, actor=identity("web"), size=_CONNECTIONS) as connections:
            shared["pool"] = connections
            yield

    app = FastAPI(title="relance", lifespan=living, docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/events", status_code=202)
    async def events(request: Request) -> JSONResponse:
        """Take in signed events."""
        try:
            body = await _body(request)
            taken = await run_in_threadpool(_take, shared["pool"], keys, dict(request.headers.items()), body)
        except NotTaken as error:
            return _problem(error)
        return JSONResponse({"events": [_shown(one) for one in taken]}, status_code=202)

    return app


def _take(connections: Pool, keys: Sequence[bytes], headers: Mapping[str, str], body: bytes) -> list[Taken]:
    """Keep the events of a request; they are in the database when this returns. Raises NotTaken."""
    delivery = headers.get("webhook-id", "")
    try:
        check(
            keys,
            delivery=delivery,
            timestamp=headers.get("webhook-timestamp", ""),
            signatures=headers.get("webhook-signature", ""),
            body=body,
            now_s=time.time(),
        )
        digest = hashlib.sha256(body)
        found = came(headers, body, place=f"{delivery}/{digest.hexdigest()[:12]}")
        with connections.connection() as conn:
            taken = receive(conn, found, delivery=delivery, sha256=digest.digest())
    except Unsigned as error:
        raise NotTaken(401, str(error)) from None
    except Malformed as error:
        raise NotTaken(400, "the body cannot be read", error.faults) from None
    except OperationalError as error:
        log("events_not_taken", level="error", error=type(error).__name__)
        raise NotTaken(503, "the database does not answer; nothing was kept") from error
    if taken is None:
        raise NotTaken(409, "this request was received before; its events are here, and need not be sent again")
    log("events_taken", door="http", events=len(taken), rejected=sum(bool(one.faults) for one in taken))
    if all(one.faults for one in taken):
        places = [f"/{place}" if len(taken) > 1 else "" for place in range(len(taken))]
        faults = [
            Fault(f"{place}{one.pointer}", one.reason)
            for place, several in zip(places, taken, strict=True)
            for one in several.faults
        ]
        raise NotTaken(422, "no event could be taken", faults)
    return taken


async def _body(request: Request) -> bytes:
    """The request's body. Raises NotTaken as soon as it is too large, however large it says it is."""
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > LARGEST_BODY:
            raise NotTaken(413, f"a request holds at most {LARGEST_BODY // 1024} KiB")
    return bytes(read)


def _shown(taken: Taken) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"source": taken.source, "id": taken.id, "outcome": taken.outcome}
    if taken.faults:
        shown["errors"] = [_fault(one) for one in taken.faults]
    return shown


def _problem(refusal: NotTaken) -> JSONResponse:
    """A problem of RFC 9457; where events are at fault, with each fault's JSON Pointer."""
    title = _TITLES[refusal.status]
    content: dict[str, Any] = {
        "type": f"urn:relance:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": refusal.status,
        "detail": refusal.reason,
    }
    if refusal.faults:
        content["errors"] = [_fault(one) for one in refusal.faults]
    return JSONResponse(content, status_code=refusal.status, media_type="application/problem+json")


def _fault(fault: Fault) -> dict[str, str]:
    return {"pointer": fault.pointer, "detail": fault.reason}
