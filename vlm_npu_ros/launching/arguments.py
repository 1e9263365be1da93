# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Arguments of the launch files: what they mean and what they may be. Needs no ROS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_npu_ros.engine.models import AUTO
from vlm_npu_ros.engine.registry import names

LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
_TRUTHS = {'true': True, 'false': False, 'True': True, 'False': False}
_WANTED = {int: 'a whole number', float: 'a number'}
_SHOWN = {str: 'TEXT', int: 'N', float: 'NUMBER', bool: 'true|false', Path: 'FILE', list: 'A,B'}


@dataclass(frozen=True)
class Argument:
    """
    An argument of a launch file.

        rate = Argument('rate', 'Images per second', '10.0', float, low=0.1, high=1000.0)
        rate.read('5') == 5.0

    default: '' = left to what the nodes have without it.
    kind: str, int, float, bool, Path (of a file that is there) or list (of texts, with commas).
    choices: of a str, and of the items of a list; () = any.
    parameter: of the vlm node, which it sets; '' = none.
    """

    name: str
    about: str
    default: str = ''
    kind: type = str
    choices: tuple[str, ...] = ()
    parameter: str = ''
    low: float | None = None
    high: float | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """All that may be written; () = anything that `read` accepts."""
        choices = tuple(_TRUTHS) if self.kind is bool else self.choices
        if self.kind is list or not choices:
            return ()
        return choices if self.default else ('', *choices)

    @property
    def description(self) -> str:
        """Say what it is for, and how to write it."""
        shown = '|'.join(self.texts and self.choices) or _SHOWN[self.kind]
        empty = '' if self.default else '; empty: as without it'
        return f'{self.about} ({self.name}:={shown}{empty})'

    def read(self, text: str) -> Any:
        """Return the value, None for ''; raise ValueError, which says what to write."""
        if not text:
            return None
        if self.kind is bool:
            return _TRUTHS[text]
        if self.kind is Path and not Path(text).is_file():
            raise ValueError(f'{self.name}:={text}: there is no such file')
        if self.kind is list:
            return self._items(text)
        try:
            value = self.kind(text)
        except ValueError:
            raise ValueError(f'{self.name}:={text}: write {self._wanted}') from None
        if self.low is not None and not self.low <= value <= (self.high or float('inf')):
            raise ValueError(f'{self.name}:={text}: write {self._wanted}')
        return value

    def _items(self, text: str) -> list[str]:
        items = [item for item in map(str.strip, text.strip('[]').split(',')) if item]
        wrong = [item for item in items if self.choices and item not in self.choices]
        if wrong:
            raise ValueError(f'{self.name}:={text}: {wrong[0]} is not one of {self._listed}')
        return items

    @property
    def _listed(self) -> str:
        return ', '.join(self.choices)

    @property
    def _wanted(self) -> str:
        limits = f' of at least {self.low:g}' if self.low is not None else ''
        return _WANTED[self.kind] + limits + (f' and at most {self.high:g}' if self.high else '')


def read(arguments: Iterable[Argument], texts: Mapping[str, str]) -> dict[str, Any]:
    """
    Read arguments by name, the default for an empty one; raise ValueError for the first wrong.

    Those that are empty by default are left out.
    """
    values = {a.name: a.read(texts[a.name] or a.default) for a in arguments}
    return {name: value for name, value in values.items() if value is not None}


_KNOWN = tuple(names())
SIM_TIME = Argument(
    'use_sim_time', 'Take the time from the topic /clock', kind=bool, parameter='use_sim_time'
)
LOG_LEVEL = Argument('log_level', 'Least level of messages', 'info', choices=LOG_LEVELS)
RESPAWN = Argument('respawn', 'Restart the node if it dies', 'false', bool)
PARAMS_FILE = Argument('params_file', 'YAML file with parameters of the node', kind=Path)
BACKENDS = Argument(
    'backends', f'Several of {", ".join(_KNOWN)} with commas, best first: if one fails, the next '
    'one answers', kind=list, choices=_KNOWN, parameter='backends',
)
SERVER = Argument('server', 'Address of the server (openai)', parameter='openai.base_url')
SERVER_MODEL = Argument(
    'server_model', 'Name of its model, if it has several', parameter='openai.model'
)
IMAGE_TOPIC = Argument(
    'image_topic', 'Image topic of the camera named "camera"', parameter='camera.topic'
)
TRANSPORT = Argument(
    'transport', 'Messages of that topic: raw = Image, compressed = CompressedImage',
    choices=('raw', 'compressed'), parameter='camera.transport',
)
# Of the vlm node, in all launch files that start one.
NODE = (
    Argument('name', 'Name of the node', 'vlm'),
    Argument('namespace', 'Namespace of all that is started'),
    PARAMS_FILE,
    Argument(
        'backend', 'What runs the models; auto = what the model is for', choices=(*_KNOWN, AUTO),
        parameter='backend',
    ),
    BACKENDS,
    Argument(
        'model', 'Name of a pulled model or a profile, path of a profile .yaml, or auto (rknpu)',
        parameter='model',
    ),
    Argument('encoder_path', 'Vision encoder file; rknpu: .rknn', parameter='encoder_path'),
    Argument(
        'language_model_path', 'Language model file; rknpu: .rkllm',
        parameter='language_model_path',
    ),
    SERVER,
    SERVER_MODEL,
    IMAGE_TOPIC,
    TRANSPORT,
    Argument(
        'encode_rate', 'Most encodings per second and camera', kind=float, low=0.0, high=100.0,
        parameter='encode_rate',
    ),
    Argument(
        'max_age', 'Age in seconds of the oldest frame to answer from', kind=float, low=0.001,
        high=86400.0, parameter='max_age',
    ),
    Argument('autostart', 'Configure and activate at startup', kind=bool, parameter='autostart'),
    SIM_TIME,
    LOG_LEVEL,
    RESPAWN,
)
# Of the gateway, which answers over HTTP.
WEB = (
    Argument('web', 'Serve a page and chat completions over HTTP', 'false', bool),
    Argument('web_host', 'Address that they are served on', '127.0.0.1'),
    Argument('web_port', 'Port that they are served on', '8080', int, low=0, high=65535),
    Argument('web_token_file', 'File with the token that clients must have', kind=Path),
)
# Of the simulated camera: its parameters.
CAMERA = (
    Argument('width', 'Width of the images in pixels', '640', int, low=16, high=8192),
    Argument('height', 'Height of the images in pixels', '480', int, low=16, high=8192),
    Argument('rate', 'Images per second', '10.0', float, low=0.1, high=1000.0),
    Argument(
        'scene_period', 'Seconds between scenes; 0 = only on request', '5.0', float, low=0.0,
        high=86400.0,
    ),
)
# Of several robots that share one server.
FLEET = (
    Argument('robots', 'Number of robots', '2', int, low=1),
    Argument('first', 'Number of the first robot', '1', int, low=0),
    SERVER,
    SERVER_MODEL,
    BACKENDS,
    PARAMS_FILE,
    IMAGE_TOPIC,
    TRANSPORT,
    SIM_TIME,
    LOG_LEVEL,
    RESPAWN,
)
