# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
import threading

import pytest
from vlm_npu_ros.engine.stream import Stream

PATIENCE = 30.0  # seconds; only a broken test waits this long


def test_items_come_in_order_from_another_thread() -> None:
    stream: Stream[int] = Stream()
    stream.run(lambda: range(1000), 'maker')
    assert list(stream) == list(range(1000))
    assert list(stream) == []
    assert stream.join(PATIENCE)


def test_error_of_the_maker_comes_in_its_place() -> None:
    stream: Stream[int] = Stream()

    def make() -> Iterator[int]:
        yield 1
        raise KeyError('lost')

    stream.run(make, 'maker')
    assert stream.next(PATIENCE) == 1
    with pytest.raises(KeyError, match='lost'):
        stream.next(PATIENCE)
    with pytest.raises(StopIteration):
        stream.next(PATIENCE)


@pytest.mark.parametrize('timeout', [-1.0, 0.0, 0.001])
def test_wait_is_bounded_and_loses_nothing(timeout: float) -> None:
    stream: Stream[int] = Stream()
    with pytest.raises(TimeoutError):
        stream.next(timeout)
    stream.put(1)
    assert stream.next(timeout) == 1


def test_cut_ends_it_for_the_user_and_not_for_the_maker() -> None:
    stream: Stream[int] = Stream()
    go = threading.Event()

    def make() -> Iterator[int]:
        assert go.wait(PATIENCE)
        yield 1

    stream.run(make, 'maker')
    stream.cut(KeyError('enough'))
    with pytest.raises(KeyError, match='enough'):
        stream.next(PATIENCE)
    assert not stream.join(0)
    go.set()
    assert stream.join(PATIENCE)
