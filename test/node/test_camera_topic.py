# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a camera's publishers offer is what is asked for; and why nothing comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import threading
from typing import Any

import pytest
import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot import PATIENCE, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vlm_npu_ros.node import camera_topic
from vlm_npu_ros.node.camera_topic import CameraTopic
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.parameter_specs import CameraQos

TOPIC = '/yard/gate'
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_topic, '_PERIOD', 0.1)


@pytest.fixture
def io(context: rclpy.Context) -> Iterator[IoNode]:
    main = Node('main', context=context)
    io = IoNode(main)
    yield io
    io.destroy_node()
    main.destroy_node()


@pytest.fixture
def driver() -> Iterator[Node]:
    """Give a camera's node, in another participant, which may use other types on a topic."""
    context = rclpy.Context()
    rclpy.init(context=context)
    yield Node('driver', context=context)
    context.try_shutdown()


class Watched:
    """A subscription, and what has come."""

    def __init__(self, io: IoNode, transport: str = 'raw', qos: CameraQos | None = None) -> None:
        self._io, self.came, self.count = io, threading.Event(), 0
        self.topic = CameraTopic(io, TOPIC, transport, qos or CameraQos(), self._receive)

    def _receive(self, message: bytes) -> None:
        assert isinstance(message, bytes)
        self.count += 1
        self.came.set()

    @property
    def qos(self) -> set[tuple[str, str]]:
        """Tell the policies of the subscriptions, as everybody sees them."""
        found = self._io.get_subscriptions_info_by_topic(TOPIC)
        return {
            (s.qos_profile.reliability.short_key, s.qos_profile.durability.short_key)
            for s in found
        }


@contextmanager
def watched(*args: Any, **kwargs: Any) -> Iterator[Watched]:
    one = Watched(*args, **kwargs)
    one.topic.start()
    try:
        yield one
    finally:
        one.topic.stop()
    assert not one.qos


def offered(io: IoNode, driver: Node, *profiles: QoSProfile) -> list[Publisher]:
    """Publish on the topic in these ways, and wait until that is known."""
    before = io.count_publishers(TOPIC)
    publishers = [driver.create_publisher(Image, TOPIC, profile) for profile in profiles]
    wait_until(lambda: io.count_publishers(TOPIC) == before + len(profiles))
    return publishers


def publishing(publisher: Publisher, condition: Callable[[], bool]) -> None:
    """Publish until the condition is met."""
    def is_met() -> bool:
        publisher.publish(Image())
        return condition()

    wait_until(is_met)


OFFERS: list[tuple[tuple[QoSProfile, ...], tuple[str, str]]] = [
    ((), ('best_effort', 'volatile')),
    ((BEST_EFFORT,), ('best_effort', 'volatile')),
    ((RELIABLE,), ('reliable', 'volatile')),
    ((LATCHED,), ('reliable', 'transient_local')),
    ((RELIABLE, LATCHED), ('reliable', 'volatile')),
    ((LATCHED, BEST_EFFORT), ('best_effort', 'volatile')),
]


def test_what_all_publishers_offer_is_asked_for(io: IoNode, driver: Node) -> None:
    for offers, wanted in OFFERS:
        publishers = offered(io, driver, *offers)
        with watched(io) as camera:
            assert camera.qos == {wanted}, offers
        for publisher in publishers:
            driver.destroy_publisher(publisher)
        wait_until(lambda: not io.count_publishers(TOPIC))


def test_it_follows_when_the_publishers_change(io: IoNode, driver: Node) -> None:
    with watched(io) as camera:
        for offers, wanted in OFFERS:
            publishers = offered(io, driver, *offers)
            wait_until(lambda wanted=wanted: wanted in camera.qos)
            for publisher in publishers[:1]:
                camera.came.clear()
                publishing(publisher, camera.came.is_set)
                publishing(publisher, lambda wanted=wanted: camera.qos == {wanted})
            for publisher in publishers:
                driver.destroy_publisher(publisher)
            wait_until(lambda: not io.count_publishers(TOPIC))


def test_latched_frame_comes_whenever_it_was_published(io: IoNode, driver: Node) -> None:
    (publisher,) = offered(io, driver, LATCHED)
    publisher.publish(Image())
    with watched(io) as camera:
        assert camera.came.wait(PATIENCE)
    driver.destroy_publisher(publisher)
    wait_until(lambda: not io.count_publishers(TOPIC))
    with watched(io) as camera:
        (publisher,) = offered(io, driver, LATCHED)
        publisher.publish(Image())
        assert camera.came.wait(PATIENCE)


def test_no_frame_is_missed_while_it_follows(io: IoNode, driver: Node) -> None:
    with watched(io) as camera:
        (publisher,) = offered(io, driver, RELIABLE)
        wait_until(lambda: publisher.get_subscription_count() > 0)
        sent, tick = 0, threading.Event()
        while ('reliable', 'volatile') not in camera.qos or sent < 10:
            publisher.publish(Image())
            sent += 1
            tick.wait(0.05)
        wait_until(lambda: camera.count >= sent)


def test_settings_come_first(io: IoNode, driver: Node) -> None:
    offered(io, driver, LATCHED)
    for qos, wanted in {
        CameraQos('best_effort'): ('best_effort', 'transient_local'),
        CameraQos(durability='volatile'): ('reliable', 'volatile'),
        CameraQos('best_effort', 'volatile'): ('best_effort', 'volatile'),
    }.items():
        with watched(io, qos=qos) as camera:
            assert camera.qos == {wanted}
    with watched(io, qos=CameraQos('reliable', 'transient_local', 'keep_all', 7)) as camera:
        assert camera.qos == {('reliable', 'transient_local')}
        (used,) = io.subscriptions
        assert used.qos_profile.history.short_key == 'keep_all'
        assert used.qos_profile.depth == 7


def published(driver: Node, *topics: tuple[str, type]) -> Callable[[], None]:
    """Publish these, and give a function that stops it."""
    publishers = [driver.create_publisher(kind, topic, RELIABLE) for topic, kind in topics]
    return lambda: [driver.destroy_publisher(publisher) for publisher in publishers] and None


# What else is published, the transport, and a part of the reason and of the remedy.
ELSEWHERE: list[tuple[tuple[tuple[str, type], ...], str, str, str]] = [
    ((), 'raw', f'nobody publishes {TOPIC}', 'no image topic is published'),
    (((TOPIC, CompressedImage),), 'raw', 'as sensor_msgs/msg/CompressedImage, not as '
     'sensor_msgs/msg/Image', 'Set gate.transport to compressed'),
    (((TOPIC, Image),), 'compressed', 'as sensor_msgs/msg/Image', 'Set gate.transport to raw'),
    (((TOPIC, Image), (f'{TOPIC}/compressed', CompressedImage)), 'compressed',
     'as sensor_msgs/msg/Image',
     f'Set gate.topic to {TOPIC}/compressed, or gate.transport to raw'),
    (((f'{TOPIC}/compressed', CompressedImage),), 'raw', 'nobody publishes',
     f'Set gate.topic to {TOPIC}/compressed and gate.transport to compressed'),
    (((TOPIC, CameraInfo),), 'raw', 'as sensor_msgs/msg/CameraInfo', 'no image topic'),
    ((('/roof', Image), ('/cellar', CompressedImage)), 'raw', 'nobody publishes',
     'to what is published: /cellar (compressed), /roof (raw)'),
]


def test_reason_names_what_is_published_instead(io: IoNode, driver: Node) -> None:
    for topics, transport, reason, remedy in ELSEWHERE:
        stop = published(driver, *topics)
        with watched(io, transport) as camera:
            for topic, _ in topics:
                wait_until(lambda topic=topic: io.count_publishers(topic) > 0)
            what, todo = camera.topic.silence('gate')
            assert reason in what and remedy in todo, (what, todo)
        stop()
        for topic, _ in topics:
            wait_until(lambda topic=topic: not io.count_publishers(topic))


MISMATCHES = [
    (CameraQos('reliable'), BEST_EFFORT, 'published with best effort', 'image_reliability'),
    (CameraQos(durability='transient_local'), RELIABLE, 'published as volatile', 'qos_overrides'),
    (CameraQos(durability='volatile'), LATCHED, 'is latched', 'qos_overrides'),
    (CameraQos(), RELIABLE, 'has 1 publisher, but nothing comes', f'ros2 topic hz {TOPIC}'),
]


def test_reason_names_the_policy_that_does_not_fit(io: IoNode, driver: Node) -> None:
    for qos, offer, reason, remedy in MISMATCHES:
        (publisher,) = offered(io, driver, offer)
        with watched(io, qos=qos) as camera:
            what, todo = camera.topic.silence('gate')
            assert reason in what and remedy in todo, (what, todo)
        driver.destroy_publisher(publisher)
        wait_until(lambda: not io.count_publishers(TOPIC))
