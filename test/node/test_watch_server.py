# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The Watch action: what it sees and tells, how it ends, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Generator
import json
import threading
import time
from typing import Any

from action_msgs.msg import GoalStatus
from bars import timing, within
from builtin_interfaces.msg import Duration
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from robot import PATIENCE, Robot, wait_until
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.vlm_node import VlmNode
from watcher import Watcher, Watching

MakeNode = Callable[..., VlmNode]
QUESTION = 'is the path clear?'
TEXT, YES_NO, CHOICE, LOCATE = 0, 1, 2, 4
CHANGES = 100
SUCCESS = TransitionCallbackReturn.SUCCESS
SLOW = {'scripted__answers': ['yes'], 'scripted__prefill_rate': 330.0}  # 0.2 s an answer
Pictures = dict[str, list[np.ndarray]]


@pytest.fixture(scope='module')
def pictures() -> Pictures:
    """Give pictures that the model takes for what they are, by the right answer."""
    engine = load_engine(EngineSettings(threads=1))
    rng = np.random.default_rng(8)
    found: Pictures = {'yes': [], 'no': []}
    while min(map(len, found.values())) < 10:
        scene = random_scene(rng)
        picture = render(scene, 320, 240)
        request = GenerationRequest(
            QUESTION, (engine.encode(picture),), choices=('yes', 'no'), min_probability=0.5
        )
        truth = 'no' if scene.blocking else 'yes'
        *_, last = engine.generate(request)
        if last.verdict.index == ('yes', 'no').index(truth):
            found[truth].append(picture)
    engine.close()
    return found


@pytest.fixture
def watcher(robot: Robot) -> Watcher:
    return Watcher(robot)


class Generated:
    """The questions that an engine was asked, in order."""

    def __init__(self, node: VlmNode) -> None:
        self.questions: list[str] = []
        engine = node._engine
        assert isinstance(engine, LocalEngine)
        self._write = engine.write
        engine.write = self._note  # type: ignore[method-assign]

    def _note(self, request: GenerationRequest, cancelled: Cancellation) -> Generator:
        self.questions.append(request.question)
        return self._write(request, cancelled)


@timing
def test_every_change_is_told_once_and_none_is_invented(
    active_node: MakeNode, robot: Robot, watcher: Watcher, pictures: Pictures
) -> None:
    active_node(backend='onnx', encode_rate=100.0, cpu_threads=1)
    changes = watcher.watch(answer_type=YES_NO)
    looks = watcher.watch(answer_type=YES_NO, every_look=True)
    rng = np.random.default_rng(1)
    latencies = []
    for number in range(CHANGES):
        truth = ('yes', 'no')[number % 2]
        for repetition in range(rng.choice((1, 1, 2, 4))):
            frame = robot.publish(pictures[truth][rng.integers(10)])
            published = time.monotonic()
            look = looks.hear()
            assert (look.choice, look.changed) == (truth, repetition == 0)
            assert look.header == frame.header
            if repetition == 0:
                change = changes.hear()
                latencies.append(time.monotonic() - published)
                assert (change.choice, change.changed) == (truth, True)
                assert change.header == frame.header
                assert 0.5 <= change.confidence <= 1 and change.answer
                assert change.frame_age.sec + change.frame_age.nanosec > 0
    changes.cancel()
    result = changes.end().result
    assert changes.told.empty() and looks.told.empty()
    assert (result.changes, result.choice) == (CHANGES, 'no')
    assert result.header == frame.header
    print(f'{CHANGES} changes in {result.looks} looks: told after '
          f'{1000 * np.median(latencies):.0f} ms, at most {1000 * max(latencies):.0f} ms')
    assert np.median(latencies) < within(0.5)


@timing
def test_a_change_is_told_within_a_period_and_an_answer(
    active_node: MakeNode, robot: Robot, watcher: Watcher, pictures: Pictures
) -> None:
    rate = 5.0
    active_node(backend='onnx', encode_rate=rate, cpu_threads=1)
    shown = 'no'
    changed = threading.Event()
    stop = threading.Event()
    since = {}

    def camera() -> None:
        last = ''
        while not stop.wait(1 / 30):
            now, told = time.monotonic(), shown
            robot.publish(pictures[told][0])
            if told != last:
                since[told], last = now, told
                changed.set()

    thread = threading.Thread(target=camera)
    thread.start()
    try:
        watching = watcher.watch(answer_type=YES_NO)
        assert watching.hear().choice == shown
        latencies = []
        rng = np.random.default_rng(2)
        for _ in range(15):
            stop.wait(rng.uniform(0.0, 0.4))  # anywhere between two encodings
            changed.clear()
            shown = 'yes' if shown == 'no' else 'no'
            assert changed.wait(PATIENCE)
            assert watching.hear().choice == shown
            latencies.append(time.monotonic() - since[shown])
    finally:
        stop.set()
        thread.join()
    assert watching.told.empty()
    answer = robot.ask(question=QUESTION, answer_type=YES_NO).stats
    print(f'told after {1000 * np.median(latencies):.0f} ms, at most '
          f'{1000 * max(latencies):.0f} ms: every {1000 / rate:.0f} ms a frame is encoded, '
          f'an answer takes {1000 * answer.total_seconds:.0f} ms')
    assert np.median(latencies) < within(1 / rate + 0.2)


def test_agreeing_looks_make_a_change(
    active_node: MakeNode, robot: Robot, watcher: Watcher
) -> None:
    active_node(scripted__answers=list('yynynnyynn'), encode_rate=100.0)
    changes = watcher.watch(answer_type=CHOICE, choices=['y', 'n'], agreeing=2)
    looks = watcher.watch(
        answer_type=CHOICE, choices=['y', 'n'], agreeing=2, every_look=True
    )
    seen = []
    for _ in range(10):
        robot.publish()
        seen.append(looks.hear())
    assert ''.join(look.choice for look in seen) == 'yynynnyynn'
    assert [look.changed for look in seen] == [i in (1, 5, 7, 9) for i in range(10)]
    assert [changes.hear().choice for _ in range(4)] == ['y', 'n', 'y', 'n']
    assert changes.told.empty()


def test_text_is_compared_as_text(active_node: MakeNode, robot: Robot, watcher: Watcher) -> None:
    active_node(scripted__answers=['A box.', ' a Box.', 'Two boxes.'], encode_rate=100.0)
    watching = watcher.watch(every_look=True)
    answers = []
    for _ in range(3):
        robot.publish()
        answers.append(watching.hear())
    assert [a.changed for a in answers] == [True, False, True]
    assert {(a.choice_index, a.choice) for a in answers} == {(-2, '')}


@pytest.mark.parametrize(
    ('until', 'answer'), [('yes', 'Yes.'), (' YES ', 'yes'), ('unclear', '?')]
)
def test_until_it_is_so(
    active_node: MakeNode, robot: Robot, watcher: Watcher, until: str, answer: str
) -> None:
    node = active_node(scripted__answers=['no', 'no', answer], encode_rate=100.0)
    watching = watcher.watch(answer_type=YES_NO, until=until, every_look=True)
    for _ in range(3):
        frame = robot.publish()
        watching.hear()
    ended = watching.end()
    assert (ended.status, ended.result.success) == (GoalStatus.STATUS_SUCCEEDED, True)
    assert (ended.result.answer, ended.result.choice) == (answer, until.strip().lower())
    assert (ended.result.looks, ended.result.changes) == (3, 2)
    assert ended.result.header == frame.header
    assert not ended.result.error_code
    assert_nothing_is_left(node)


def cups(*lefts: int) -> str:
    """Return what a model says where cups are, by their left edges in thousandths."""
    return json.dumps([{'bbox_2d': [x, 250, x + 250, 750], 'label': 'cup'} for x in lefts])


@pytest.mark.parametrize(('until', 'answers', 'changes'), [
    ('Yes', [cups(), cups(500)], [0, 1]),
    ('no', [cups(0, 500), cups(250, 500), cups(500), cups()], [0, 2, 3]),
])
def test_until_it_is_seen_or_gone(
    active_node: MakeNode, robot: Robot, watcher: Watcher, until: str, answers: list[str],
    changes: list[int],
) -> None:
    node = active_node(scripted__answers=answers, encode_rate=100.0)
    watching = watcher.watch(question='cups', answer_type=LOCATE, until=until, every_look=True)
    told = []
    for answer in answers:
        frame = robot.publish()
        told.append(watching.hear())
        assert (told[-1].answer, told[-1].header) == (answer, frame.header)
        assert all(place.point.header == frame.header for place in told[-1].located)
    ended = watching.end()
    assert ended.result.success and ended.result.header == frame.header
    assert ended.result.located == told[-1].located
    assert [number for number, look in enumerate(told) if look.changed] == changes
    assert [len(look.located) for look in told] == [answer.count('cup') for answer in answers]
    assert_nothing_is_left(node)


def test_places_are_not_shared_with_a_text_about_the_same_words(
    active_node: MakeNode, robot: Robot, watcher: Watcher
) -> None:
    active_node(scripted__answers=[cups(0)], encode_rate=100.0)
    watches = [
        watcher.watch(question='cups', answer_type=kind, max_new_tokens=99)
        for kind in (LOCATE, TEXT)
    ]
    robot.publish()
    assert [len(watch.hear().located) for watch in watches] == [1, 0]


def assert_nothing_is_left(node: VlmNode) -> None:
    watches = node._watches
    assert watches and not watches.count
    assert watches._evaluations and not watches._evaluations.count


def test_hundred_watches_cost_one(active_node: MakeNode, robot: Robot, watcher: Watcher) -> None:
    node = active_node(
        scripted__answers=['yes', 'no'], encode_rate=100.0,
        standing_questions=['path_clear'], standing__path_clear__question=QUESTION,
        standing__path_clear__period=0.0, timeout=600.0,
    )
    generated = Generated(node)
    watches = [watcher.watch(answer_type=YES_NO, every_look=True) for _ in range(100)]
    other = watcher.watch(answer_type=YES_NO, question='is it dark?', every_look=True)
    for _ in range(10):
        robot.publish()
        other.hear()
        assert len({watch.hear().header.stamp.nanosec for watch in watches}) == 1
    assert generated.questions.count(QUESTION) == generated.questions.count('is it dark?') == 10
    assert threading.active_count() < 30  # no thread for each
    for watch in watches:
        watch.cancel()
    other.cancel()
    assert all(w.end().status == GoalStatus.STATUS_CANCELED for w in watches)
    assert not any(watch.told.qsize() for watch in watches)


@timing
def test_questions_go_first(active_node: MakeNode, robot: Robot, watcher: Watcher) -> None:
    node = active_node(encode_rate=0.0, **SLOW)
    generated = Generated(node)
    queue = node._queue
    assert queue
    submit = queue.submit

    def note(ask: Ask, background: bool = False) -> None:
        submit(ask, background)
        if not background:
            generated.questions.append(f'{ask.options.request.question} has come')

    queue.submit = note  # type: ignore[method-assign]
    stop = threading.Event()

    def camera() -> None:
        while not stop.wait(0.02):
            robot.publish()

    thread = threading.Thread(target=camera)
    thread.start()
    try:
        watches = [watcher.watch(answer_type=YES_NO, question=f'watch {i}') for i in range(3)]
        for watch in watches:
            watch.hear()
        waits = []
        for i in range(10):
            waits.append(robot.ask(question=f'ask {i}').stats.queue_seconds)
        several = [robot.ask_later(question=f'ask {i}') for i in range(10, 15)]
        assert all(answer().success for answer in several)
    finally:
        stop.set()
        thread.join()
    print(f'waited {np.median(waits):.2f} s, at most {max(waits):.2f} s for a watch of 0.2 s')
    assert np.median(waits) < within(0.4)
    order = generated.questions
    for i in range(15):  # one that was taken just before may be noted just after
        between = order[order.index(f'ask {i} has come'):order.index(f'ask {i}')]
        assert sum(question.startswith('watch') for question in between) <= 1
    assert {f'watch {i}' for i in range(3)} <= set(order)  # they get what is left


@timing
@pytest.mark.parametrize('publishes', [False, True])
def test_cancel_ends_at_once(
    active_node: MakeNode, robot: Robot, watcher: Watcher, publishes: bool
) -> None:
    node = active_node(**SLOW | {'scripted__prefill_rate': 1.0})
    if publishes:
        robot.publish()
    watching = watcher.watch(answer_type=YES_NO)
    if publishes:
        wait_until(lambda: node._queue._running is not None)
    started = time.monotonic()
    watching.cancel()
    ended = watching.end()
    seconds = time.monotonic() - started
    print(f'cancelled after {1000 * seconds:.0f} ms')
    assert seconds < within(2.0)  # the question takes a minute
    assert ended.status == GoalStatus.STATUS_CANCELED
    assert ended.result.error_code == ErrorCode.CANCELLED and not ended.result.success
    assert_nothing_is_left(node)


@timing
def test_timeout_ends_a_watch(active_node: MakeNode, robot: Robot, watcher: Watcher) -> None:
    node = active_node(scripted__answers=['no'])
    robot.publish()
    started = time.monotonic()
    watching = watcher.watch(
        answer_type=YES_NO, until='yes', timeout=Duration(sec=2)  # it looks once before
    )
    ended = watching.end()
    assert 2.0 <= time.monotonic() - started < within(4.0)
    assert ended.status == GoalStatus.STATUS_ABORTED
    assert ended.result.error_code == ErrorCode.TIMEOUT
    assert (ended.result.choice, ended.result.looks) == ('no', 1)
    assert_nothing_is_left(node)


@pytest.mark.parametrize(
    ('goal', 'code', 'text'),
    [
        ({'question': ' '}, ErrorCode.BAD_REQUEST, 'empty'),
        ({'camera': 'rear'}, ErrorCode.BAD_REQUEST, 'rear'),
        ({'answer_type': CHOICE, 'choices': ['a']}, ErrorCode.BAD_REQUEST, '2 to 64'),
        ({'answer_type': YES_NO, 'until': 'maybe'}, ErrorCode.BAD_REQUEST, 'maybe'),
        ({'until': 'yes'}, ErrorCode.BAD_REQUEST, 'no choices'),
        ({'answer_type': LOCATE, 'until': 'unclear'}, ErrorCode.BAD_REQUEST, 'yes'),
        ({'period': Duration(sec=-1)}, ErrorCode.BAD_REQUEST, 'period'),
        ({'timeout': Duration(sec=-1)}, ErrorCode.BAD_REQUEST, 'timeout'),
        ({'max_new_tokens': 100_000}, ErrorCode.CONTEXT_EXCEEDED, 'context'),
    ],
)
def test_watch_that_makes_no_sense(
    active_node: MakeNode,
    robot: Robot,
    watcher: Watcher,
    goal: dict[str, Any],
    code: int,
    text: str,
) -> None:
    node = active_node()
    robot.publish()
    ended = watcher.watch(**goal).end()
    assert ended.status == GoalStatus.STATUS_ABORTED
    assert (ended.result.error_code, ended.result.success) == (code, False)
    assert text in ended.result.error_msg
    assert_nothing_is_left(node)


def test_frames_of_a_clock_that_was_set_back_are_seen(
    active_node: MakeNode, robot: Robot, watcher: Watcher
) -> None:
    active_node(scripted__answers=['yes'], encode_rate=100.0, max_age=600.0)
    watching = watcher.watch(answer_type=YES_NO, every_look=True)
    for age in (0.0, 60.0, 59.0, 58.0, 400.0, 0.0):
        frame = robot.publish(age=age)
        assert watching.hear().header == frame.header


def test_errors_are_told_when_they_begin(
    active_node: MakeNode, robot: Robot, watcher: Watcher
) -> None:
    node = active_node(scripted__answers=['yes'], timeout=0.1)
    watching = watcher.watch(answer_type=YES_NO)
    first = watching.hear()
    assert (first.error_code, first.choice_index) == (ErrorCode.NO_FRAME, -2)
    assert '/camera/image_raw' in first.error_msg and not first.changed
    queue = node._queue
    begun, submit = threading.Semaphore(0), queue.submit

    def count(*arguments: Any, **fields: Any) -> None:
        begun.release()
        submit(*arguments, **fields)

    queue.submit = count  # type: ignore[method-assign]
    assert begun.acquire(timeout=PATIENCE) and begun.acquire(timeout=PATIENCE)  # tried again
    assert watching.told.empty()
    robot.publish()
    while (told := watching.hear()).error_code == ErrorCode.TIMEOUT:  # the frame came too late
        pass
    assert told.choice == 'yes'
    assert watching.hear().error_code == ErrorCode.NO_FRAME  # none that is new: it has begun anew


@timing
def test_inactive_node_watches_nothing(
    make_node: MakeNode, robot: Robot, watcher: Watcher
) -> None:
    node = make_node(scripted__answers=['yes', 'no'], encode_rate=100.0)
    assert node.trigger_configure() is SUCCESS
    refused = watcher.watch(answer_type=YES_NO).end()
    assert refused.result.error_code == ErrorCode.INACTIVE
    assert 'activate' in refused.result.error_msg
    for _ in range(2):
        assert node.trigger_activate() is SUCCESS
        watches = [watcher.watch(answer_type=YES_NO) for _ in range(5)]
        robot.publish()
        assert len({watch.hear().choice for watch in watches}) == 1
        started = time.monotonic()
        assert node.trigger_deactivate() is SUCCESS
        assert time.monotonic() - started < within(1)
        for watch in watches:
            ended = watch.end()
            assert ended.result.error_code == ErrorCode.INACTIVE
            assert (ended.result.looks, ended.status) == (1, GoalStatus.STATUS_ABORTED)


@pytest.mark.parametrize('way', ['deactivate', 'cleanup'])
def test_twenty_walks_with_open_watches_leave_nothing(
    make_node: MakeNode, robot: Robot, watcher: Watcher, way: str
) -> None:
    node = make_node(
        scripted__answers=['yes', 'no'], encode_rate=100.0,
        standing_questions=['path_clear'], standing__path_clear__question=QUESTION,
    )
    threads: set[int] = set()
    assert node.trigger_configure() is SUCCESS
    for _ in range(20):
        assert node.trigger_activate() is SUCCESS
        watches: list[Watching] = [watcher.watch(answer_type=YES_NO) for _ in range(3)]
        robot.publish()
        assert watches[0].hear().choice
        assert node.trigger_deactivate() is SUCCESS
        for watch in watches:
            assert watch.end().result.error_code == ErrorCode.INACTIVE
        if way == 'cleanup':
            assert node.trigger_cleanup() is SUCCESS
            assert node.trigger_configure() is SUCCESS
        # The executor's come when they are needed, and stay.
        threads.add(sum('ThreadPool' not in t.name for t in threading.enumerate()))
    assert len(threads) == 1, threads
    assert node._watches and not node._watches.count
