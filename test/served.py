# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The gateway in a thread of the test, at an address of its own."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
import socket
import threading
from typing import Any

import cv2
import numpy as np
import pytest
from vlm_npu_ros.engine.backends.scripted import (
    AT_ONCE,
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.local import LocalEngine

for module in ('fastapi', 'prometheus_client', 'uvicorn'):
    pytest.importorskip(module)
from vlm_npu_ros.gateway.app import make_app  # noqa: E402
from vlm_npu_ros.gateway.engine_source import EngineSource  # noqa: E402
from vlm_npu_ros.gateway.serving import GatewayServer  # noqa: E402
from vlm_npu_ros.gateway.source import Source  # noqa: E402

PATIENCE = 30.0  # seconds; only a broken test waits this long


@contextmanager
def served(
    source: Source, port: int = 0, head_seconds: float = 10.0, **options: Any
) -> Iterator[str]:
    """Serve the source; give the address, without a slash at its end."""
    listener = socket.create_server(('127.0.0.1', port))
    app = make_app(source, **options)
    server = GatewayServer(app, lambda: None, head_seconds)
    thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]})
    thread.start()
    try:
        yield f'http://127.0.0.1:{listener.getsockname()[1]}'
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()
        assert not thread.is_alive()


def scripted(
    answers: Mapping[str, str] | Sequence[str], timings: ScriptedTimings = AT_ONCE, **options: Any
) -> EngineSource:
    """Make a source that gives these answers."""
    engine = LocalEngine(ScriptedEncoder(timings), ScriptedLanguageModel(answers, timings))
    return EngineSource(engine, 'scripted', 64, **options)


def jpeg(colour: tuple[int, int, int] = (200, 60, 20), side: int = 32) -> bytes:
    """Make a picture of one colour, BGR."""
    return bytes(cv2.imencode('.jpg', np.full((side, side, 3), colour, np.uint8))[1].tobytes())


def picture(data: bytes) -> dict[str, Any]:
    """Make the part of a message that shows a picture."""
    url = 'data:image/jpeg;base64,' + base64.b64encode(data).decode()
    return {'type': 'image_url', 'image_url': {'url': url}}


def asks(text: str, *pictures: bytes) -> list[dict[str, Any]]:
    """Make the messages of a question."""
    return [{'role': 'user', 'content': [*map(picture, pictures), {'type': 'text', 'text': text}]}]
