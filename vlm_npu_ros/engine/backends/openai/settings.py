# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Settings of the backend openai."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_npu_ros.engine.options import option

CHOICE_METHODS = ('logprobs', 'json_schema', 'parse')  # best first
MOST_TOKENS = 2**31 - 1  # larger numbers from a server are not believed


@dataclass(frozen=True)
class OpenAISettings:
    """
    Settings of the backend openai.

    typed: one of CHOICE_METHODS, or auto.
    called: how messages call the server; '' = by its address.
    """

    base_url: str = option(
        'http://127.0.0.1:8080/v1', 'Address of the server, with /v1 if it has that.'
    )
    model: str = option('', 'Name of the model on the server; empty = the only one it has.')
    api_key_env: str = option(
        'OPENAI_API_KEY', 'Environment variable with the key of the server; unset = no key.'
    )
    api_key_file: str = option('', 'File with the key instead; readable by its owner only.')
    connect_timeout: float = option(
        5.0, 'Seconds for one attempt to connect.', 0.001, 3600.0, unit='s'
    )
    first_token_timeout: float = option(
        30.0, 'Seconds until an answer begins, all attempts included.', 0.001, 3600.0, unit='s'
    )
    token_timeout: float = option(
        10.0, 'Seconds between two pieces of an answer.', 0.001, 3600.0, unit='s'
    )
    retries: int = option(2, 'Further attempts if no answer has begun.', 0, 100)
    image_size: int = option(
        768, 'Longer side of the pictures sent, in pixels.', 16, 16384, unit='px'
    )
    jpeg_quality: int = option(85, 'JPEG quality of the pictures sent.', 1, 100)
    typed: str = option(
        'auto',
        'How yes/no and choice are decided: logprobs, json_schema, parse (words of the answer), '
        'or auto: the first of these that the server accepts.',
        choices=('auto', *CHOICE_METHODS),
    )
    thinking: str = option(
        'auto',
        'Whether the model thinks before it answers: off, on, or auto (as the server has it).',
        choices=('auto', 'off', 'on'), flag='--thinking',
    )
    extra_body: str = option(
        '', 'JSON object with further arguments of each request; null leaves one out. For '
        'example {"top_k": 20}.',
        flag='--extra-body',
    )
    called: str = ''

    @property
    def title(self) -> str:
        return self.called or f'The server {self.base_url}'
