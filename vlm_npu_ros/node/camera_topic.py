# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The topic of a camera: a subscription that takes what is offered, and why nothing comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import time
from typing import Any, NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.parameter_specs import CameraQos

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

_MESSAGES = {'raw': Image, 'compressed': CompressedImage}
_TRANSPORTS = {f'sensor_msgs/msg/{kind.__name__}': name for name, kind in _MESSAGES.items()}
_PERIOD = 1.0  # seconds between looks at what the publishers offer
_LATELY = 5.0  # seconds for which lost frames are a reason
_MOST_NAMED = 5  # topics in a sentence


class _Promise(NamedTuple):
    """What a publisher offers, or a subscription asks for."""

    reliable: bool
    latched: bool  # durability transient_local

    def satisfies(self, asked: _Promise) -> bool:
        return self.reliable >= asked.reliable and self.latched >= asked.latched


class CameraTopic:
    """
    Subscribes to the topic of one camera, in the way that its publishers offer it.

    Reliable, or the last frame from before, is asked for if all publishers offer it, unless the
    settings say otherwise. A large frame is cut into many pieces: with best effort, losing one of
    them loses the frame. It follows when the publishers change.

    io: subscribes. name: the full name. received: called in the thread of `io` with each message,
    serialised; must be quick.
    """

    def __init__(
        self,
        io: IoNode,
        name: str,
        transport: str,
        qos: CameraQos,
        received: Callable[[bytes], None],
    ) -> None:
        self.name, self.message_type = name, _MESSAGES[transport]
        self._io, self._transport, self._qos = io, transport, qos
        self._received = received
        self._asked = _Promise(reliable=False, latched=False)
        # Two while it follows: the former one, until the newest has received something.
        self._subscriptions: list[Subscription] = []
        self._newest_receives = False
        self._timer: Timer | None = None
        self._lost, self._lost_at = 0, 0.0  # frames; time.monotonic()

    def start(self) -> None:
        """Subscribe."""
        self._subscribe(self._wanted())
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._io.create_timer(_PERIOD, self._follow, clock=steady)

    def stop(self) -> None:
        """Unsubscribe."""
        self._io.run(self._end)

    def _end(self) -> None:
        if self._timer:
            self._io.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._io.destroy_subscription(subscription)
        self._timer, self._subscriptions = None, []

    def _follow(self) -> None:
        """Subscribe anew if the publishers offer something else than before."""
        wanted = self._wanted()
        if wanted != self._asked:
            self._subscribe(wanted)
        if len(self._subscriptions) > (1 if self._newest_receives else 2):
            self._io.destroy_subscription(self._subscriptions.pop(0))

    def _wanted(self) -> _Promise:
        chosen, offers = self._qos, self._offers()
        return _Promise(
            reliable=chosen.reliability == 'reliable' or chosen.reliability == 'auto'
            and bool(offers) and all(offer.reliable for offer in offers),
            latched=chosen.durability == 'transient_local' or chosen.durability == 'auto'
            and bool(offers) and all(offer.latched for offer in offers),
        )

    def _offers(self) -> list[_Promise]:
        return [
            _Promise(
                publisher.qos_profile.reliability is ReliabilityPolicy.RELIABLE,
                publisher.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL,
            )
            for publisher in self._io.get_publishers_info_by_topic(self.name)
            if _TRANSPORTS.get(publisher.topic_type) == self._transport
        ]

    def _subscribe(self, wanted: _Promise) -> None:
        self._asked, self._newest_receives = wanted, False
        reliable, latched = wanted
        qos = QoSProfile(
            depth=self._qos.depth,
            history=HistoryPolicy.get_from_short_key(self._qos.history),
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            ),
        )

        def receive(message: bytes) -> None:
            self._newest_receives |= self._asked is wanted
            self._received(message)

        def subscribe(**callbacks: Callable[[Any], None]) -> Subscription:
            # Not the default ones, which log what `silence` tells.
            events = SubscriptionEventCallbacks(use_default_callbacks=False, **callbacks)
            return self._io.create_subscription(
                self.message_type, self.name, receive, qos, event_callbacks=events, raw=True
            )

        # An event costs the executor time at each message, and what is reliable loses none.
        events = {} if reliable else {'message_lost': self._on_lost}
        try:
            self._subscriptions.append(subscribe(**events))
        except UnsupportedEventTypeError:
            self._subscriptions.append(subscribe())

    def _on_lost(self, status: Any) -> None:
        self._lost, self._lost_at = status.total_count, time.monotonic()

    def silence(self, camera: str) -> tuple[str, str]:
        """
        Say why no frame comes, and what to do about it, by the graph; may take a millisecond.

        camera: the name in its parameters.
        """
        offers, asked = self._offers(), self._asked
        if not offers:
            return self._not_published(camera)
        if not any(offer.reliable >= asked.reliable for offer in offers):
            return (
                f'{self.name} is published with best effort, but asked for reliably',
                'Set image_reliability to auto, or the reliability in qos_overrides',
            )
        if not any(offer.satisfies(asked) for offer in offers):
            return (
                f'{self.name} is published as volatile, but asked for as transient_local',
                'Set the durability in qos_overrides to auto',
            )
        if not asked.reliable and time.monotonic() - self._lost_at < _LATELY:
            reliably = all(offer.reliable for offer in offers)
            return (
                f'frames of {self.name} get lost on the way ({self._lost} until now): with best '
                'effort, large ones hardly arrive',
                'Set image_reliability to auto' if reliably else
                'Let the camera publish reliably, or smaller or compressed frames',
            )
        if not asked.latched and any(offer.latched for offer in offers):
            return (
                f'{self.name} is latched (transient_local), but asked for as volatile: what was '
                'published before does not come',
                'Set the durability in qos_overrides to auto',
            )
        many = len(offers) != 1
        return (
            f'{self.name} has {len(offers)} publisher{"s" * many}, but nothing comes',
            f'Look at the camera: ros2 topic hz {self.name}',
        )

    def _not_published(self, camera: str) -> tuple[str, str]:
        """Say as what the topic is published, if it is, and what is published instead."""
        publishers = self._io.get_publishers_info_by_topic(self.name)
        kinds = ' and '.join(sorted({publisher.topic_type for publisher in publishers}))
        wanted = f'sensor_msgs/msg/{self.message_type.__name__}'
        what = f'{self.name} is published as {kinds}, not as {wanted}' if kinds else (
            f'nobody publishes {self.name}')
        others = list(self._published())
        base = _base(self.name)
        related = [other for other in others if _base(other[0]) == base]
        if related:
            related.sort(key=lambda other: other[1] != self._transport)
            return what, f'Set {", or ".join(self._change(camera, *r) for r in related)}'
        if others:
            named = ', '.join(f'{topic} ({how})' for topic, how in sorted(others)[:_MOST_NAMED])
            return what, (
                f'Start the camera, or set {camera}.topic and {camera}.transport to what is '
                f'published: {named}'
            )
        return what, 'Start the camera, with the same ROS_DOMAIN_ID: no image topic is published'

    def _published(self) -> Iterator[tuple[str, str]]:
        """Find all image topics that are published, and their transport."""
        for topic, kinds in self._io.get_topic_names_and_types():
            if _TRANSPORTS.keys() & kinds:  # of subscriptions, too
                publishers = self._io.get_publishers_info_by_topic(topic)
                for kind in _TRANSPORTS.keys() & {p.topic_type for p in publishers}:
                    yield topic, _TRANSPORTS[kind]

    def _change(self, camera: str, topic: str, transport: str) -> str:
        """Say what to set for another topic."""
        changes = [f'{camera}.topic to {topic}'] if topic != self.name else []
        if transport != self._transport:
            changes.append(f'{camera}.transport to {transport}')
        return ' and '.join(changes)


def _base(topic: str) -> str:
    """Return what the raw and the compressed topic of a camera have in common."""
    return topic.removesuffix('/compressed')
