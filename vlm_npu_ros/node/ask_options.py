# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Checks the fields of a request, a Watch goal or a parameter, and turns them into a question."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
import reprlib
from typing import Any

from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import RegionOfInterest
from vlm_npu_ros.engine.choices.checking import (
    checked_choices,
    checked_confidence,
    checked_numbers,
)
from vlm_npu_ros.engine.conversation import commands
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import NotSupportedError, RequestError
from vlm_npu_ros.engine.json_answers import checked_schema
from vlm_npu_ros.engine.placement import Region
from vlm_npu_ros.engine.types import GenerationRequest, NumberRange, UNCLEAR, YES_NO
from vlm_npu_ros.node.frames import Freshness, NANOSECONDS, nanoseconds
from vlm_npu_ros.node.parameters import NodeParameters
from vlm_npu_ros.node.pictures import Picture
from vlm_npu_ros.srv import Ask

MAX_QUESTION = 20_000  # characters; more than fits any context of these models
MAX_ID = 100  # characters of a conversation_id
MAX_PICTURES = 16
MAX_PICTURE_BYTES = 64 << 20  # of all together
MAX_ROLE = 4000  # characters of a system_prompt
_PLACE_TOKENS = 256  # of an answer with places: 40 for each in JSON
_TYPED_TOKENS = 32  # of an answer with choices or a number; even a chatty model says it in them


@dataclass(frozen=True)
class AskOptions:
    """
    A checked question.

    request: for the model; images, turns and sampling are filled in when the question begins.
    cameras, freshness: which frames it may be about. timeout: seconds.
    pictures: that came with it. region: the part of frames and pictures to look at; None = all.
    num_frames, window: number of frames, and the nanoseconds over which they are spread.
    goes_on: it continues its dialogue, if the node still remembers it.
    locates: it asks where something is.
    """

    request: GenerationRequest
    cameras: tuple[str, ...]
    freshness: Freshness
    timeout: float
    pictures: tuple[Picture, ...] = ()
    region: Region | None = None
    num_frames: int = 1
    window: int = 0
    conversation_id: str = ''
    goes_on: bool = False
    locates: bool = False

    @property
    def outcomes(self) -> tuple[str, ...]:
        """List what an answer can come to, see `looks.outcome`; () = it is free."""
        if self.locates:
            return YES_NO
        return (*self.request.choices, UNCLEAR) if self.request.choices else ()


def shared_fields(source: Any, *but: str) -> Ask.Request:
    """Copy the fields of `source` that a request has as well, except `but`."""
    names = [name for name in Ask.Request.get_fields_and_field_types() if name not in but]
    return Ask.Request(**{name: getattr(source, name) for name in names if hasattr(source, name)})


def check_request(
    request: Any, parameters: NodeParameters, cameras: Collection[str], now: int
) -> AskOptions:
    """
    Check a request of the service or a goal of the action; raise RequestError.

    A field at zero takes the node's default. cameras: names of the node's cameras, default first.
    now: by the clock of the stamps, nanoseconds.
    """
    _refuse_contradictions(request)
    question, found = commands(parameters.prompt(request.question.strip()))
    if not question:
        hint = '; ~/conversations forgets without a question' if found else ''
        raise RequestError(f'The question is empty{hint}')
    if len(question) > MAX_QUESTION:
        raise RequestError(
            f'The question has {len(question)} characters, at most {MAX_QUESTION} are read'
        )
    region = _region(request.roi)
    pictures = _pictures(request, region)
    chosen = _cameras(request.camera, cameras) if request.camera or not pictures else ()
    for_model = _for_model(request, parameters, question)
    num_frames, window = _frames(request, parameters, len(chosen) == 1 and not pictures)
    locates = request.answer_type == request.LOCATE
    if locates and num_frames + len(chosen) + len(pictures) > 2:
        raise RequestError('LOCATE looks at one frame or picture: ask about them one by one')
    max_age = _nanoseconds('max_age', request.max_age)
    timeout = _nanoseconds('timeout', request.timeout)
    looks_again = request.new_conversation or found & {'clear', 'image'}
    return AskOptions(
        for_model,
        cameras=chosen,
        freshness=Freshness(
            max_age=max_age or round(parameters['max_age'] * NANOSECONDS),
            not_before=max(
                _nanoseconds('not_before', request.not_before),
                now if request.not_before_now else 0,
            ),
        ),
        timeout=timeout / NANOSECONDS or parameters['timeout'],
        pictures=pictures,
        region=region,
        num_frames=num_frames,
        window=window,
        conversation_id=request.conversation_id,
        goes_on=bool(request.conversation_id) and not looks_again,
        locates=locates,
    )


def _for_model(request: Any, parameters: NodeParameters, question: str) -> GenerationRequest:
    """Make of it what the model is asked."""
    choices, number = _choices(request), _number(request)
    longest = parameters['max_new_tokens']
    if choices or number:
        longest = min(longest, _TYPED_TOKENS)
    if request.answer_type == request.LOCATE:
        longest = max(longest, _PLACE_TOKENS)
    return GenerationRequest(
        question,
        images=(),
        max_new_tokens=request.max_new_tokens or longest,
        keep=bool(request.conversation_id),
        choices=choices,
        number=number,
        schema=_schema(request),
        system_prompt=_role(request.system_prompt.strip() or parameters['system_prompt'].strip()),
        ask_back=parameters['ask_back'] and not request.never_ask_back,
        min_probability=(
            checked_confidence(request.min_confidence) or parameters['min_confidence']),
        backend=_backend(request.backend, parameters) if request.backend else '',
    )


def _cameras(wanted: str, known: Collection[str]) -> tuple[str, ...]:
    """Find the cameras of a request; the first known one if it names none."""
    names = tuple(name.strip() for name in wanted.split(',')) if wanted else (next(iter(known)),)
    for name in names:
        if name not in known:
            quoted = reprlib.repr(name)
            raise RequestError(f'There is no camera {quoted}: choose one of {", ".join(known)}')
    if len(set(names)) < len(names):
        raise RequestError(f'camera names one twice: {reprlib.repr(wanted)}')
    return names


def _region(roi: RegionOfInterest) -> Region | None:
    """Return the part of the picture to look at; None = all of it."""
    if roi.do_rectify:
        raise NotSupportedError('roi.do_rectify is set, but the picture is looked at as it comes')
    if not (roi.x_offset or roi.y_offset or roi.width or roi.height):
        return None
    if not (roi.width and roi.height):
        raise RequestError('roi has an offset or a side, but its width or height is 0')
    return Region(roi.x_offset, roi.y_offset, roi.width, roi.height)


def _pictures(request: Any, region: Region | None) -> tuple[Picture, ...]:
    """Take the pictures of a request; they are read when they are encoded."""
    messages = [*request.images, *request.compressed_images]
    size = sum(len(message.data) for message in messages)
    if len(messages) > MAX_PICTURES:
        raise RequestError(f'{len(messages)} pictures are given, at most {MAX_PICTURES} are read')
    if size > MAX_PICTURE_BYTES:
        raise RequestError(
            f'The pictures have {size >> 20} MiB, at most {MAX_PICTURE_BYTES >> 20} are read',
            'Reduce them, or send them compressed',
        )
    return tuple(Picture(message, region) for message in messages)


def _backend(wanted: str, parameters: NodeParameters) -> str:
    known = parameters.backends
    if wanted not in known:
        quoted = reprlib.repr(wanted)
        raise RequestError(f'There is no backend {quoted}: choose one of {", ".join(known)}')
    return wanted


def _choices(request: Any) -> tuple[str, ...]:
    """Return the allowed answers, cleaned up; () = free text."""
    if request.answer_type == request.YES_NO:
        return YES_NO
    return checked_choices(request.choices) if request.answer_type == request.CHOICE else ()


def _number(request: Any) -> NumberRange | None:
    """Return which numbers may be the answer; None = it is no question for one."""
    low, high, unit = request.minimum, request.maximum, request.unit
    if request.answer_type == request.NUMBER:
        return checked_numbers(low, high, unit)
    if low or high or unit.strip():
        raise RequestError('unit, minimum or maximum is given, but answer_type is not NUMBER')
    return None


def _schema(request: Any) -> str | None:
    """Return the schema of the JSON that is to be the answer; None = it need not be JSON."""
    if request.answer_type == request.JSON:
        return checked_schema(request.json_schema)
    if request.json_schema:
        raise RequestError('json_schema is given, but answer_type is not JSON')
    return None


def _role(system_prompt: str) -> str:
    if len(system_prompt) > MAX_ROLE:
        raise RequestError(
            f'system_prompt has {len(system_prompt)} characters, at most {MAX_ROLE} are read')
    return system_prompt


def _frames(request: Any, parameters: NodeParameters, is_one: bool) -> tuple[int, int]:
    """
    Return num_frames and window, checked; window in nanoseconds.

    is_one: the question is about one camera, and nothing else.
    """
    num_frames, window = max(request.num_frames, 1), _nanoseconds('window', request.window)
    if num_frames > 1 and not is_one:
        raise RequestError(
            'Ask about several frames of one camera, or about several cameras or pictures')
    if num_frames == 1 and window:
        raise RequestError('window is given, but num_frames is not above 1')
    kept = round(parameters['history_seconds'] * NANOSECONDS)
    if window > kept:
        raise RequestError(
            f'window is {in_words(window / NANOSECONDS)}, but frames are kept for '
            f'{in_words(kept / NANOSECONDS)}: raise the parameter history_seconds'
        )
    return num_frames, window or kept


def _refuse_contradictions(request: Any) -> None:
    if request.answer_type > request.JSON:
        raise RequestError(
            f'answer_type {request.answer_type} is not one of TEXT, YES_NO, CHOICE, NUMBER, '
            'LOCATE, JSON'
        )
    if request.choices and request.answer_type != request.CHOICE:
        raise RequestError('choices are given, but answer_type is not CHOICE')
    if request.new_conversation and not request.conversation_id:
        raise RequestError('new_conversation is set, but conversation_id is empty')
    if len(request.conversation_id) > MAX_ID:
        raise RequestError(f'conversation_id has more than {MAX_ID} characters')


def _nanoseconds(field: str, value: Duration | Time) -> int:
    total = nanoseconds(value)
    if total < 0 or value.nanosec >= NANOSECONDS:
        raise RequestError(f'{field} must not be negative, nor its nanosec {NANOSECONDS} or more')
    return total
