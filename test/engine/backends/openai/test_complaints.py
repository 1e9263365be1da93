# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What servers complain about, in words of many kinds and bodies of all shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from vlm_npu_ros.engine.backends.openai.complaints import context_size, plain, read_complaint


def kind(body: Any) -> str:
    complaint = read_complaint(body)
    if complaint.most_pictures is not None:
        return 'no pictures' if complaint.most_pictures == 0 else 'fewer pictures'
    if complaint.about_context:
        return f'context {complaint.context_size}'
    if complaint.about_vision(True):
        return 'no pictures'
    return 'key' if complaint.about_key else 'other'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        # The first number is not always the limit, and not all have one.
        ('Prompt of 9120 tokens is longer than the maximum model length (6144)', 'context 6144'),
        ('The request has 7,001 tokens, but at most 6,144 tokens are allowed.', 'context 6144'),
        ('the context window of 16k is full', 'context 16384'),
        ('Your messages exceed the context.', 'context 0'),
        ('n_ctx overflow: need 900 > n_ctx 512', 'context 512'),
        ('inputs + max_new_tokens must be <= 2048, given 2500 input tokens', 'context 2048'),
        ('You sent 9000 prompt tokens. The context length is only 8192.', 'context 8192'),
        ('prompt is too long: 1200000 tokens > 1000000 maximum', 'context 1000000'),
        ('Prompt too long by 12 tokens, shorten it', 'context 0'),
        ('Reduce the prompt: 5000 tokens do not fit into 4096 tokens of context', 'context 4096'),
        ('limit: 1500 + 700 > 2000 tokens, ask for fewer', 'context 2000'),
        ('please reduce the length of your messages', 'context 0'),
        ('Up to 0 images are taken in a prompt', 'no pictures'),
        ('this is a text-only model', 'no pictures'),
        ('content of several pictures: multiple images are not taken', 'fewer pictures'),
        ('set image=0 by --limit, but got 2 images in the prompt', 'no pictures'),
        ('a prompt may have up to 2 images', 'fewer pictures'),
        ('Too many pictures in this question', 'fewer pictures'),
        ('only one image is allowed', 'fewer pictures'),
        ('This one reads text only: image parts are ignored', 'no pictures'),
        ('messages[2].content[0]: unknown type `image_url`, the model reads text', 'no pictures'),
        ('vision is disabled here', 'no pictures'),
        ('The loaded model lacks an image projector', 'no pictures'),
        ('No model here accepts pictures', 'no pictures'),
        ('content must be a string', 'no pictures'),
        # These are faults of one picture, of an argument, of a budget.
        ('The image cannot be decoded by the model', 'other'),
        ('Unsupported image format webp', 'other'),
        ('image of 31 MB exceeds the limit of 20 MB', 'other'),
        ('temperature must be at most 2', 'other'),
        ('the limit of 90000 tokens per minute is exceeded', 'other'),
        ('you exceeded your quota of tokens', 'other'),
        ('the prompt has <image> 2 times, but 1 was sent', 'other'),
        ('max_tokens must be at least 1', 'other'),
        ('the device is out of memory', 'other'),
        ('This API key is unknown', 'key'),
        ('slot is busy', 'other'),
    ],
)
def test_words(text: str, expected: str) -> None:
    bodies: list[Any] = [
        text, {'error': text}, {'error': {'message': text, 'code': 400}}, {'detail': text},
        [{'error': {'message': text, 'status': 'INVALID'}}], {'message': text, 'object': 'error'},
        {'error': {'message': 'Upstream failed', 'metadata': {
            'raw': json.dumps({'error': {'message': text}})}}},
    ]
    for body in bodies:
        assert kind(body) == expected, body


@pytest.mark.parametrize(
    ('body', 'expected'),
    [
        ({'error': {'message': 'Nein.', 'code': 'context_length_exceeded'}}, 'context 0'),
        ({'error': {'message': 'Nein.', 'type': 'exceed_context_size_error', 'n_ctx': 2048,
                    'n_prompt_tokens': 3000}}, 'context 2048'),
        ({'error': {'message': 'Nein.', 'code': 'invalid_api_key'}}, 'key'),
        ({'detail': [{'loc': ['body', 'messages', 0, 'content'], 'type': 'string_type',
                      'msg': 'wrong type'}]}, 'no pictures'),
        ({'error': None}, 'other'), (None, 'other'), (7, 'other'), ([], 'other'), ('', 'other'),
        ({'error': {'error': {'error': {'message': 'prompt too long'}}}}, 'context 0'),
    ],
)
def test_structure(body: Any, expected: str) -> None:
    assert kind(body) == expected


def test_words_for_people() -> None:
    for body, expected in (
        ({'error': {'message': 'no.', 'type': 'bad'}}, 'no (bad)'),
        ({'error': 'no'}, 'no'),
        ([{'error': {'code': 400, 'message': 'no'}}], 'no'),
        ({'detail': [{'msg': 'one', 'type': 'x_type'}, {'msg': 'two'}]}, 'one; two (x_type)'),
        ('<html><head><title>413 Too Large</title></head><body>x</body></html>', '413 Too Large'),
        ({'error': {'type': 'overloaded'}}, 'overloaded'),
        ({}, ''),
    ):
        assert read_complaint(body).words == expected
    deep: Any = 'end'
    for _ in range(10_000):
        deep = [deep]
    assert read_complaint(deep).words == ''


@pytest.mark.parametrize(
    ('text', 'size'),
    [
        ('its maximum context is 65,536 tokens, you asked for 70,000', 65536),
        ('a context of 12 345 tokens', 12345), ('context window: 8K', 8192),
        ('a context of 1M tokens', 1048576), ('context length 2', 0),
        ('context of 9' + '9' * 30, 0),
        ('you asked for 900 tokens', 0), ('at most 2048 completion tokens', 0), ('', 0),
    ],
)
def test_size_of_the_context(text: str, size: int) -> None:
    assert context_size(text) == size


def test_plain_text_stays() -> None:
    assert plain('a < b') == 'a < b'
    assert plain(' <!DOCTYPE html><p>Log in</p>') == 'Log in'
