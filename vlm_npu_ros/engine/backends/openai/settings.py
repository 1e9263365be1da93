"""What an operator can set about a server."""

from __future__ import annotations

from dataclasses import dataclass

TYPED = ('auto', 'logprobs', 'json_schema', 'parse')
MOST_TOKENS = 2**31 - 1  # that a server is believed to have, or to have counted


@dataclass(frozen=True)
class OpenAISettings:
    """
    Settings of the backend openai; all times in seconds.

    base_url: of the API, with /v1 where the server has that.
    model: as the server names it; '' = the only one that it has.
    api_key_env: environment variable that holds the key; unset = the server wants none.
    api_key_file: file that holds it instead, which nobody but its owner may read.
    connect_timeout: for one attempt to connect.
    first_token_timeout: until an answer begins, all attempts included.
    token_timeout: between two pieces of an answer.
    retries: further attempts where an answer has not begun.
    image_size: longer side of the pictures that are sent, in pixels.
    jpeg_quality: 1..100.
    typed: how yes/no and choice are decided: by logprobs, json_schema, parse (reading the answer),
        or auto: the first of these that the server has.
    """

    base_url: str = 'http://127.0.0.1:8080/v1'
    model: str = ''
    api_key_env: str = 'OPENAI_API_KEY'
    api_key_file: str = ''
    connect_timeout: float = 5.0
    first_token_timeout: float = 30.0
    token_timeout: float = 10.0
    retries: int = 2
    image_size: int = 768
    jpeg_quality: int = 85
    typed: str = 'auto'
