"""
Ask the demo model about synthetic scenes, over ROS, and check its answers.

Starts the vlm node and a scene camera as processes of their own, and is a third one that asks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import os
from pathlib import Path
import signal
import socket
import sys
import threading
import time

import numpy as np

from vlm_npu_ros.demo.asker import Answer, Asker, nanoseconds, NoAnswerError
from vlm_npu_ros.demo.children import ChildDiedError, Children
from vlm_npu_ros.demo.picture import draw, Exchange, Page, png
from vlm_npu_ros.demo.questions import KINDS, Question, random_question
from vlm_npu_ros.demo.scenes import random_scene, Scene
from vlm_npu_ros.demo.truth import Truth

try:
    from rich.console import Console
    from rich.table import Table
except ModuleNotFoundError:
    sys.exit(f'The demo needs rich: {sys.executable} -m pip install rich')

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NODE, _CAMERA = 'vlm_node', 'scene_camera'
_QUESTIONS = 4  # a scene
_ALWAYS = 'describe'  # asked first about every scene
_NEEDED = 0.8  # share of right answers
_DOMAINS = range(1, 102)


def main() -> int:
    """Run the demo; return 0 if all answers came over ROS and most of them are right."""
    options = _parse()
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='replace')
    console = Console(highlight=False)
    stopped = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stopped.set())
    try:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        problem = Demo(options, console, stopped).run()
    except KeyboardInterrupt:
        console.print('\nStopped.')
        return 130
    except OSError as error:
        problem = f'The picture can not be saved: {error}'
    if problem:
        console.print(f'The demo failed: {problem}', style='red', markup=False, soft_wrap=True)
    return 1 if problem else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='demo',
        description='Ask the demo model about synthetic camera scenes, by service and action.',
    )
    parser.add_argument(
        '--scenes', type=_at_least_one, default=3, help='scenes to ask about (default: 3)'
    )
    parser.add_argument(
        '--output', type=Path, default=Path('demo_output/demo.png'), metavar='PATH',
        help='picture of frames, questions and answers (default: demo_output/demo.png)',
    )
    parser.add_argument(
        '--seed', type=int, default=1,
        help='of scenes and questions; the same seed asks the same (default: 1)',
    )
    parser.add_argument(
        '--keep', action='store_true', help='leave the nodes running until Ctrl-C'
    )
    return parser.parse_args()


def _at_least_one(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError('at least 1 is needed')
    return int(text)
