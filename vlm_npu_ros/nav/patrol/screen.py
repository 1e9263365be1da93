# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a mission shows in the terminal."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.nav.mission import Question, Waypoint
from vlm_npu_ros.nav.patrol.page import BADGES
from vlm_npu_ros.nav.patrol.patrol import Progress
from vlm_npu_ros.nav.patrol.report import Answered, Visit

_STYLES = {'good': 'green', 'bad': 'red', 'odd': 'yellow', '': ''}


class PatrolScreen(Progress):
    """Lines of progress."""

    def __init__(self) -> None:
        # On a terminal that cannot show an arrow, show something else instead of an error.
        if hasattr(sys.stdout, 'reconfigure'):
            sys.stdout.reconfigure(errors='replace')
        self.console = Console(highlight=False, markup=False, emoji=False)

    def say(self, text: str | Text, style: str = '') -> None:
        """Show a line."""
        self.console.print(text, style=style, soft_wrap=True)

    def driving(self, waypoint: Waypoint) -> None:
        """Show where the robot drives to."""
        position = waypoint.pose.pose.position
        place = f'  ({position.x:.2f}, {position.y:.2f})'
        self.say(Text.assemble(('\n→ ', 'blue'), (waypoint.name, 'bold'), (place, 'dim')))

    def ended(self, visit: Visit) -> None:
        """Show why the robot is not there."""
        if visit.error:
            self.say(f'  {visit.error}', 'red')

    def asking(self, question: Question) -> None:
        """Show a question."""
        self.say(f'  {question.text}')

    def answered(self, answered: Answered) -> None:
        """Show an answer and the verdict on it."""
        words, tone = BADGES[answered.verdict]
        said = answered.choice or answered.answer
        line = Text('    ').append(said, _STYLES[tone])
        if answered.quote:
            line.append(f'  “{answered.quote}”', 'dim')
        if words:
            line.append(f'  {words}', _STYLES[tone])
        if answered.age is not None:
            line.append(f'  frame {in_words(answered.age)} old', 'dim')
        self.say(line)
        if answered.error:
            self.say(f'    {answered.error}', 'red')
