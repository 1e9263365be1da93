"""From the fields of a request to a question that can be answered, or an error."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from builtin_interfaces.msg import Duration, Time
from vlm_npu_ros.engine.errors import NotSupportedError, RequestError
from vlm_npu_ros.node.ask import AskOptions
from vlm_npu_ros.node.frames import Freshness, NANOSECONDS
from vlm_npu_ros.node.parameters import NodeParameters

MAX_QUESTION = 20_000  # characters; no context of these models holds more


def check_request(
    request: Any, parameters: NodeParameters, cameras: Collection[str]
) -> AskOptions:
    """
    Return the options of a request, of the service or of the action.

    A field at its zero takes the node's default. Raises RequestError, or NotSupportedError for
    what is understood but not there yet.
    """
    _refuse_unsupported(request)
    question = request.question.strip()
    if not question:
        raise RequestError('The question is empty')
    if len(question) > MAX_QUESTION:
        raise RequestError(
            f'The question has {len(question)} characters, at most {MAX_QUESTION} are read'
        )
    camera = request.camera or next(iter(cameras))
    if camera not in cameras:
        raise RequestError(f'There is no camera {camera!r}: choose one of {", ".join(cameras)}')
    max_age = _nanoseconds('max_age', request.max_age)
    timeout = _nanoseconds('timeout', request.timeout)
    return AskOptions(
        question=question,
        camera=camera,
        freshness=Freshness(
            max_age=max_age or round(parameters['max_age'] * NANOSECONDS),
            not_before=_nanoseconds('not_before', request.not_before),
        ),
        timeout=timeout / NANOSECONDS or parameters['timeout'],
        max_new_tokens=request.max_new_tokens or parameters['max_new_tokens'],
    )


def _refuse_unsupported(request: Any) -> None:
    if request.answer_type not in (request.TEXT, request.YES_NO, request.CHOICE):
        raise RequestError(f'answer_type {request.answer_type} is none of TEXT, YES_NO, CHOICE')
    if request.choices and request.answer_type != request.CHOICE:
        raise RequestError('choices are given, but answer_type is not CHOICE')
    unsupported = {
        'conversation_id': request.conversation_id,
        'new_conversation': request.new_conversation,
        'answer_type other than TEXT': request.answer_type != request.TEXT,
        'num_frames above 1': request.num_frames > 1,
        'window': request.window != Duration(),
    }
    wanted = [name for name, value in unsupported.items() if value]
    if wanted:
        raise NotSupportedError(f'Not supported yet: {", ".join(wanted)}')


def _nanoseconds(field: str, value: Duration | Time) -> int:
    total = int(value.sec) * NANOSECONDS + int(value.nanosec)
    if total < 0 or value.nanosec >= NANOSECONDS:
        raise RequestError(f'{field} must not be negative, nor its nanosec {NANOSECONDS} or more')
    return total
