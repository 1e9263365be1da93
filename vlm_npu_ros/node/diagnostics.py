"""How the node is doing, on /diagnostics."""

from __future__ import annotations

from collections.abc import Iterable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.cameras import CameraCounts, CameraFeed
from vlm_npu_ros.node.frames import NANOSECONDS

_PERIOD = 1.0  # seconds


class Diagnostics:
    """Publishes one status for the node and one for each camera, once a second."""

    def __init__(
        self,
        node: Node,
        queue: AskQueue,
        feeds: Iterable[CameraFeed],
        identity: tuple[str, str],
    ) -> None:
        self._node = node
        self._queue = queue
        self._identity = identity
        self._last = {feed: CameraCounts() for feed in feeds}
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 1)
        self._timer = node.create_timer(
            _PERIOD, self._publish, callback_group=MutuallyExclusiveCallbackGroup()
        )

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _publish(self) -> None:
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = [self._engine_status(), *map(self._camera_status, self._last)]
        self._publisher.publish(message)

    def _engine_status(self) -> DiagnosticStatus:
        backend, model = self._identity
        return self._status(
            'engine',
            DiagnosticStatus.OK,
            'Answering questions',
            {'backend': backend, 'model': model, 'questions waiting': self._queue.depth},
        )

    def _camera_status(self, feed: CameraFeed) -> DiagnosticStatus:
        before, counts = self._last[feed], feed.counts
        self._last[feed] = CameraCounts(counts.received, counts.encoded, counts.bad)
        level, text = DiagnosticStatus.OK, 'Frames arrive'
        if counts.received == before.received:
            level, text = DiagnosticStatus.WARN, f'No frame arrives on {feed.topic}'
        elif counts.bad > before.bad:
            level, text = DiagnosticStatus.WARN, 'Frames arrive that can not be read'
        age = 'none'
        if feed.frame:
            now = self._node.get_clock().now().nanoseconds
            age = f'{(now - feed.frame.stamp) / NANOSECONDS:.2f}'
        values = {
            'topic': feed.topic,
            'frames per second': f'{(counts.received - before.received) / _PERIOD:.1f}',
            'encoded per second': f'{(counts.encoded - before.encoded) / _PERIOD:.1f}',
            'bad frames': counts.bad,
            'age of the newest embedding, s': age,
        }
        return self._status(f'camera {feed.settings.name}', level, text, values)

    def _status(
        self, part: str, level: bytes, text: str, values: dict[str, object]
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f'{self._node.get_name()}: {part}',
            message=text,
            hardware_id=self._identity[0],
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
