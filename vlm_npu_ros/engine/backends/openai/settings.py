"""What an operator can set about a server."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_npu_ros.engine.options import option

CHOICE_METHODS = ('logprobs', 'json_schema', 'parse')  # the best first
MOST_TOKENS = 2**31 - 1  # that a server is believed to have, or to have counted


@dataclass(frozen=True)
class OpenAISettings:
    """
    Settings of the backend openai.

    typed: one of CHOICE_METHODS, or auto.
    """

    base_url: str = option(
        'http://127.0.0.1:8080/v1', 'Server of chat completions, with /v1 where it has that.'
    )
    model: str = option('', 'Model, as the server names it; empty = the only one it has.')
    api_key_env: str = option(
        'OPENAI_API_KEY', 'Environment variable with the key of the server; unset = none.'
    )
    api_key_file: str = option(
        '', 'File with that key instead; only its owner may be able to read it.'
    )
    connect_timeout: float = option(
        5.0, 'Seconds for one attempt to connect.', 0.001, 3600.0, unit='s'
    )
    first_token_timeout: float = option(
        30.0, 'Seconds until an answer begins, all attempts included.', 0.001, 3600.0, unit='s'
    )
    token_timeout: float = option(
        10.0, 'Seconds between two pieces of an answer.', 0.001, 3600.0, unit='s'
    )
    retries: int = option(2, 'Further attempts where an answer has not begun.', 0, 100)
    image_size: int = option(
        768, 'Longer side of the pictures that are sent, in pixels.', 16, 16384, unit='px'
    )
    jpeg_quality: int = option(85, 'Quality of the pictures that are sent.', 1, 100)
    typed: str = option(
        'auto',
        'How yes/no and choice are decided: logprobs, json_schema, parse (reading the answer), '
        'or auto: the first of these that the server has.',
        choices=('auto', *CHOICE_METHODS),
    )
