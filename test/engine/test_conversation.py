# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from vlm_npu_ros.engine import conversation as module
from vlm_npu_ros.engine.conversation import commands, Conversation, Conversations
from vlm_npu_ros.engine.types import Turn


@pytest.mark.parametrize('question, text, found', [
    ('what is it?', 'what is it?', set()),
    ('<image> what is it?', 'what is it?', {'image'}),
    ('and <image>now?', 'and now?', {'image'}),
    ('<clear>', '', {'clear'}),
    ('<clear> <image>what?', 'what?', {'clear', 'image'}),
    ('<exit>', '', {'exit'}),
    ('<IMAGE> <video> < image>', '<IMAGE> <video> < image>', set()),
    ('two  spaces\nand a line', 'two  spaces\nand a line', set()),
])
def test_commands(question: str, text: str, found: set[str]) -> None:
    assert commands(question) == (text, found)


def conversations(count: int = 3, idle: float = 100.0) -> Conversations[str]:
    return Conversations(lambda: count, lambda: idle)


def test_dialogue_is_remembered() -> None:
    kept = conversations()
    assert kept.get('a') is None
    kept.keep(Conversation('a', ('frame',), (Turn('q', 'a'),)))
    found = kept.get('a')
    assert found and (found.frames, found.turns) == (('frame',), (Turn('q', 'a'),))


def test_the_one_used_longest_ago_is_forgotten_first() -> None:
    kept = conversations(count=2)
    for id_ in ('a', 'b', 'a', 'c'):
        kept.keep(Conversation(id_, ()))
    assert [c.key for c in kept.newest_first()] == ['c', 'a']


def test_idle_dialogue_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = conversations(idle=10.0)
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, 'monotonic', lambda: now)
    kept.keep(Conversation('a', ()))
    monkeypatch.setattr(module.time, 'monotonic', lambda: now + 9.9)
    assert kept.get('a')
    monkeypatch.setattr(module.time, 'monotonic', lambda: now + 10.1)
    assert kept.get('a') is None and not kept.newest_first()


def test_forget() -> None:
    kept = conversations()
    for id_ in ('a', 'b', 'c'):
        kept.keep(Conversation(id_, ()))
    assert kept.forget('a', 'x', 'c') == 2
    assert [c.key for c in kept.newest_first()] == ['b']
