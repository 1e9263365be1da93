# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A request for a chat completion, and the question that it asks."""

from __future__ import annotations

import base64
from dataclasses import dataclass
import json
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BaseModel, Field
from vlm_npu_ros.client.fields import AskFields
from vlm_npu_ros.engine.choices.checking import MAX_CHOICES
from vlm_npu_ros.engine.control_tags import whole
from vlm_npu_ros.engine.types import Sampling, Turn, UNCLEAR
from vlm_npu_ros.gateway.failures import ApiError
from vlm_npu_ros.gateway.source import MOST_PICTURES, Question

CAMERA = 'camera/'  # beginning of the names of models that look at a camera
_PREFIXES = ('data:image/', 'data:application/octet-stream')


class _ImageUrl(BaseModel):
    url: str


class _Part(BaseModel):
    type: str  # noqa: A003
    text: str = ''
    image_url: Optional[Union[_ImageUrl, str]] = None


class _Message(BaseModel):
    role: Literal['system', 'developer', 'user', 'assistant']
    content: Union[str, list[_Part], None] = None

    @property
    def text(self) -> str:
        parts = self.content if isinstance(self.content, list) else ()
        text = '\n'.join(part.text for part in parts if part.type == 'text')
        return whole(self.content if isinstance(self.content, str) else text)

    def pictures(self) -> list[bytes]:
        """Read its pictures; raise ApiError if there is something else in it."""
        found = []
        for part in self.content if isinstance(self.content, list) else ():
            if part.type == 'image_url' and part.image_url:
                url = part.image_url
                found.append(_picture(url if isinstance(url, str) else url.url))
            elif part.type != 'text':
                raise ApiError(f'A part of type {part.type[:40]!r} is not read: text and '
                               'image_url are', param='messages')
        return found


_Stop = Annotated[str, Field(max_length=1000)]  # each piece of an answer is compared with it


class _StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """Body of a request; what else is in it is ignored."""

    model: str
    messages: list[_Message] = Field(min_length=1, max_length=1000)
    stream: bool = False
    stream_options: Optional[_StreamOptions] = None
    max_tokens: Optional[int] = Field(None, ge=1, le=2**31 - 1)
    max_completion_tokens: Optional[int] = Field(None, ge=1, le=2**31 - 1)
    temperature: Optional[float] = Field(None, ge=0, le=2)
    top_p: Optional[float] = Field(None, ge=0, le=1)
    top_k: Optional[int] = Field(None, ge=0, le=2**31 - 1)
    seed: Optional[int] = Field(None, ge=0, le=2**63 - 1)
    stop: Union[_Stop, Annotated[list[_Stop], Field(max_length=16)], None] = None
    n: Optional[Literal[1]] = 1
    response_format: Optional[dict[str, Any]] = None
    logprobs: Optional[Literal[False]] = None
    tools: Optional[list[Any]] = Field(None, max_length=0)
    functions: Optional[list[Any]] = Field(None, max_length=0)

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(filter(None, stop))


@dataclass(frozen=True)
class Form:
    """
    The form of an answer that is one of several texts: `write` makes JSON of the one.

    key: of the object that holds it; '' = the text alone is the JSON.
    """

    choices: tuple[str, ...]
    key: str
    may_be_unclear: bool

    def write(self, choice: str) -> str:
        """Write the answer; raise ApiError if it is unclear and may not be."""
        if choice == UNCLEAR and not self.may_be_unclear:
            raise ApiError(
                f'The answer decides for none of {", ".join(self.choices)}. Let the schema allow '
                f'{UNCLEAR}, too', 502, 'unclear', 'response_format')
        asked = {' '.join(each.split()): each for each in self.choices}.get(choice, choice)
        return json.dumps({self.key: asked} if self.key else asked, ensure_ascii=False)


@dataclass(frozen=True)
class Asked:
    """
    What a request asks: of which camera ('' = about its own pictures), and the answer's form.

    said: the messages before the question, as texts; they tell one dialogue from another.
    """

    question: Question
    form: Form | None
    said: tuple[str, ...]


def asked_by(request: ChatRequest, camera: str) -> Asked:
    """Read the question; raise ApiError."""
    messages = list(request.messages)
    roles = [m.text for m in messages if m.role in ('system', 'developer')]
    messages = [m for m in messages if m.role in ('user', 'assistant')]
    if not messages or messages[-1].role != 'user':
        raise ApiError('The last message must be of the user', param='messages')
    pictures = tuple(picture for message in messages for picture in message.pictures())
    if len(pictures) > MOST_PICTURES:
        raise ApiError(f'{len(pictures)} pictures: at most {MOST_PICTURES} are looked at',
                       param='messages')
    form, schema = form_of(request.response_format)
    fields: AskFields = {'camera': camera} if camera else {}
    if any(roles):
        fields['system_prompt'] = '\n'.join(filter(None, roles))
    longest = request.max_completion_tokens or request.max_tokens
    if longest:
        fields['max_new_tokens'] = longest
    if form:
        fields['choices'] = form.choices
    elif schema is not None:
        fields['json_schema'] = schema
    sampling = Sampling(
        request.temperature or 0.0,
        Sampling.top_k if request.top_k is None else request.top_k,
        Sampling.top_p if request.top_p is None else request.top_p,
        request.seed,
    )
    question = Question(
        messages[-1].text, fields, pictures, tuple(_turns(messages[:-1])),
        sampling,
    )
    return Asked(question, form, tuple(f'{m.role}: {m.text}' for m in messages[:-1]))


def _turns(messages: list[_Message]) -> list[Turn]:
    """Pair what was asked with what was answered; several messages in a row become one."""
    pairs: list[list[str]] = []
    for message in messages:
        if message.role == 'user' and (not pairs or pairs[-1][1]):
            pairs.append([message.text, ''])
        elif not pairs:
            raise ApiError('The first message must be of the user', param='messages')
        else:
            place = 0 if message.role == 'user' else 1
            pairs[-1][place] = '\n'.join(filter(None, (pairs[-1][place], message.text)))
    return [Turn(question, answer) for question, answer in pairs]


def _picture(url: str) -> bytes:
    head, comma, data = url.partition(',')
    if not comma or not head.lower().startswith(_PREFIXES) or not head.endswith(';base64'):
        raise ApiError(
            'image_url must be a data URI such as data:image/jpeg;base64,...: addresses are not '
            'fetched', code='invalid_image_url', param='messages')
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise ApiError(f'image_url is no base64: {error}', code='invalid_image_url',
                       param='messages') from None


def form_of(wanted: dict[str, Any] | None) -> tuple[Form | None, str | None]:
    """
    Read response_format: a choice, or the schema of the JSON that is wanted; neither = text.

    Raises ApiError.
    """
    kind = (wanted or {}).get('type', 'text')
    if kind == 'text':
        return None, None
    if kind == 'json_object':
        return None, '{}'
    described = (wanted or {}).get('json_schema')
    schema = described.get('schema') if isinstance(described, dict) else None
    if kind != 'json_schema' or not isinstance(schema, dict):
        raise ApiError(
            'response_format is text, json_object, or json_schema with a schema',
            param='response_format')
    form = _choice_in(schema, '')
    properties = schema.get('properties')
    if form is None and isinstance(properties, dict) and len(properties) == 1:
        (key, value), = properties.items()
        form = _choice_in(value, key) if isinstance(value, dict) else None
    return form, None if form else json.dumps(schema)


def _choice_in(schema: dict[str, Any], key: str) -> Form | None:
    options = schema.get('enum')
    if not isinstance(options, list) or not all(isinstance(o, str) and o for o in options):
        return None
    choices = tuple(option for option in options if option != UNCLEAR)
    if not 2 <= len(choices) <= MAX_CHOICES or len(set(choices)) < len(choices):
        raise ApiError(f'An enum must have 2 to {MAX_CHOICES} different texts',
                       param='response_format')
    return Form(choices, key, UNCLEAR in options)
