# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A server on loopback, and engines that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from chat_server import chat_server, ChatServer
import pytest
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.settings import EngineSettings

QUICK = dict.fromkeys(('connect_timeout', 'first_token_timeout', 'token_timeout'), 10.0)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the settings of the machine that runs the tests away."""
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy', 'openai_api_key'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def make_engine(server: ChatServer, lines: list[str]) -> Iterator[Callable[..., LocalEngine]]:
    engines: list[LocalEngine] = []

    def make(context: int = 0, read_ahead: bool = False, **settings: Any) -> LocalEngine:
        values = {'base_url': server.url, 'retries': 0, **QUICK, **settings}
        options = EngineSettings(
            'openai', options=OpenAISettings(**values), context=context, read_ahead=read_ahead,
        )
        engines.append(load_engine(options, lambda event: lines.append(str(event))))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
