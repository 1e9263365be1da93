# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A program in a terminal of its own, which a user types into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

VLM_NPU = [sys.executable, '-m', 'vlm_npu_ros.cli.main']
PATIENCE = 60.0  # seconds; only a broken test waits this long
PROMPT = '\n> '
_CONTROL = re.compile(r'\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f]')


class Terminal:
    """
    The master side of a pseudo-terminal.

    raw: everything that the program has written.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], columns: int = 100):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        settings = termios.tcgetattr(slave)
        settings[3] |= termios.NOFLSH  # else Ctrl-C discards what was not read yet
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        self.settings = termios.tcgetattr(slave)
        self._slave = slave
        self.raw = b''
        self._read = 0
        self.child = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env={**environment, 'TERM': 'xterm'},
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    @property
    def text(self) -> str:
        """Return everything that the program has written, without colours and movements."""
        return _CONTROL.sub('', self.raw.decode(errors='replace'))

    def press(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, words: str) -> str:
        """Wait for words after those that were waited for last; return all until there."""
        end = time.monotonic() + PATIENCE
        while words not in self.text[self._read:]:
            assert self._receive(end - time.monotonic()), f'no {words!r} in {self.text!r}'
        start, self._read = self._read, self.text.index(words, self._read) + len(words)
        return self.text[start:self._read]

    def ask(self, question: str) -> str:
        """Type a line at the prompt, return what is printed until the next prompt."""
        self.press(f'{question}\r')
        self.expect(question)
        return self.expect(PROMPT)

    def end(self, pressing: str = '') -> int:
        """Read, and press keys once a second, until the program has ended; return its code."""
        end, pressed = time.monotonic() + PATIENCE, 0.0
        while self.child.poll() is None:
            now = time.monotonic()
            assert now < end, f'does not end: {self.text!r}'
            if pressing and now > pressed + 1.0:
                self.press(pressing)
                pressed = now
            self._receive(0.05)
        while self._receive(0):
            pass
        assert termios.tcgetattr(self._slave) == self.settings
        hidden, seen = (self.raw.rfind(code) for code in (b'\x1b[?25l', b'\x1b[?25h'))
        assert hidden <= seen, f'the cursor is hidden: {self.raw[-2000:]!r}'
        assert 'Traceback' not in self.text, self.text[-4000:]
        return self.child.returncode

    def _receive(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], max(seconds, 0))[0]:
            return False
        self.raw += os.read(self._master, 65536)
        return True

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self._master)
        os.close(self._slave)


@contextmanager
def terminal(
    command: Sequence[str], environment: Mapping[str, str], columns: int = 100
) -> Iterator[Terminal]:
    opened = Terminal(command, environment, columns)
    try:
        yield opened
    finally:
        opened.close()


Run = Callable[..., AbstractContextManager[Terminal]]
