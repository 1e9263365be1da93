# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import threading

import cv2
import numpy as np
import pytest
from vlm_npu_ros.engine import video
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_files import read_if_image, read_image
from vlm_npu_ros.engine.sources import shown, source_of
from vlm_npu_ros.engine.video import frames_of

JPEG = cv2.imencode('.jpg', np.full((24, 32, 3), (0, 0, 200), np.uint8))[1].tobytes()
SECRET = 'Basic ' + b64encode(b'me:a@b').decode()


class Camera(BaseHTTPRequestHandler):
    """A camera of a network: a picture, one for those that know its password, and a stream."""

    def do_GET(self) -> None:
        if self.path == '/secret.jpg' and self.headers['Authorization'] != SECRET:
            self.send_response(401)
            self.send_header('WWW-Authenticate', 'Basic realm="camera"')
            self.end_headers()
        elif self.path in ('/picture.jpg', '/secret.jpg', '/snapshot?channel=1'):
            self._answer('image/jpeg', JPEG)
        elif self.path == '/slow.jpg':
            self._answer('image/jpeg', JPEG[:4])  # and the others later
            self.wfile.flush()
            threading.Event().wait(0.1)
            self.wfile.write(JPEG[4:])
        elif self.path == '/page.html':
            self._answer('text/html', b'<html>no picture</html>')
        elif self.path == '/stream':
            self._answer('multipart/x-mixed-replace; boundary=part', b'')
            part = b'--part\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n' % len(JPEG)
            with suppress(ConnectionError):  # when the client has seen enough
                while True:
                    self.wfile.write(part + JPEG + b'\r\n')
        else:
            self.send_error(404)

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header('Content-Type', kind)
        if body and body != JPEG[:4]:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def camera() -> Iterator[str]:
    with ThreadingHTTPServer(('127.0.0.1', 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f'127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('no_proxy', '*')


def test_names() -> None:
    assert source_of('a/b.png') == Path('a/b.png')
    assert source_of('file:///a%20b/c.png') == Path('/a b/c.png')
    for address in ('http://h/a.jpg', 'RTSP://me:pw@h:554/s', 'udp://@:1234'):
        assert source_of(address) == address
    assert shown('rtsp://me:pw@h:554/s?a=b@c') == 'rtsp://h:554/s?a=b@c'
    assert shown('rtsp://me:p@ss@h/s') == 'rtsp://h/s'
    assert shown(Path('a.png')) == 'a.png'


def test_pictures_at_addresses() -> None:
    with camera() as host:
        for name in ('picture.jpg', 'slow.jpg', 'snapshot?channel=1'):
            assert read_image(f'http://{host}/{name}').shape == (24, 32, 3)
        assert read_image(f'http://me:a%40b@{host}/secret.jpg').shape == (24, 32, 3)
        assert read_if_image(f'http://{host}/page.html') is None
        with pytest.raises(ImageError, match=f'http://{host}/no.jpg cannot be read: Not Found'):
            read_image(f'http://{host}/no.jpg')
        with pytest.raises(ImageError, match='secret.jpg cannot be read: Unauthorized'):
            read_image(f'http://me:wrong@{host}/secret.jpg')
    with pytest.raises(ImageError, match='cannot be read: .*refused'):
        read_image(f'http://{host}/picture.jpg')
    with pytest.raises(ImageError, match='is no address'):
        read_image('http://h:port/picture.jpg')


def test_frames_of_a_stream_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, 'STREAM_INTERVAL', 0.01)
    with camera() as host:
        frames = frames_of(f'http://{host}/stream', 3)
    seconds = [moment for moment, _ in frames]
    assert len(frames) == 3 and seconds == sorted(seconds) and seconds[2] >= 0.02
    assert all(rgb.shape == (24, 32, 3) and rgb[..., 0].mean() > 180 for _, rgb in frames)


def test_addresses_where_nothing_is() -> None:
    with camera() as host:
        with pytest.raises(ImageError, match=f'http://{host}/page.html is no picture or video'):
            frames_of(f'http://{host}/page.html', 3)
    with pytest.raises(ImageError, match=f'rtsp://{host}/stream is no picture or video'):
        frames_of(f'rtsp://me:pw@{host}/stream', 3)
