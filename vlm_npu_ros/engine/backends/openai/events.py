# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a server sends, as it comes off the line: server-sent events, or something else."""

from __future__ import annotations

from collections.abc import Iterator
import json
from typing import Any

_END = '[DONE]'
_MOST = 16 * 2**20  # bytes of an event; a longer one is not waited for


class Events:
    """
    Cuts the bytes of a response into the JSON values of its events, however they are cut.

        for value in events.feed(data):
            ...
        for value in events.end():
            ...

    Values of any shape are yielded, and texts for events that are not JSON.

    ended: the server has said that nothing follows.
    text: what came outside of events, such as a web page.
    """

    def __init__(self) -> None:
        self.ended, self.text = False, ''
        self._line = b''
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take the next bytes; yield the events that they complete."""
        *lines, self._line = (self._line + data).split(b'\n')
        if len(self._line) > _MOST:
            raise ValueError(f'an event has more than {_MOST} bytes')
        for line in lines:
            if self.ended:
                return
            yield from self._take(line.decode(errors='replace').rstrip('\r'))

    def end(self) -> Iterator[Any]:
        """Yield what the end of the response completes; an answer that is not streamed, too."""
        if self.ended:
            return
        yield from self._take(self._line.decode(errors='replace').rstrip('\r'))
        yield from self._take('')
        if self.text[:1] in ('{', '['):
            yield _value(self.text)

    def _take(self, line: str) -> Iterator[Any]:
        name, colon, value = line.partition(':')
        if name == 'data' and colon:
            self._data.append(value.removeprefix(' '))
        elif not line.strip():
            yield from self._complete()
        elif name not in ('', 'event', 'id', 'retry', '\ufeff'):  # comments begin with a colon
            self.text = (self.text + line)[:_MOST]

    def _complete(self) -> Iterator[Any]:
        text, self._data = '\n'.join(self._data).strip(), []
        if text == _END:
            self.ended = True
        elif text:
            yield _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
