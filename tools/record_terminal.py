# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Make docs/terminal_chat.svg and docs/terminal_video.svg from real runs with the demo model.

Types into the program in a pseudo-terminal and draws the screen as it was in the end. To run it:

    tools/with_ros python3 -m pip install pyte==0.8.2
    tools/with_ros python3 tools/record_terminal.py
"""

from __future__ import annotations

from io import StringIO
from itertools import groupby
import os
from pathlib import Path
import re
import sys
import tempfile

import cv2
import numpy as np
import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text
from vlm_npu_ros.demo.scenes import random_scene, render, Scene

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / 'test'), str(ROOT / 'tools' / 'demo_model')]
from sequences import random_sequence  # noqa: E402, I100
from terminal import PROMPT, terminal, VLM_NPU  # noqa: E402

COLUMNS, LINES = 96, 60
SIZE = 320, 240
FRAMES = 10  # of each scene in the video, which are shown ten a second


def main() -> None:
    """Record both commands."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_files()
        record('chat', ['scene.png'], [
            'what do you see?', 'what colour is it?', 'is it near?',
            '<image> other.png what do you see?', '<clear>', 'how many objects are there?',
            '<exit>',
        ])
        record('video', ['clip.mp4', '--frames', '3'], [
            'what has changed?', 'which way did it move?', 'where is it now?', '<exit>',
        ])


def make_files() -> None:
    """Write two pictures and a video in three steps into the current folder."""
    for name, seed in (('scene.png', 3), ('other.png', 4)):
        cv2.imwrite(name, picture(random_scene(np.random.default_rng(seed))))
    writer = cv2.VideoWriter('clip.mp4', cv2.VideoWriter_fourcc(*'mp4v'), 10.0, SIZE)
    for scene in random_sequence(np.random.default_rng(7), 3):
        for _ in range(FRAMES):
            writer.write(picture(scene))
    writer.release()


def picture(scene: Scene) -> np.ndarray:
    """Draw a scene, (240, 320, 3) uint8 BGR."""
    return cv2.cvtColor(render(scene, *SIZE), cv2.COLOR_RGB2BGR)


def record(command: str, arguments: list[str], lines: list[str]) -> None:
    """Run a command, type lines, save the picture."""
    environment = {**os.environ, 'XDG_STATE_HOME': os.getcwd(), 'COLORTERM': 'truecolor'}
    with terminal([*VLM_NPU, command, *arguments], environment, COLUMNS) as session:
        session.expect(PROMPT)
        for line in lines[:-1]:
            session.ask(line)
        session.press(f'{lines[-1]}\r')
        session.end()
    screen = pyte.Screen(COLUMNS, LINES)
    # pyte knows nothing of dim letters: grey ones stand for them.
    pyte.ByteStream(screen).feed(session.raw.replace(b'\x1b[2m', b'\x1b[90m'))
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(Text(f'$ vlm-npu {command} {" ".join(arguments)}', 'bold'))
    rows = [row(screen, number) for number in range(LINES)]
    while not rows[-1].plain.strip():
        rows.pop()
    console.print(*rows, sep='\n')
    svg = console.export_svg(title=f'vlm-npu {command}, with the demo model')
    path = ROOT / 'docs' / f'terminal_{command}.svg'
    # A picture should not load fonts from elsewhere.
    path.write_text(re.sub(r'@font-face \{.*?\}\s*', '', svg, flags=re.DOTALL))
    print(path)


def row(screen: pyte.Screen, number: int) -> Text:
    """Copy a line of the screen with its colours."""
    text = Text()
    cells = [screen.buffer[number][column] for column in range(COLUMNS)]
    for shown, run in groupby(cells, style):
        text.append(''.join(cell.data for cell in run), shown)
    text.rstrip()
    return text


def style(cell: pyte.screens.Char) -> Style:
    """Tell how a character is shown."""
    return Style(
        color=colour(cell.fg), bgcolor=colour(cell.bg), bold=cell.bold, italic=cell.italics,
        underline=cell.underscore, reverse=cell.reverse,
    )


def colour(name: str) -> str:
    """Translate the name of a colour from pyte to rich."""
    name = name.replace('brown', 'yellow').replace('bright', 'bright_')
    return f'#{name}' if re.fullmatch('[0-9a-f]{6}', name) else name


if __name__ == '__main__':
    main()
