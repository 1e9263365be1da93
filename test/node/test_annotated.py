# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers as pictures and detections: of which frame, what is in them, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
import os
from pathlib import Path
import queue
import threading
from typing import Any

from built_package import provide
import numpy as np
import pytest
from robot import PATIENCE, Robot, wait_until
from sensor_msgs.msg import CompressedImage, RegionOfInterest
from vlm_npu_ros.engine.backends.scripted import ScriptedLanguageModel
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.engine.drawing import annotated, Mark
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.opencv import turned
from vlm_npu_ros.engine.types import Chunk, GenerationRequest
from vlm_npu_ros.node import annotated as annotations
from vlm_npu_ros.node.camera_messages import jpeg_image
from vlm_npu_ros.node.vlm_node import VlmNode
from vlm_npu_ros.srv import Ask

MakeNode = Callable[..., VlmNode]
LOCATE = Ask.Request.LOCATE
CUP = json.dumps([{'bbox_2d': [250, 250, 500, 750], 'label': 'cup'}])
RED, BLUE = (np.full((240, 320, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))


class Viewer:
    """Somebody who looks at a topic."""

    def __init__(
        self, robot: Robot, topic: str = 'annotated', kind: Any = CompressedImage
    ) -> None:
        self.told: queue.Queue[Any] = queue.Queue()
        self._node, name = robot.node, f'/vlm/{topic}'
        self._subscription = robot.node.create_subscription(kind, name, self.told.put, 100)
        wait_until(lambda: robot.node.count_publishers(name) > 0)

    def see(self) -> Any:
        return self.told.get(timeout=PATIENCE)

    def leave(self) -> None:
        self._node.destroy_subscription(self._subscription)


def viewer(robot: Robot, node: VlmNode) -> Viewer:
    """Begin to look at the pictures of a node."""
    viewer = Viewer(robot)
    wait_until(lambda: node._annotations.is_drawn)
    return viewer


def assert_shows(message: CompressedImage, frame: Any, expected: np.ndarray) -> None:
    """Compare a picture with what should have been drawn."""
    assert message == jpeg_image(turned(expected), 'rgb8', frame.header)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Give what lets the model write its answers."""
    go, generate = threading.Event(), ScriptedLanguageModel.generate

    def wait(
        self: ScriptedLanguageModel, request: GenerationRequest, cancelled: Cancellation
    ) -> Iterator[Chunk]:
        assert go.wait(PATIENCE)
        yield from generate(self, request, cancelled)

    monkeypatch.setattr(ScriptedLanguageModel, 'generate', wait)
    yield go
    go.set()


def test_the_picture_is_the_frame_of_the_answer_while_the_camera_moves_on(
    active_node: MakeNode, robot: Robot, held: threading.Event
) -> None:
    node = active_node(scripted__answers=[CUP, 'a cup'], encode_rate=100.0)
    look = viewer(robot, node)
    frame = robot.publish(RED)
    answer = robot.ask_later(question='the cup', answer_type=LOCATE, conversation_id='tour')
    wait_until(lambda: node._queue._running is not None)
    feed = node._feeds['camera']
    received = feed.counts.received
    for count in range(1, 4):
        newest = robot.publish(BLUE)
        wait_until(lambda count=count: feed.counts.received == received + count)
    held.set()
    assert answer().header == frame.header
    box = Mark('cup', (80, 60, 80, 120))
    assert_shows(look.see(), frame, annotated(RED, [box], 'the cup: 1 found'))
    # The dialogue goes on about its frame.
    wait_until(lambda: feed.frame.header == newest.header)
    assert robot.ask(question='what is it?', conversation_id='tour').header == frame.header
    assert_shows(look.see(), frame, annotated(RED, [], 'what is it? a cup'))
    assert robot.ask(question='and now?').header == newest.header
    assert_shows(look.see(), newest, annotated(BLUE, [], f'and now? {CUP}'))


def test_each_kind_of_answer_is_told(active_node: MakeNode, robot: Robot) -> None:
    rows: tuple[tuple[str, dict[str, Any], str], ...] = (
        ('a red wall', {}, 'what? a red wall'),
        ('Yes, it is.', {'answer_type': 1}, 'what? yes'),
        ('Hard to say.', {'answer_type': 1, 'never_ask_back': True}, 'what? unclear'),
        ('3', {'answer_type': 3}, 'what? 3'),
        ('[]', {'answer_type': LOCATE}, 'what? not seen'),
        ('On the table.', {'answer_type': LOCATE}, ''),  # an error
        ('{"a": 1}', {'answer_type': 5}, 'what? {"a": 1}'),
    )
    node = active_node(scripted__answers=[said for said, *_ in rows])
    look = viewer(robot, node)
    frame = robot.publish(RED)
    for said, fields, expected in rows:
        assert robot.ask(question='what?', **fields).success is bool(expected), said
        if expected:
            assert_shows(look.see(), frame, annotated(RED, [], expected))
    assert look.told.empty()


def test_turned_frames_parts_of_them_and_pictures_of_questions_are_drawn_as_they_came(
    active_node: MakeNode, robot: Robot
) -> None:
    node = active_node(scripted__answers=[CUP], camera__rotate=90)
    look = viewer(robot, node)
    frame = robot.publish(RED)
    part = RegionOfInterest(x_offset=100, y_offset=20, width=200, height=200)
    (found,) = robot.ask(question='the cup', answer_type=LOCATE, roi=part).located
    box = found.box.x_offset, found.box.y_offset, found.box.width, found.box.height
    assert box == (150, 120, 100, 50)
    expected = annotated(RED, [Mark('cup', box)], 'the cup: 1 found', (100, 20, 200, 200))
    assert_shows(look.see(), frame, expected)
    own = jpeg_image(BLUE, 'bgr8', frame.header)  # red
    own.header.frame_id = 'file'
    robot.ask(question='and here?', compressed_images=[own])
    assert_shows(look.see(), own, annotated(to_rgb(own), [], f'and here? {CUP}'))


def test_nothing_is_drawn_or_kept_while_nobody_looks(
    active_node: MakeNode, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def draw(rgb: np.ndarray, marks: Any, text: str, part: Any) -> np.ndarray:
        drawn.append(text)
        if 'fails' in text:
            raise RuntimeError('a fault')
        return rgb

    monkeypatch.setattr(annotations, 'annotated', draw)
    node = active_node(scripted__answers=['red'], encode_rate=100.0, history_seconds=600.0)
    robot.publish(RED)
    for name in ('a', 'b'):
        assert robot.ask(question='unseen', conversation_id=name).success
    kept = [dialogue.frames[0] for dialogue in node._conversations.newest_first()]
    assert [frame.picture for frame in kept] == [None, None] and not drawn
    look = viewer(robot, node)
    for question in ('first', 'fails', 'second'):  # about a frame of before
        assert robot.ask(question=question).success
    assert len([look.see(), look.see()]) == 2
    assert drawn == ['first: red', 'fails: red', 'second: red']
    look.leave()
    wait_until(lambda: not node._annotations.is_drawn)
    assert robot.ask(question='unseen again').success
    robot.publish(BLUE)
    wait_until(lambda: len(node._feeds['camera'].history) == 2)
    assert [f.picture is None for f in node._feeds['camera'].history._frames] == [True, False]
    assert len(drawn) == 3


def test_places_are_published_as_detections(active_node: MakeNode, robot: Robot) -> None:
    if os.environ.get('VLM_FUZZ') == 'full':  # it takes half a minute
        provide('vision_msgs', Path(__file__).parents[1] / 'vision_interfaces')
    pytest.importorskip('vision_msgs', reason='not installed; `make fuzz` builds its messages')
    from vision_msgs.msg import Detection2DArray

    node = active_node(scripted__answers=[CUP, '[]', 'a cup'])
    look = Viewer(robot, 'located', Detection2DArray)
    wait_until(lambda: node._annotations._detections.get_subscription_count() > 0)
    frame = robot.publish(RED)
    for answer_type in LOCATE, LOCATE, Ask.Request.TEXT:
        assert robot.ask(question='the cup', answer_type=answer_type).success
    told, none = look.see(), look.see()
    assert told.header == none.header == frame.header and not none.detections
    (cup,) = told.detections
    assert cup.header == frame.header
    centre = cup.bbox.center.position
    assert (centre.x, centre.y, cup.bbox.size_x, cup.bbox.size_y) == (120, 120, 80, 120)
    assert [r.hypothesis.class_id for r in cup.results] == ['cup']
    assert look.told.empty()
