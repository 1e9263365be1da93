# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the demo shows in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import sys
import time

from demo_answers import DemoAnswer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_INDENT = ' ' * 10


class DemoScreen:
    """Lines of progress, questions with their answers as they come, and a table of them all."""

    def __init__(self) -> None:
        # On a terminal that cannot show a tick, show something else instead of an error.
        if hasattr(sys.stdout, 'reconfigure'):
            sys.stdout.reconfigure(errors='replace')
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._shown = ''

    def say(self, text: str, style: str = '') -> None:
        """Show a line."""
        self._console.print(text, style=style, soft_wrap=True)

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """Show what is being done, then that it is done and how long it took."""
        started = time.monotonic()
        with self._console.status(f'{doing} ...'):
            yield
        took = f'  {time.monotonic() - started:.1f} s'
        line = Text.assemble(('✓ ', 'green'), done, (took, 'dim'))
        self._console.print(line, soft_wrap=True)

    def scene(self, number: int, count: int, description: str) -> None:
        """Show the true description of a scene."""
        heading = (f'\nScene {number} of {count}  ', 'bold')
        self._console.print(Text.assemble(heading, (description, 'dim')), soft_wrap=True)

    def question(self, way: str, question: str) -> None:
        """Show a question and begin the line of its answer."""
        self._console.print(Text.assemble((f'  {way:8}', 'cyan'), question), soft_wrap=True)
        self._console.print(_INDENT, end='')
        self._shown = ''

    def stream(self, answer: str) -> None:
        """Show what is new in an answer so far."""
        if answer.startswith(self._shown):
            self._console.print(answer[len(self._shown):], end='', soft_wrap=True)
            self._shown = answer

    def answer(self, answer: DemoAnswer) -> None:
        """End the line of an answer with whether it is right."""
        self.stream(answer.result.text)
        verdict = ('  ✓ right', 'green') if answer.right else ('  ✗ wrong', 'red')
        self._console.print(Text.assemble(verdict))
        for line in (f'true is: {answer.question.answer}', answer.note):
            self._console.print(Text(f'{_INDENT}{line}', 'dim'), soft_wrap=True)

    def table(self, answers: Sequence[DemoAnswer]) -> None:
        """Show all questions, whether their answers are right, and what they cost."""
        table = Table(title='\nAnswers over ROS', title_justify='left', title_style='bold')
        for name in ('', 'by', 'question'):
            table.add_column(name)
        for name in ('frame age', 'first token', 'tokens/s'):
            table.add_column(name, justify='right', no_wrap=True)
        for answer in answers:
            table.add_row(
                Text('✓', 'green') if answer.right else Text('✗', 'red'), answer.way,
                Text(answer.question.text), answer.frame_age, answer.first_token, answer.rate,
            )
        self._console.print(table)
