# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""An agent looks and asks by the official client, over both transports."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
import itertools
import os
import sys
import threading
from typing import Any

from asked_node import asked_node
import numpy as np
import pytest
from robot import Robot, wait_until
from served import PATIENCE, scripted, served
from vlm_npu_ros.engine.backends.scripted import ScriptedLanguageModel, ScriptedTimings
from vlm_npu_ros.engine.image_files import decode_image
from vlm_npu_ros.gateway.node_source import NodeSource
from vlm_npu_ros.node.vlm_node import VlmNode

mcp = pytest.importorskip('mcp')
TOOLS = {'cameras', 'look', 'ask', 'locate', 'watch_until', 'standing'}


@pytest.fixture(scope='module')
def stand() -> Iterator[tuple[VlmNode, Robot, dict[str, str]]]:
    with asked_node(
        encode_rate=20.0, standing_questions=['free'],
        standing__free__question='is the path free?', standing__free__answer_type='yes_no',
    ) as (node, robot):
        answers = {'is the path free?': 'No.', 'what?': 'A red box.', 'long': 'word ' * 60,
                   'which?': 'Blue.',
                   'the cup': '[{"bbox_2d": [250, 250, 500, 750], "label": "cup"}]'}
        node._engine._language_model = ScriptedLanguageModel(
            answers, ScriptedTimings(decode_rate=20.0, image_tokens=16))
        stop = threading.Event()

        def publish() -> None:
            while not stop.wait(0.1):
                robot.publish(np.full((120, 160, 3), 200, np.uint8))

        publisher = threading.Thread(target=publish)
        publisher.start()
        yield node, robot, answers
        stop.set()
        publisher.join()


def told(result: Any) -> Any:
    assert not result.is_error, result.content
    return result.structured_content


async def standing(agent: Any) -> str | None:
    """Tell how the standing question is answered."""
    found = told(await agent.call_tool('standing')).get('free', {})
    return found.get('choice')


async def use(agent: Any, node: VlmNode, answers: dict[str, str]) -> None:
    """Call every tool."""
    tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
    assert tools.keys() >= TOOLS
    assert all(tool.annotations.read_only_hint for tool in tools.values())
    assert tools['ask'].input_schema['required'] == ['question']
    for _ in range(300):  # until the node is discovered
        state = told(await agent.call_tool('cameras'))
        if state['cameras'] and state['ready'] and await standing(agent) == 'no':
            break
        await asyncio.sleep(0.1)
    assert state['cameras'] == ['camera'] and state['ready']
    (picture,) = (await agent.call_tool('look')).content
    assert picture.mime_type == 'image/jpeg'
    assert decode_image(base64.b64decode(picture.data)).shape == (120, 160, 3)
    assert (await agent.call_tool('look', {'camera': 'none'})).is_error
    seen: list[str] = []

    async def progress(_: float, __: float | None, message: str | None) -> None:
        seen.append(message or '')

    answer = told(await agent.call_tool('ask', {'question': 'what?'}, progress_callback=progress))
    assert answer['text'] == 'A red box.' and answer['age'] >= 0
    assert seen and all('A red box.'.startswith(text) for text in seen)
    chosen = told(await agent.call_tool('ask', {'question': 'which?', 'choices': ['red', 'blue']}))
    assert (chosen['choice'], chosen['decided_by']) == ('blue', 'words')
    found = told(await agent.call_tool('locate', {'thing': 'the cup'}))
    assert [place['label'] for place in found['located']] == ['cup']
    refused = await agent.call_tool('ask', {'question': 'what?', 'camera': 'none'})
    assert refused.is_error and 'none' in refused.content[0].text
    assert await standing(agent) == 'no'
    waited = asyncio.create_task(agent.call_tool(
        'watch_until', {'question': 'is the path free?', 'until': 'yes'}, None, progress))
    while 'no' not in seen:
        await asyncio.sleep(0.02)
    answers['is the path free?'] = 'Yes.'
    assert told(await waited)['reached']
    for wrong in ({'until': ''}, {'until': 'yes', 'period': 1e12}):
        refused = await agent.call_tool('watch_until', {'question': 'which?', **wrong})
        assert refused.is_error and list(wrong)[-1] in refused.content[0].text
    answers['is the path free?'] = 'No.'
    while await standing(agent) != 'no':  # an evaluation may have been under way
        await asyncio.sleep(0.02)
    late = await agent.call_tool(
        'watch_until', {'question': 'is the path free?', 'until': 'yes', 'seconds': 0.3})
    assert told(late)['reached'] is False
    seen.clear()
    open_one = asyncio.create_task(agent.call_tool('ask', {'question': 'long'}, None, progress))
    while not seen:
        await asyncio.sleep(0.02)
    open_one.cancel()
    await asyncio.gather(open_one, return_exceptions=True)


def questions(node: VlmNode) -> int:
    return len(node._server._goals)


def test_over_http(stand: Any) -> None:
    node, _, answers = stand

    async def talk(url: str) -> None:
        async with mcp.Client(f'{url}/mcp') as agent:
            await use(agent, node, answers)

    with served(NodeSource('vlm', node.context)) as url:
        asyncio.run(asyncio.wait_for(talk(url), 100))
        wait_until(lambda: not questions(node))  # the cancelled one has ended


def test_a_watch_ends_in_time_whatever_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    source = scripted(['Yes.'])

    async def watch(*_: object) -> AsyncIterator[dict[str, str]]:
        for choice in itertools.cycle(('yes', 'no')):
            yield {'choice': choice}
            await asyncio.sleep(0.1)

    monkeypatch.setattr(source, 'watch', watch)

    async def talk(url: str) -> None:
        async with mcp.Client(f'{url}/mcp') as agent:
            said = told(await agent.call_tool(
                'watch_until', {'question': 'what?', 'until': 'unclear', 'seconds': 0.5}))
            assert said['reached'] is False and said['changes'] > 0

    with served(source) as url:
        asyncio.run(asyncio.wait_for(talk(url), PATIENCE))


def test_over_standard_input_and_output(stand: Any) -> None:
    node, _, answers = stand
    program = mcp.StdioServerParameters(
        command=sys.executable, args=['-m', 'vlm_npu_ros.cli.main', 'mcp'], env=dict(os.environ))

    async def talk() -> None:
        async with mcp.Client(program) as agent:
            await use(agent, node, answers)
            await asyncio.to_thread(wait_until, lambda: not questions(node))

    asyncio.run(asyncio.wait_for(talk(), 100))
