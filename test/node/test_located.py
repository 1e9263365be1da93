# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Where things are: boxes of the model, points by depth picture and calibration, over ROS."""

from __future__ import annotations

from collections.abc import Callable
import json
import math
import threading

from builtin_interfaces.msg import Time
from fuzz.fuzzing import FULL
import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from robot import Robot, wait_until
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vlm_npu_ros.demo.scene_camera import calibration as scene_calibration
from vlm_npu_ros.demo.scenes import depth_map, object_box, random_scene, render
from vlm_npu_ros.engine.backends.scripted import ScriptedEncoder
from vlm_npu_ros.engine.types import Spot
from vlm_npu_ros.msg import ErrorCode, Located
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.located import located, Surroundings
from vlm_npu_ros.node.parameter_specs import CameraSettings
from vlm_npu_ros.node.space import SpaceFeed
from vlm_npu_ros.node.vlm_node import VlmNode
from vlm_npu_ros.srv import Ask

LOCATE = Ask.Request.LOCATE
SPACE = {'camera__depth': 'camera/depth', 'camera__camera_info': 'camera/camera_info'}
CUP = json.dumps([{'bbox_2d': [250, 250, 500, 750], 'label': 'cup'}])


def calibration(width: int = 64, height: int = 48, **fields: object) -> CameraInfo:
    x, y = width / 2 - 0.5, height / 2 - 0.5
    k = [60.0, 0.0, x, 0.0, 60.0, y, 0.0, 0.0, 1.0]
    p = [50.0, 0.0, x, 0.0, 0.0, 50.0, y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return CameraInfo(**{
        'width': width, 'height': height, 'k': k, 'p': p, 'distortion_model': 'plumb_bob',
        'd': [0.0] * 5, **fields,
    })


def depth(metres: np.ndarray, encoding: str = '16UC1', gap: int = 0, big: bool = False) -> Image:
    kind, scale = ('u2', 1000) if encoding == '16UC1' else ('f4', 1)
    rows = (metres * scale).astype(('>' if big else '<') + kind)
    height, width = rows.shape
    padded = np.zeros((height, width * rows.itemsize + gap), np.uint8)
    padded[:, :width * rows.itemsize] = rows.view(np.uint8).reshape(height, -1)
    return Image(encoding=encoding, height=height, width=width, step=padded.shape[1],
                 is_bigendian=big, data=padded.tobytes())


class Filming:
    """Publishes pictures with their depth and calibration."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._depths = robot.node.create_publisher(Image, 'camera/depth', 10)
        self._infos = robot.node.create_publisher(CameraInfo, 'camera/camera_info', 10)
        for publisher in (self._depths, self._infos):
            wait_until(lambda: publisher.get_subscription_count() > 0)  # noqa: B023

    def located(
        self, thing: str, info: CameraInfo, metres: np.ndarray, picture: np.ndarray | None = None
    ) -> list[Located]:
        """Ask where a thing is; the frame may come before what belongs to it, so repeat that."""
        found: list[Located] = []

        def look() -> bool:
            nonlocal found
            frame = self._robot.publish(picture)
            for publisher, message in (self._infos, info), (self._depths, depth(metres)):
                message.header = frame.header
                publisher.publish(message)
            response = self._robot.ask(
                question=thing, answer_type=LOCATE, not_before=frame.header.stamp)
            assert response.success, response.error_msg
            found = response.located
            assert all(place.point.header == frame.header for place in found)
            return all(place.has_point for place in found)

        wait_until(look)
        return found


def test_a_box_is_in_pixels_of_the_camera_and_has_a_point(
    active_node: Callable[..., VlmNode], robot: Robot
) -> None:
    active_node(scripted__answers=[CUP], **SPACE)
    (found,) = Filming(robot).located('the cup', calibration(), np.full((48, 64), 2.0))
    assert (found.label, found.point.header.frame_id) == ('cup', 'camera_optical_frame')
    box = found.box
    assert (box.x_offset, box.y_offset, box.width, box.height) == (16, 12, 16, 24)
    place = found.point.point
    np.testing.assert_allclose((place.x, place.y, place.z), (-8 / 30, 0, 2), atol=1e-3)


def test_the_demo_model_tells_where_things_are_in_space(
    active_node: Callable[..., VlmNode], robot: Robot
) -> None:
    active_node(backend='onnx', cpu_threads=1, **SPACE)
    filming = Filming(robot)
    close = asked = 0
    for seed in range(300 if FULL else 20):
        scene = random_scene(np.random.default_rng((4_000_003, seed)))
        if not scene.objects:
            continue
        thing = scene.objects[seed % len(scene.objects)]
        found = filming.located(
            f'the {thing.name}', scene_calibration(320, 240, Header()),
            depth_map(scene, 320, 240), render(scene, 320, 240),
        )
        asked += 1
        left, top, right, bottom = (320 * v for v in object_box(scene, thing, 240 / 320))
        ray = ((left + right) / 2 - 160) / 288, ((top + bottom) / 2 - 120) / 288, 1.0
        true = [v * thing.distance for v in ray]
        if len(found) == 1:
            point = found[0].point.point
            away = math.dist((point.x, point.y, point.z), true)
            close += away < 0.1 * math.hypot(*true)
    assert close >= 0.9 * asked, f'{close} of {asked}'


def test_depth_of_a_frame_is_not_lost_while_it_is_encoded(
    active_node: Callable[..., VlmNode], robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = active_node(scripted__answers=[CUP], **SPACE)._feeds['camera']
    encode = ScriptedEncoder.encode

    def slowly(encoder: ScriptedEncoder, picture: np.ndarray) -> np.ndarray:
        assert camera.arrivals.newest
        for number in range(60):  # at 30 Hz; each farther than the one before
            message = depth(np.full((48, 64), 2.0 + number))
            sec, nanosec = divmod(camera.arrivals.newest.stamp + number * 10**9 // 30, 10**9)
            message.header.stamp = Time(sec=sec, nanosec=nanosec)
            camera.space._take_depth(serialize_message(message))
        return encode(encoder, picture)

    monkeypatch.setattr(ScriptedEncoder, 'encode', slowly)
    camera.space._take_info(serialize_message(calibration()))
    robot.publish()
    (found,) = robot.ask(question='the cup', answer_type=LOCATE).located
    assert found.has_point and found.point.point.z == pytest.approx(2.0)


def test_without_depth_and_calibration_there_is_a_box(
    active_node: Callable[..., VlmNode], robot: Robot
) -> None:
    active_node(scripted__answers=[CUP, '[]', 'On the table.'], camera__rotate=90)
    robot.publish()
    (found,) = robot.ask(question='the cup', answer_type=LOCATE).located
    box = found.box  # of the picture before it was turned
    assert (box.x_offset, box.y_offset, box.width, box.height) == (16, 24, 32, 12)
    assert not found.has_point and found.bearing.z == 0
    nothing = robot.ask(question='the cup', answer_type=LOCATE)
    assert nothing.success and not nothing.located
    wrong = robot.ask(question='the cup', answer_type=LOCATE)
    assert wrong.error_code == ErrorCode.BAD_ANSWER and 'On the table' in wrong.error_msg
    assert wrong.answer == 'On the table.'
    assert ''.join(p.delta for p in robot.partials_of(wrong.request_id)) == wrong.answer
    several = robot.ask(question='the cup', answer_type=LOCATE, num_frames=2)
    assert several.error_code == ErrorCode.BAD_REQUEST


def test_depth_pictures_of_all_kinds_and_sizes_are_read() -> None:
    spots = (Spot('cup', (16.0, 12.0, 32.0, 36.0)),)
    metres = np.full((48, 64), 3.0)
    lens = serialize_message(calibration())
    for picture, expected in (
        (depth(metres), 3.0),
        (depth(metres, '32FC1'), 3.0),
        (depth(metres, gap=6), 3.0),
        (depth(metres, big=True), 3.0),
        (depth(np.full((24, 32), 3.0), '32FC1'), 3.0),
        (depth(np.zeros((48, 64))), None),
        (Image(encoding='rgb8', height=1, width=1, step=3, data=b'123'), None),
        (Image(encoding='16UC1', height=9, width=9, step=18, data=b'12'), None),
        (Image(encoding='16UC1'), None),
    ):
        around = Surroundings((64, 48), serialize_message(picture), lens)
        (found,) = located(spots, Header(frame_id='eye'), around)
        assert found.has_point == (expected is not None)
        if expected:
            assert found.point.point.z == pytest.approx(expected, abs=1e-3)
        assert found.bearing.z > 0.9


def test_the_calibration_counts_as_it_belongs_to_the_picture() -> None:
    spots = (Spot('cup', (48.0, 24.0, 48.0, 24.0)),)

    def slope(info: CameraInfo, rectified: bool = False) -> float:
        around = Surroundings((64, 48), b'', serialize_message(info), rectified)
        (found,) = located(spots, Header(), around)
        return found.bearing.x / found.bearing.z if found.bearing.z else 0.0

    assert slope(calibration()) == pytest.approx(16 / 60)
    assert slope(calibration(), rectified=True) == pytest.approx(16 / 50)
    assert slope(calibration(128, 96)) == pytest.approx(32 / 60)  # the picture is half as large
    bent = calibration(d=[-0.3, 0.0, 0.0, 0.0, 0.0])
    assert slope(bent) > 16 / 60 and slope(bent, rectified=True) == pytest.approx(16 / 50)
    for d in (), [0.0] * 4, [0.0] * 5:  # equidistant: the angle grows with the pixels
        round_lens = calibration(d=d, distortion_model='equidistant')
        assert slope(round_lens) == pytest.approx(np.tan(16 / 60))
        assert slope(round_lens, rectified=True) == pytest.approx(16 / 50)
    assert slope(calibration(d=[])) == slope(calibration(d=[0.0])) == pytest.approx(16 / 60)
    # Not calibrated, or not in a way that OpenCV knows.
    assert slope(calibration(k=[0.0] * 9)) == 0
    for unknown in [0.1], [0.1] * 6, [np.nan] * 5:
        assert slope(calibration(d=unknown)) == 0
    part = calibration(128, 96)
    part.roi.x_offset, part.roi.y_offset, part.roi.width, part.roi.height = 32, 24, 64, 48
    assert slope(part) == pytest.approx(16 / 60)


def test_the_name_of_the_topic_tells_rectified_pictures(context: rclpy.Context) -> None:
    main = Node(
        'main', context=context, cli_args=['--ros-args', '-r', 'remapped:=eye/image_rect'])
    io = IoNode(main)
    for topic, expected in (
        ('image_rect', True), ('/left/image_rect_color/compressed', True),
        ('/eye/color/rect/image', True), ('/eye/image_rectified', True), ('remapped', True),
        ('image_raw', False), ('/director/image_raw', False), ('direct/rgb', False),
    ):
        space = SpaceFeed(main, io, CameraSettings('camera', topic))
        assert space.at(0, (1, 1)).rectified is expected, topic
    io.destroy_node()
    main.destroy_node()


def test_what_comes_later_than_its_frame_counts(context: rclpy.Context) -> None:
    main = Node('main', context=context)
    io = IoNode(main)
    space = SpaceFeed(main, io, CameraSettings('camera', 'image', depth='d', camera_info='i'))
    around = space.at(10**9, (64, 48))
    assert not around.depth and not around.info
    for off, expected in (  # milliseconds
        (150, None), (90, 90), (-50, -50), (20, 20), (60, 20), (-150, 20),
        *[(50, 20)] * 100,  # the nearest one itself is not kept any longer
    ):
        sec, nanosec = divmod(10**9 + off * 10**6, 10**9)
        message = Image(header=Header(stamp=Time(sec=sec, nanosec=nanosec)))
        space._take_depth(serialize_message(message))
        kept = around.depth and deserialize_message(around.depth, Header).stamp
        assert (kept and (kept.sec - 1) * 1000 + kept.nanosec // 10**6 or None) == expected, off
    lens = serialize_message(calibration())
    space._take_info(lens)
    assert around.info == lens
    assert space.at(10**9 - 150 * 10**6, (64, 48)).info == lens
    io.destroy_node()
    main.destroy_node()


def test_an_answer_waits_for_depth_that_is_on_its_way(
    context: rclpy.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('vlm_npu_ros.node.located._ON_ITS_WAY', 3600.0)
    main = Node('main', context=context)
    io = IoNode(main)
    Surroundings().wait()  # of a picture that came with its question
    SpaceFeed(main, io, CameraSettings('camera', 'image')).at(0, (64, 48)).wait()  # none comes
    space = SpaceFeed(main, io, CameraSettings('camera', 'image', depth='d', camera_info='i'))
    messages = [
        serialize_message(Image(header=Header(stamp=Time(sec=1, nanosec=nanosec))))
        for nanosec in (0, 90_000_000)]
    lens = serialize_message(calibration())
    first = space.at(10**9, (64, 48))
    space._take_depth(messages[0])
    assert first.depth == messages[0] and first.complete and not first.complete.is_set()
    space._take_info(lens)
    first.wait()
    second = space.at(109 * 10**7, (64, 48))
    assert second.depth == messages[0]  # near enough, if no other comes
    waiting = threading.Thread(target=second.wait)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    space._take_depth(messages[1])
    waiting.join(60)
    assert not waiting.is_alive() and (second.depth, second.info) == (messages[1], lens)
    io.destroy_node()
    main.destroy_node()


def test_a_fault_while_the_result_is_filled_in_is_no_success(
    active_node: Callable[..., VlmNode], robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[Located]:
        raise OverflowError('a fault')

    monkeypatch.setattr('vlm_npu_ros.node.ask.located', broken)
    active_node()
    robot.publish()
    response = robot.ask(question='what do you see?')
    assert 'a fault' in response.error_msg and not response.success
