# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The application that the gateway serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
import importlib.util

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.gateway import live, openai_api
from vlm_npu_ros.gateway.access import Access, LIMITS, Limits
from vlm_npu_ros.gateway.desk import Desk
from vlm_npu_ros.gateway.failures import ApiError, of_error
from vlm_npu_ros.gateway.metrics import CONTENT_TYPE
from vlm_npu_ros.gateway.source import Source


def make_app(
    source: Source, token: str = '', origins: tuple[str, ...] = (), limits: Limits = LIMITS
) -> Access:
    """
    Make the ASGI application; it opens the source when it starts and closes it at its end.

    token: that clients must have; '' = none. origins: of pages of other sites that may ask.
    """
    desk = Desk(source)

    mcp = _mcp_app(desk)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await source.start()
        try:
            async with mcp.router.lifespan_context(mcp) if mcp else nullcontext():
                yield
        finally:
            await source.close()

    # Its own pages of documentation load scripts from elsewhere.
    app = FastAPI(
        title='vlm_npu_ros', lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.include_router(openai_api.router(desk))
    app.include_router(live.router(desk))
    if mcp:
        app.router.routes.extend(mcp.routes)

    @app.get('/health')
    async def health() -> dict[str, str]:
        return {'status': 'ok'}

    @app.get('/ready')
    async def ready() -> JSONResponse:
        return JSONResponse({'ready': source.ready}, 200 if source.ready else 503)

    @app.get('/metrics')
    async def metrics() -> Response:
        return Response(desk.metrics.page(), media_type=CONTENT_TYPE)

    _explain_errors(app)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=['GET', 'POST'],
            allow_headers=['authorization', 'content-type'],
        )
    return Access(app, token, origins, limits)


def _mcp_app(desk: Desk) -> Starlette | None:
    """Make the application that speaks MCP at /mcp; None where the package mcp is missing."""
    if importlib.util.find_spec('mcp') is None:
        return None
    from mcp.server.transport_security import TransportSecuritySettings
    from vlm_npu_ros.gateway.mcp_tools import make_server

    # Who may ask was decided before.
    open_door = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return make_server(desk).streamable_http_app(transport_security=open_door)


def _explain_errors(app: FastAPI) -> None:
    """Answer with errors in OpenAI's form, whatever is wrong."""
    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> JSONResponse:
        return error.response

    @app.exception_handler(VlmError)
    async def vlm_error(_: Request, error: VlmError) -> JSONResponse:
        return of_error(error).response

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = [str(part) for part in first['loc'] if part != 'body']
        words = f'{".".join(place) or "The body"}: {first["msg"]}'
        return ApiError(words, param=place[0] if place else '').response

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return ApiError(str(error.detail), error.status_code, 'http_error').response
