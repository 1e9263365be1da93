# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Ask a server of chat completions as a fleet of robots does, and measure.

    tools/with_ros python3 tools/fleet/load.py --server http://127.0.0.1:8000/v1 --robots 20

Each robot looks once in a period and asks one or more questions about what it sees; it never has
two questions open. Ctrl-C ends early and prints what there is. The key is that of the environment
variable OPENAI_API_KEY. Exit status 1 if a question was not answered, 2 if none could be asked.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
import json
import os
from pathlib import Path
import signal
import sys
import time
from typing import Any

import openai
from report import show, summary
from rich.console import Console
from robots import Album, Habits, Outcome, Robot


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    share, positive = _between(0, 1), _between(1e-3, 1e6)
    parser.add_argument('--server', default='http://127.0.0.1:8000/v1', help='of the server')
    parser.add_argument('--model', default='', help='default: the first one that it lists')
    parser.add_argument('--robots', type=int, default=10)
    parser.add_argument('--seconds', type=positive, default=60.0, help='for how long')
    parser.add_argument('--period', type=positive, default=5.0, help='between looks, seconds')
    parser.add_argument('--jitter', type=share, default=0.2, help='random share of the period')
    parser.add_argument('--burst', type=int, default=1, help='questions about each look')
    parser.add_argument('--yes-no', type=share, default=0.5, help='share of such questions')
    parser.add_argument('--size', type=_size, default=(768, 576), metavar='WxH', help='pictures')
    parser.add_argument('--quality', type=int, default=85, help='of their JPEG files')
    parser.add_argument('--max-tokens', type=int, default=64, help='of an answer in free text')
    parser.add_argument('--timeout', type=positive, default=30.0, help='of an answer, seconds')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path, help='also write the figures there')
    return parser.parse_args()


def _between(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f'must be from {low:g} to {high:g}, not {text}')
        return value

    return number


def _size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split('x'))
    return width, height


async def load(args: argparse.Namespace) -> dict[str, Any]:
    """Let the robots work, and compute the figures."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    async with openai.AsyncOpenAI(
        base_url=args.server, api_key=os.environ.get('OPENAI_API_KEY', 'none'), max_retries=0
    ) as client:
        model = args.model or await _first_model(client)
        habits = Habits(
            model, args.period, args.jitter, args.burst, args.yes_no, args.size, args.max_tokens,
            args.timeout,
        )
        album = Album(args.size, args.quality, args.seed)
        outcomes: list[Outcome] = []
        robots = [
            Robot(client, habits, album, outcomes, args.seed + number)
            for number in range(args.robots)
        ]
        started = time.perf_counter()
        tasks = [asyncio.create_task(robot.work()) for robot in robots]
        try:
            await asyncio.wait(
                [asyncio.create_task(stop.wait()), *tasks],
                timeout=args.seconds, return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            seconds = time.perf_counter() - started
            await _cancel(set(tasks))
        return summary(outcomes, seconds, sum(robot.late for robot in robots))


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel, more than once if need be: before Python 3.12, wait_for can lose a cancellation."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=0.1)


async def _first_model(client: openai.AsyncOpenAI) -> str:
    models = [model.id async for model in client.models.list()]
    if not models:
        raise ValueError('the server lists no models: name one with --model')
    return models[0]


def main() -> int:
    """Measure and print."""
    args = arguments()
    try:
        figures = asyncio.run(load(args))
    except (openai.OpenAIError, ValueError) as error:
        print(f'load: {args.server}: {error}', file=sys.stderr)
        return 2
    show(figures, Console())
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + '\n')
    everything = figures['questions']['all']
    return 1 if everything['errors'] or not everything['asked'] else 0


if __name__ == '__main__':
    sys.exit(main())
