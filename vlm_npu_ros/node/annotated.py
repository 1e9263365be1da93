# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The topics that show answers: the frame with what was said about it, and detections."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from vlm_npu_ros.engine.drawing import annotated, Mark
from vlm_npu_ros.engine.opencv import turned
from vlm_npu_ros.msg import Located
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.camera_messages import jpeg_image
from vlm_npu_ros.node.located import told

_MOST = 4  # answers that wait to be drawn
_LOG_PERIOD = 5.0  # seconds


class Annotations:
    """
    Publishes each answered question as a picture (`~/annotated`), places as detections, too.

    Only for subscribers, and in a thread of its own, so that no question waits for it; what comes
    faster than it can be drawn is left out, the oldest first.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._pictures = node.create_publisher(CompressedImage, '~/annotated', 10)
        self._detections = _detections_publisher(node)
        self._waiting: deque[Ask] = deque(maxlen=_MOST)
        self._thread = ThreadPoolExecutor(1, 'annotate')

    @property
    def is_drawn(self) -> bool:
        """Whether somebody wants the pictures."""
        return _has_readers(self._pictures)

    def add(self, ask: Ask) -> None:
        """Take a question that was answered."""
        if self.is_drawn or _has_readers(self._detections):
            self._waiting.append(ask)
            self._thread.submit(self._publish)

    def close(self) -> None:
        """Remove the topics."""
        self._thread.shutdown(cancel_futures=True)
        for publisher in filter(None, (self._pictures, self._detections)):
            self._node.destroy_publisher(publisher)

    def _publish(self) -> None:
        if not self._waiting:  # more were left out
            return
        ask = self._waiting.popleft()
        try:
            frame = ask.frame
            assert frame
            places = ask.located
            if self._detections and ask.options.locates and _has_readers(self._detections):
                self._detections.publish(_detections(places, frame.header))
            if frame.picture and self.is_drawn:
                part = astuple(frame.placement.box) if frame.placement and frame.region else None
                marks = [_mark(place) for place in places]
                drawn = annotated(frame.picture(), marks, _caption(ask), part)
                self._pictures.publish(jpeg_image(turned(drawn), 'rgb8', frame.header))
        except Exception as error:
            self._node.get_logger().warning(
                f'An answer could not be drawn: {type(error).__name__}: {error}',
                throttle_duration_sec=_LOG_PERIOD)


def _has_readers(publisher: Publisher | None) -> bool:
    return publisher is not None and publisher.get_subscription_count() > 0


def _caption(ask: Ask) -> str:
    """Return the question and what the answer comes to."""
    request, verdict, said = ask.options.request, ask.verdict, ask.answer
    if ask.options.locates:
        said = f'{len(ask.spots)} found' if ask.spots else 'not seen'
    elif verdict:
        sure = f' ({verdict.probability:.0%})' if verdict.probability else ''
        said = request.decided(verdict) + sure
    colon = ':' if request.question[-1].isalnum() else ''
    return f'{request.question}{colon} {said}'


def _mark(place: Located) -> Mark:
    box = place.box
    return Mark(told(place), (box.x_offset, box.y_offset, box.width, box.height))


def _detections_publisher(node: Node) -> Publisher | None:
    """Make the topic of detections; None if the package vision_msgs is not installed."""
    try:
        from vision_msgs.msg import Detection2DArray
    except ImportError:
        return None
    return node.create_publisher(Detection2DArray, '~/located', 10)


def _detections(places: list[Located], header: Header) -> Any:
    """Make a Detection2DArray; its poses are the points, 0, 0, 0 where there are none."""
    from vision_msgs import msg as vision

    detections = []
    for place in places:
        box, told = place.box, vision.Detection2D(header=header)
        told.bbox.center.position.x = box.x_offset + box.width / 2
        told.bbox.center.position.y = box.y_offset + box.height / 2
        told.bbox.size_x, told.bbox.size_y = float(box.width), float(box.height)
        result = vision.ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = place.label, place.score
        result.pose.pose.position = place.point.point
        told.results = [result]
        detections.append(told)
    return vision.Detection2DArray(header=header, detections=detections)
