# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Show the page of the gateway: a scene camera, a node with the demo model, and the gateway."""

from __future__ import annotations

import argparse
from collections.abc import Callable
import json
import os
from pathlib import Path
import shutil
import sys
import threading
from typing import Any, TYPE_CHECKING
import urllib.request

from nodes import prepare, SPACE
from vlm_npu_ros.demo.children import ChildDiedError, Children

if TYPE_CHECKING:
    from playwright.sync_api import Page

_QUESTIONS = (
    ('what do you see?', ''),
    ('is the path clear?', 'yes_no'),
    ('how many objects are there?', ''),
)
_STANDING = {'person': 'is there a person?', 'clear': 'is the path clear?'}
_PATIENCE = 60.0  # seconds
_SIZE = {'width': 1180, 'height': 900}
_FRAME_MS = 350  # of the recording
_FRAMES = 20
_RECORDED_WIDTH = 640
_BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')


def main() -> int:
    """Serve until Ctrl-C, or make the pictures; return the exit code."""
    parser = argparse.ArgumentParser(prog='web_demo', description=__doc__)
    parser.add_argument('--port', type=int, default=8080, help='of the page (default: 8080)')
    parser.add_argument('--screenshot', type=Path, metavar='FILE',
                        help='save a picture of the page by headless Chromium, and end')
    parser.add_argument('--recording', type=Path, metavar='FILE',
                        help='save a short APNG or GIF of the page likewise, and end')
    options = parser.parse_args()
    stopped = prepare()
    address = f'http://127.0.0.1:{options.port}/'
    try:
        with Children(os.environ) as children:
            _start(children, options.port)
            _wait_for(address, children, stopped)
            if options.screenshot or options.recording:
                _take_pictures(address, options)
            else:
                print(f'Open {address}   (Ctrl-C ends it)', flush=True)
                while not stopped.wait(1.0):
                    children.check()
    except ChildDiedError as error:
        print(f'The demo failed: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _start(children: Children, port: int) -> None:
    standing = {
        f'standing.{name}.{key}': value for name, question in _STANDING.items()
        for key, value in (('question', question), ('answer_type', 'yes_no'), ('period', 1.0))
    }
    children.start('vlm_node', 'vlm_npu_ros.node.vlm_node', {
        'backend': 'onnx', 'model': 'demo', 'image_reliability': 'reliable', 'encode_rate': 4.0,
        'standing_questions': list(_STANDING), **standing, **SPACE,
    })
    children.start('scene_camera', 'vlm_npu_ros.demo.scene_camera', {
        'scene_period': 6.0, 'reliability': 'reliable',
    })
    children.start('gateway', 'vlm_npu_ros.gateway.main', {}, '--port', str(port))


def _wait_for(address: str, children: Children, stopped: threading.Event) -> None:
    """Wait until the node answers and its camera sends."""
    ticks = int(_PATIENCE / 0.2)
    for _ in range(ticks):
        if stopped.wait(0.2):
            raise KeyboardInterrupt
        children.check()
        if _answers(f'{address}ready') and len(_models(address)) > 1:
            return
    raise ChildDiedError(f'No answer from {address} in {_PATIENCE:g} s')


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address):
            return True
    except OSError:
        return False


def _models(address: str) -> list[Any]:
    with urllib.request.urlopen(f'{address}v1/models') as response:
        models: list[Any] = json.load(response)['data']
        return models


def _take_pictures(address: str, options: argparse.Namespace) -> None:
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise ChildDiedError('There is no browser. On Debian or Ubuntu: apt install chromium')
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=['--no-sandbox'])
        page = chromium.new_page(viewport=_SIZE)
        page.goto(address)
        page.wait_for_selector('#cameras img[src]')
        page.wait_for_selector('.tile.good, .tile.bad')
        if options.recording:
            _record(page, options.recording)
        else:
            _ask(page, lambda: None)
        if options.screenshot:
            page.screenshot(path=options.screenshot)
        chromium.close()


def _ask(page: Page, meanwhile: Callable[[], None]) -> None:
    """Ask the questions, and wait for each answer with its frame."""
    for question, kind in _QUESTIONS:
        page.select_option('#type', kind)
        page.fill('#question', question)
        meanwhile()
        page.click('#send')
        meanwhile()
        page.wait_for_selector('#answers article:first-child:not([aria-busy])')
        meanwhile()


def _record(page: Page, file: Path) -> None:
    """Save what the page shows while it is asked, as frames of an animation."""
    import io

    from PIL import Image

    frames: list[Image.Image] = []

    def take() -> None:
        picture = Image.open(io.BytesIO(page.screenshot()))
        height = picture.height * _RECORDED_WIDTH // picture.width
        small = picture.convert('RGB').resize((_RECORDED_WIDTH, height), Image.Resampling.LANCZOS)
        frames.append(small.quantize(64))

    _ask(page, take)
    while len(frames) < _FRAMES:
        page.wait_for_timeout(_FRAME_MS)
        take()
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0)


if __name__ == '__main__':
    sys.exit(main())
