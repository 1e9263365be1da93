# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu bag: questions about a recording: a bag, a video, a folder of pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
import functools
import json
from pathlib import Path

from vlm_npu_ros.cli.arguments import (
    add_model_arguments,
    complete,
    engine_settings,
    longest_answer,
)
from vlm_npu_ros.cli.interruptible import generate
from vlm_npu_ros.cli.loaded import load
from vlm_npu_ros.cli.screen import ChatScreen
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationRequest,
    NumberRange,
    Sampling,
    YES_NO,
)
from vlm_npu_ros.recordings.asking import Finding, findings
from vlm_npu_ros.recordings.opening import opened
from vlm_npu_ros.recordings.order import evenly_then_finer, interval, spaced
from vlm_npu_ros.recordings.page import html_page, when

_TYPED_TOKENS = 32  # of an answer that is one of several
_EPILOG = """\
RECORDING is a bag of ROS 1 or ROS 2 (.bag, .mcap, .db3 or the folder of `ros2 bag record`), which
needs no ROS; a video; or a folder of pictures, which count as a second apart. Models are named as
for `vlm-npu chat`.

--find looks at pictures far apart first, then between them, and stops at the first one with that
answer. Exit code: 0 done, or found; 1 an error, or not found; 2 wrong use; 130 Ctrl-C.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = commands.add_parser(
        'bag',
        help='ask about the pictures of a recording: a bag, a video, a folder',
        usage='%(prog)s RECORDING -q QUESTION [OPTION]...',
        description='Ask the same questions about pictures all along a recording.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('-q', '--question', action='append', required=True, help='may be given several times')
    add('--topic', default='', help='of the pictures in a bag (default: the only one)')
    add(
        '--every', type=_interval, default=1.0, metavar='TIME',
        help='between the pictures that are looked at: 2s, 500ms, 1min; 0 = all (default: 1s)',
    )
    typed = parser.add_mutually_exclusive_group()
    typed.add_argument('--yes-no', action='store_true', help='answer yes, no or unclear')
    typed.add_argument(
        '--choices', type=_choices, default=(), metavar='A,B,...',
        help='answer with one of these, or unclear',
    )
    typed.add_argument('--number', action='store_true', help='answer with a number, or unclear')
    add('--find', nargs='?', const='yes', metavar='ANSWER',
        help='stop at the first picture with this answer (default: yes)')
    add('--html', type=Path, metavar='FILE', help='write a page with pictures and answers')
    add('--json', action='store_true', help='print each answer as a line of JSON')
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def _interval(text: str) -> float:
    try:
        return interval(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _choices(text: str) -> tuple[str, ...]:
    choices = tuple(filter(None, map(str.strip, text.split(','))))
    if len({choice.lower() for choice in choices}) != len(choices) or len(choices) < 2:
        raise argparse.ArgumentTypeError('write different ones: A,B')
    return choices


def run(args: argparse.Namespace) -> int:
    """Ask; return 1 if --find found nothing."""
    sources = complete(args)
    path = sources[0] if len(sources) == 1 else None
    if not isinstance(path, Path):
        args.wrong_use('name one recording: a bag, a video, or a folder of pictures')
        return 2
    choices = YES_NO if args.yes_no else args.choices
    if args.find is not None and args.find not in choices:
        args.wrong_use(f'--find {args.find} needs --yes-no, or --choices with {args.find}')
    screen = ChatScreen(args.quiet or args.json)
    with ExitStack() as stack:
        recording = stack.enter_context(opened(path, args.topic))
        typed = bool(choices or args.number)
        settings = replace(engine_settings(args), typed=typed)
        loaded = load(settings, screen, args.isolation)
        stack.callback(loaded.engine.close)
        screen.note(loaded.describe())
        longest = longest_answer(args, loaded.engine.context)
        requests = [
            GenerationRequest(
                question, (), min(longest, _TYPED_TOKENS) if typed else longest,
                Sampling(temperature=args.temperature), choices=choices,
                number=NumberRange() if args.number else None,
            )
            for question in args.question
        ]
        chosen = spaced(recording.times, args.every)
        order = [chosen[i] for i in evenly_then_finer(len(chosen))] if args.find else chosen
        # Only now, because it replaces the page of an earlier run.
        page = args.html and stack.enter_context(html_page(args.html, ' '.join(args.question)))
        screen.note(f'{len(chosen)} of {len(recording.times)} pictures')
        found = False
        write = functools.partial(_written, loaded.engine)
        for finding in findings(loaded.engine, recording, order, requests, write):
            if page:
                page(finding)
            print(json.dumps(finding.record()) if args.json else _row(finding, args), flush=True)
            found = args.find is not None and finding.choice == args.find
            if found:
                break
    return int(args.find is not None and not found)


def _written(engine: Engine, request: GenerationRequest) -> Iterator[Chunk]:
    for chunk in generate(engine, request):
        if chunk.finish_reason is FinishReason.CANCELLED:
            raise KeyboardInterrupt
        yield chunk


def _row(finding: Finding, args: argparse.Namespace) -> str:
    """Show a finding as a line of the table."""
    if finding.error:
        return f'{when(finding)}  {finding.error}'
    sure = finding.verdict and finding.verdict.probability
    answer = finding.choice or finding.answer
    question = f'  {finding.question}' if len(args.question) > 1 else ''
    return f'{when(finding)}  {answer}{f" {sure:.2f}" if sure else ""}{question}'
