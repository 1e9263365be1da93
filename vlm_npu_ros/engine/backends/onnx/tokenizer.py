# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Text to tokens and back: longest-match pieces over UTF-8 bytes."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
import functools
import json
import os
from pathlib import Path

from vlm_npu_ros.engine.errors import ModelFileError

_REMEMBERED = 64  # texts: a question is counted and read, a dialogue for each of its questions
_LONG = 2000  # characters of a text that is not remembered: many of them would fill the memory
_LARGEST_FILE = 1 << 26  # bytes; a model file, named by mistake, has gigabytes
SPECIAL_TOKENS = ('<image>', '<user>', '<assistant>', '<eos>')
_Decoder = codecs.getincrementaldecoder('utf-8')


class Tokenizer:
    """
    Tokens 0 to 255 are bytes, then the special tokens, then the pieces.

    Any text can be encoded, and no text encodes to a special token: a user cannot type a control
    tag.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = list(pieces)
        self.special = {name: 256 + i for i, name in enumerate(SPECIAL_TOKENS)}
        first = 256 + len(SPECIAL_TOKENS)
        words = [piece.encode() for piece in self.pieces]
        self._ids = {word: first + i for i, word in enumerate(words)}
        self._bytes = [bytes([i]) for i in range(256)] + [b''] * len(SPECIAL_TOKENS) + words
        self._longest = max(map(len, words), default=1)
        self._remembered = functools.lru_cache(_REMEMBERED)(self._encode)

    def __len__(self) -> int:
        return len(self._bytes)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read `{"pieces": [...]}`; raise ModelFileError if the file does not hold that."""
        if not os.path.isfile(path):  # unlike Path.is_file, never an error
            raise ModelFileError(f'There is no tokenizer file {path}')
        try:
            size = path.stat().st_size
            if size > _LARGEST_FILE:
                raise ValueError(f'it has {size} bytes: is it a model file?')
            return cls(json.loads(path.read_text(encoding='utf-8'))['pieces'])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelFileError(f'{path} is not a tokenizer file: {error}') from error

    def encode(self, text: str) -> list[int]:
        """Cut the text into tokens, the longest pieces first; lone surrogates become '?'."""
        return list((self._encode if len(text) > _LONG else self._remembered)(text))

    def _encode(self, text: str) -> tuple[int, ...]:
        data = text.encode('utf-8', 'replace')
        tokens, at = [], 0
        while at < len(data):
            for length in range(min(self._longest, len(data) - at), 1, -1):
                token = self._ids.get(data[at:at + length])
                if token is not None:
                    break
            else:
                token, length = data[at], 1
            tokens.append(token)
            at += length
        return tuple(tokens)

    def decode(self, tokens: Iterable[int]) -> str:
        """Join tokens to text; special tokens add nothing."""
        return b''.join(self._bytes[t] for t in tokens).decode('utf-8', 'replace')

    def stream(self) -> TextStream:
        """Make a decoder that takes one token at a time."""
        return TextStream(self._bytes)


class TextStream:
    """Turns tokens into text as they come; holds back the start of a split character."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        self._bytes = token_bytes
        self._decoder = _Decoder('replace')

    def push(self, token: int) -> str:
        """Take the next token; return the text that it completes, which may be empty."""
        return self._decoder.decode(self._bytes[token])

    def finish(self) -> str:
        """Return what is left of an unfinished character, when no more tokens come."""
        return self._decoder.decode(b'', final=True)
