# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
from rcl_interfaces.msg import Log
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from robot import PATIENCE, Spinner
from sensor_msgs.msg import CompressedImage, Image
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.node.webcam import Webcam


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10.0, (64, 48))
    for red in (40, 200):
        writer.write(np.full((48, 64, 3), (0, 0, red), np.uint8))
    writer.release()
    return path


def test_pictures_of_a_video_are_published_again_and_again(
    clip: Path, context: rclpy.Context
) -> None:
    node = Webcam(context=context, parameter_overrides=[
        Parameter('device', value=str(clip)), Parameter('rate', value=50.0),
        Parameter('compressed', value=True), Parameter('frame_id', value='eye'),
    ])
    listener = rclpy.create_node('listener', context=context)
    raw, jpeg, enough = list[Image](), list[CompressedImage](), threading.Event()

    def take(message: Image | CompressedImage) -> None:
        (raw if isinstance(message, Image) else jpeg).append(message)
        if min(len(raw), len(jpeg)) >= 5:
            enough.set()

    listener.create_subscription(Image, 'camera/image_raw', take, 20)
    listener.create_subscription(CompressedImage, 'camera/image_raw/compressed', take, 20)
    spinner = Spinner(listener, SingleThreadedExecutor(context=context))
    try:
        assert enough.wait(PATIENCE)
    finally:
        spinner.close()
        node.destroy_node()
    for message in (*raw, *jpeg):
        assert message.header.frame_id == 'eye'
        red, green, blue = to_rgb(message).reshape(-1, 3).mean(0)
        assert min(abs(red - 40), abs(red - 200)) < 8 and max(green, blue) < 8
    assert len({to_rgb(message)[0, 0, 0] > 100 for message in raw}) == 2
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in raw]
    assert stamps == sorted(set(stamps))


class Stream:
    """MJPEG over HTTP: dark until `bright` is set, bright once, then nothing until it `ended`."""

    def __init__(self) -> None:
        self.bright, self.ended = threading.Event(), threading.Event()

    def pictures(self) -> Iterator[int]:
        while not self.bright.wait(0.02):
            yield 0
        yield 255
        self.ended.wait()

    @contextmanager
    def served(self) -> Iterator[str]:
        stream = self

        class Handler(BaseHTTPRequestHandler):

            def do_GET(self) -> None:  # noqa: N802
                self.send_response(200)
                self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=next')
                self.end_headers()
                for grey in stream.pictures():
                    _, jpeg = cv2.imencode('.jpg', np.full((48, 64, 3), grey, np.uint8))
                    head = f'--next\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.size}'
                    self.wfile.write(f'{head}\r\n\r\n'.encode() + jpeg.tobytes() + b'\r\n')

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield f'http://127.0.0.1:{server.server_port}/stream.mjpg'
            finally:
                self.bright.set()
                self.ended.set()
                server.shutdown()
                thread.join()


def test_node_ends_while_a_stream_stands_still(context: rclpy.Context) -> None:
    stream, seen = Stream(), threading.Event()

    def take(message: Image) -> None:
        (seen if to_rgb(message).mean() > 128 else stream.bright).set()

    with stream.served() as address:
        node = Webcam(context=context, parameter_overrides=[
            Parameter('device', value=address), Parameter('rate', value=1000.0)])
        listener = rclpy.create_node('listener', context=context)
        listener.create_subscription(Image, 'camera/image_raw', take, 20)
        spinner = Spinner(listener, SingleThreadedExecutor(context=context))
        try:
            assert seen.wait(PATIENCE)
        finally:
            spinner.close()
            node.destroy_node()
        stream.ended.set()
        for thread in threading.enumerate():
            if thread.name == 'webcam':
                thread.join(PATIENCE)
                assert not thread.is_alive()


def test_video_that_is_lost_is_told(clip: Path, context: rclpy.Context) -> None:
    node = Webcam(context=context, parameter_overrides=[Parameter('device', value=str(clip))])
    listener, said = rclpy.create_node('listener', context=context), threading.Event()
    listener.create_subscription(
        Log, '/rosout', lambda log: 'is no camera' in log.msg and said.set(), 10)
    spinner = Spinner(listener, SingleThreadedExecutor(context=context))
    try:
        clip.unlink()
        assert said.wait(PATIENCE)
    finally:
        spinner.close()
        node.destroy_node()


def test_values_that_cannot_be_are_named(clip: Path, context: rclpy.Context) -> None:
    for name, value, told in (
        ('rate', 0, 'rate must be from 0.01 to 1000'), ('rate', 'fast', 'rate must be a number'),
        ('rate', [1.0], 'rate must be a number'), ('width', 'wide', 'width must be a whole'),
        ('compressed', 'no', 'compressed must be true or false'),
        ('device', True, 'device must be text'),
    ):
        overrides = [Parameter('device', value=str(clip)), Parameter(name, value=value)]
        with pytest.raises(ValueError, match=told):
            Webcam(context=context, parameter_overrides=overrides)


def test_program_without_a_camera_says_so() -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'vlm_npu_ros.node.webcam', '--ros-args', '-p', 'device:=63'],
        capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 1
    assert 'The camera 63 cannot be opened; there are' in done.stderr
    assert 'Traceback' not in done.stderr
