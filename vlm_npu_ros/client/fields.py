# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The fields of a question, defined once: names, types, units, limits and help.

VlmClient, the command line and mission files take them from `AskFields`. A new field needs a line
there, the same field in srv/Ask.srv and action/Ask.action, and its use by the node in
node/ask_options.py. This module needs no ROS.
"""

from __future__ import annotations

import argparse
from array import array
from collections.abc import Mapping, Sequence
import json
from pathlib import Path, PurePath
from typing import Annotated, Any, get_args, get_type_hints, Literal, Protocol, TypedDict

import numpy as np
from vlm_npu_ros.engine.options import Option


class Stamp(Protocol):
    """A point in ROS time, such as builtin_interfaces/Time."""

    sec: int
    nanosec: int


# An RGB array, the path of a file, sensor_msgs/Image or CompressedImage; or several of these.
Pictures = Any


class AskFields(TypedDict, total=False):
    """Optional fields of a question; without a field, the node's own default applies."""

    camera: Annotated[str, Option('', 'camera of the node, or several: front,rear', unit='NAME')]
    image: Annotated[
        Pictures,
        Option((), 'picture to look at after those of camera, or only at it without camera',
               unit='FILE'),
    ]
    roi: Annotated[
        Sequence[int], Option((), 'part of the pictures to look at, in pixels',
                              unit='X,Y,WIDTH,HEIGHT'),
    ]
    system_prompt: Annotated[str, Option('', 'the role that the model plays', unit='TEXT')]
    conversation: Annotated[
        str, Option('', 'dialogue that the question belongs to', unit='NAME')
    ]
    new_conversation: Annotated[bool, Option(False, 'forget that dialogue first')]
    max_age: Annotated[float, Option(0.0, 'oldest frame to answer from', unit='SECONDS')]
    not_before: Annotated[
        float | Stamp | Literal['now'],
        Option(0.0, "only a frame stamped at or after this: now (by the node's clock), or a stamp "
               'in seconds of ROS time', unit='{now,STAMP}'),
    ]
    num_frames: Annotated[int, Option(0, 'frames to look at, evenly spaced', unit='COUNT')]
    window: Annotated[float, Option(0.0, 'time span of those frames, ending now', unit='SECONDS')]
    timeout: Annotated[
        float, Option(0.0, 'for the whole answer, waiting included', unit='SECONDS')
    ]
    max_new_tokens: Annotated[int, Option(0, 'longest answer', unit='TOKENS', flag='--new-tokens')]
    yes_no: Annotated[bool, Option(False, 'answer yes, no or unclear')]
    choices: Annotated[
        Sequence[str], Option((), 'answer with one of these, or unclear', unit='A,B,...')
    ]
    locate: Annotated[
        bool, Option(False, 'answer where the things are that the question names: the red box')
    ]
    number: Annotated[bool, Option(False, 'answer with a number, or unclear')]
    unit: Annotated[str, Option('', 'of that number', unit='UNIT')]
    minimum: Annotated[float, Option(0.0, 'a smaller number is unclear', unit='N')]
    maximum: Annotated[float, Option(0.0, 'a larger one is; both 0 = any', unit='N')]
    json_schema: Annotated[
        str | Mapping[str, Any],
        Option('', 'answer with JSON that fits this JSON Schema; {} = any', unit='SCHEMA'),
    ]
    never_ask_back: Annotated[
        bool, Option(False, 'unclear, where the first words of the answer do not decide')
    ]
    min_confidence: Annotated[
        float, Option(0.0, 'a choice less likely than this, 0 to 1, is unclear', 0, 1, unit='P')
    ]
    backend: Annotated[str, Option('', "which of the node's backends answers", unit='NAME')]


FIELDS: dict[str, tuple[Any, Option]] = {
    name: get_args(hint)
    for name, hint in get_type_hints(AskFields, include_extras=True).items()
}
_ANSWER_TYPES = {
    'yes_no': 'YES_NO', 'choices': 'CHOICE', 'number': 'NUMBER', 'locate': 'LOCATE',
    'json_schema': 'JSON',
}
_IN_REQUEST = {'conversation': 'conversation_id'}  # other names there
_TIMES = ('builtin_interfaces/Duration', 'builtin_interfaces/Time')
_MOST = {**dict.fromkeys(_TIMES, 2**31 - 1), 'uint32': 2**32 - 1}
_NANOSECONDS = 1_000_000_000


def fill(request: Any, fields: AskFields) -> None:
    """
    Write fields into a request of the Ask service, or a goal of the action.

    Raises ValueError for a value that the request cannot hold, TypeError for an unknown field.
    """
    choices = fields.get('choices', ())
    if isinstance(choices, str):
        raise ValueError(f'choices must be a list of texts, not the text {choices!r}')
    if kind := answer_type(fields):
        request.answer_type = getattr(request, _ANSWER_TYPES[kind])
    if fields.get('not_before') == 'now':
        request.not_before_now = True
        fields = {**fields, 'not_before': request.not_before}
    types = request.get_fields_and_field_types()
    for name, value in fields.items():
        if name not in FIELDS:
            raise TypeError(f'{name!r} is not one of the fields {", ".join(FIELDS)}')
        if name == 'image':
            request.images, request.compressed_images = _messages(value)
            continue
        target = _IN_REQUEST.get(name, name)
        if target in types:
            most = FIELDS[name][1].high or _MOST.get(types[target])
            setattr(request, target, _fitting(name, value, getattr(request, target), most))
        elif FIELDS[name][0] is bool:  # yes_no, number and locate became answer_type
            _fitting(name, value, False, None)


def _fitting(name: str, value: Any, zero: Any, most: float | None) -> Any:
    """Convert a value to the type of the field's zero, seconds to a time message."""
    if isinstance(value, type(zero)) and hasattr(zero, 'get_fields_and_field_types'):
        return value
    if name == 'roi':
        sides = ('x_offset', 'y_offset', 'width', 'height')
        if not isinstance(value, Sequence) or len(value) != 4 or not all(
                type(side) is int and 0 <= side < 2**32 for side in value):
            raise ValueError(f'roi must be x, y, width and height in pixels, not {value!r:.60}')
        return type(zero)(**dict(zip(sides, value, strict=True)))
    if name == 'json_schema' and isinstance(value, Mapping):
        try:
            return json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f'json_schema cannot be written as JSON: {error}') from error
    # Checked here: what does not fit ends the process, in the generated code of the messages.
    kinds: Any = type(zero)
    if isinstance(zero, float) or hasattr(zero, 'sec'):
        kinds = int, float
    elif isinstance(zero, list):
        kinds = list, tuple
    if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(zero, bool):
        raise ValueError(f'{name} cannot be {value!r:.60}')
    texts = value if isinstance(zero, list) else [value] if isinstance(zero, str) else ()
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f'{name} must be a list of texts, not {value!r:.60}')
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f'{name} has half of a character: {value!r:.60}') from None
    if most is not None and not 0 <= value <= most:  # NaN is not
        raise ValueError(f'{name} must be from 0 to {most}, not {value}')
    if hasattr(zero, 'sec'):
        return from_seconds(type(zero), value)
    try:
        return float(value) if isinstance(zero, float) else type(zero)(value)
    except OverflowError as error:
        raise ValueError(f'{name} is too large') from error


def from_seconds(kind: Any, seconds: float) -> Any:
    """Make a message of the type Duration or Time; `messages.to_seconds` reads it."""
    sec, nanosec = divmod(round(seconds * _NANOSECONDS), _NANOSECONDS)
    return kind(sec=sec, nanosec=nanosec)


def _messages(pictures: Pictures) -> tuple[list[Any], list[Any]]:
    """Make messages of pictures: raw ones and compressed ones."""
    from sensor_msgs.msg import CompressedImage, Image

    several = pictures if isinstance(pictures, (list, tuple)) else [pictures]
    raw, compressed = [], []
    for picture in several:
        if isinstance(picture, CompressedImage):
            compressed.append(picture)
        elif isinstance(picture, Image):
            raw.append(picture)
        elif isinstance(picture, (str, PurePath)):
            try:
                data = Path(picture).read_bytes()
            except (OSError, ValueError) as error:
                raise ValueError(f'The picture cannot be read: {error}') from error
            # Without a format, the data tell what it is.
            compressed.append(CompressedImage(data=array('B', data)))
        elif isinstance(picture, np.ndarray):
            raw.append(_raw(picture, Image))
        else:
            raise ValueError(
                'image must be an RGB array, a path, or sensor_msgs/Image or CompressedImage, not '
                f'{picture!r:.60}'
            )
    return raw, compressed


def _raw(rgb: np.ndarray, message: Any) -> Any:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise ValueError(
            f'An image must be height x width x 3 of uint8, not {rgb.shape} of {rgb.dtype}')
    height, width = rgb.shape[:2]
    return message(
        height=height, width=width, encoding='rgb8', step=3 * width,
        data=array('B', rgb.tobytes()),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field; `given` reads them from the parsed arguments."""
    either = parser.add_mutually_exclusive_group()
    for name, (kind, option) in FIELDS.items():
        how: dict[str, Any] = (
            {'action': 'store_true'} if kind is bool else
            {'type': _PARSERS[kind], 'metavar': option.unit or None}
        )
        if name == 'image':
            how['action'] = 'append'
        (either if name in _ANSWER_TYPES else parser).add_argument(
            option.flag or f'--{name.replace("_", "-")}',
            dest=name, default=argparse.SUPPRESS, help=option.about, **how,
        )


def given(args: argparse.Namespace) -> AskFields:
    """Return the fields that were given on the command line."""
    fields: Any = {name: value for name, value in vars(args).items() if name in FIELDS}
    return fields


def answer_type(fields: AskFields) -> str:
    """Name the field that says of which type the answer is; '' = text; ValueError if two do."""
    given = [name for name in _ANSWER_TYPES if fields.get(name) or fields.get(name) == {}]
    if len(given) > 1:
        raise ValueError(f'{" and ".join(given)} are both given')
    return ''.join(given)


def answer_types() -> tuple[str, ...]:
    """Name the fields that say of which type the answer is; one of them can be given."""
    return tuple(_ANSWER_TYPES)


def _moment(text: str) -> float | str:
    """Parse a time on the command line: `now`, or seconds."""
    return text if text == 'now' else float(text)


def _listed(text: str) -> list[str]:
    """Parse a list on the command line: a,b,c."""
    return [item.strip() for item in text.split(',')]


def _numbers(text: str) -> list[int]:
    """Parse whole numbers on the command line: 1,2,3."""
    return list(map(int, text.split(',')))


_PARSERS: dict[Any, Any] = {
    str: str, int: int, float: float, Sequence[str]: _listed, Sequence[int]: _numbers,
    Pictures: str,
    float | Stamp | Literal['now']: _moment, str | Mapping[str, Any]: str,
}
