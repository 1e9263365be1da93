# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu ask: ask a running vlm node, over ROS."""

from __future__ import annotations

import argparse
import concurrent.futures
from dataclasses import asdict
import json
import sys
from typing import TYPE_CHECKING

from vlm_npu_ros.client import Answer, AnswerStream, fields, NodeUnavailableError, VlmClientError
from vlm_npu_ros.engine import errors
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.types import DecidedBy

if TYPE_CHECKING:
    from vlm_npu_ros.client import VlmClient

NO_ROS = (
    'ROS 2 with this package is missing ({}): source it first, for example '
    'source /opt/ros/jazzy/setup.bash and source install/setup.bash'
)
_CANCEL_SECONDS = 5.0  # that Ctrl-C waits for the node to confirm
OK, FAULT, USE, NO_NODE, _NO_FRAME, _REFUSED, _BUSY, _TIMEOUT, _CANCELLED, _BACKEND = range(10)
_INTERRUPTED = 130
_EXIT_CODES = {
    errors.InactiveError.code: NO_NODE,
    errors.NoFrameError.code: _NO_FRAME,
    errors.StaleFrameError.code: _NO_FRAME,
    errors.ImageError.code: _NO_FRAME,
    errors.RequestError.code: _REFUSED,
    errors.ContextError.code: _REFUSED,
    errors.NotSupportedError.code: _REFUSED,
    errors.BusyError.code: _BUSY,
    errors.AnswerTimeoutError.code: _TIMEOUT,
    errors.CancelledError.code: _CANCELLED,
    errors.EmptyAnswerError.code: _BACKEND,
    errors.AnswerFormError.code: _BACKEND,
    errors.BackendCrashedError.code: _BACKEND,
    errors.BackendUnavailableError.code: _BACKEND,
    errors.ModelFileError.code: _BACKEND,
    errors.UnsupportedRuntimeError.code: _BACKEND,
}
EPILOG = f"""\
exit codes:
  {OK:<3}  answered
  {FAULT:<3}  a fault of this package, or ROS is not sourced
  {USE:<3}  wrong use
  {NO_NODE:<3}  no node answers, or it is not active
  {_NO_FRAME:<3}  the camera has no frame, none that fits, or none that can be read
  {_REFUSED:<3}  the node refuses the question: a wrong field, too long, not supported
  {_BUSY:<3}  too many questions wait
  {_TIMEOUT:<3}  no whole answer in time
  {_CANCELLED:<3}  somebody else cancelled it
  {_BACKEND:<3}  the model runtime failed
  {_INTERRUPTED}  Ctrl-C
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    ask = commands.add_parser(
        'ask',
        help='ask a running node about what its camera sees (needs ROS)',
        description='Ask a running vlm node about what its camera sees; Ctrl-C cancels.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(ask)
    ask.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything that `run` reads."""
    parser.add_argument('question')
    fields.add_arguments(parser)
    parser.add_argument('--json', action='store_true', help='print JSON when it has ended')
    parser.add_argument('--quiet', action='store_true', help='print the answer only')
    add_node_arguments(parser)


def add_node_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which node to talk to."""
    parser.add_argument('--node', default='vlm', help='name of the node (default: vlm)')
    parser.add_argument('--namespace', default='', help='namespace of the node')
    parser.add_argument(
        '--wait', type=float, default=10.0, help='seconds to look for the node (default: 10)'
    )


def run(args: argparse.Namespace) -> int:
    """Ask, show the answer and return the exit code."""
    try:
        from vlm_npu_ros.client import VlmClient
    except ImportError as error:
        return _fail(args, NO_ROS.format(error), FAULT)
    try:
        with VlmClient(args.node, args.namespace, discovery_timeout=args.wait) as client:
            return _ask(client, args)
    except NodeUnavailableError as error:
        return _fail(args, str(error), NO_NODE)
    except VlmClientError as error:
        return _fail(args, str(error), FAULT)
    except ValueError as error:
        return _fail(args, str(error), USE)


def _fail(args: argparse.Namespace, message: str, code: int) -> int:
    if args.json:
        print(json.dumps({'ok': False, 'error': message}))
    else:
        print(f'{args.program} ask: {message}', file=sys.stderr)
    return code


def _ask(client: VlmClient, args: argparse.Namespace) -> int:
    stream = client.stream(args.question, check=False, **fields.given(args))
    try:
        for text in stream:
            if not (args.json or _is_typed(args)):
                print(text, end='', flush=True)
    except KeyboardInterrupt:
        return _interrupt(stream, args)
    assert stream.answer
    _show(stream.answer, args)
    return _EXIT_CODES.get(stream.answer.error_code, FAULT) if not stream.answer.ok else OK


def _is_typed(args: argparse.Namespace) -> bool:
    """Tell whether the choice or the places are printed, and not the text."""
    return not fields.given(args).keys().isdisjoint(('yes_no', 'choices', 'number', 'locate'))


def _interrupt(stream: AnswerStream, args: argparse.Namespace) -> int:
    """Cancel, and wait for the node to confirm it."""
    stream.future.cancel()
    try:
        _show(stream.future.result(_CANCEL_SECONDS), args)
    except concurrent.futures.TimeoutError:
        _fail(args, 'the node has not confirmed that the question is cancelled', _INTERRUPTED)
    return _INTERRUPTED


def _show(answer: Answer, args: argparse.Namespace) -> None:
    """Print what has not been printed while the answer came."""
    if args.json:
        print(json.dumps(asdict(answer)))
        return
    if answer.choice:
        print(answer.choice)
    elif 'locate' in fields.given(args):
        for place in answer.places:
            print(place)
    elif answer.text and not _is_typed(args):
        print()
    for line in _remarks(answer) if not args.quiet else ():
        print(line, file=sys.stderr)
    if not answer.ok:
        print(f'{args.program} ask: {answer.error}', file=sys.stderr)


def _remarks(answer: Answer) -> list[str]:
    lines = []
    if answer.choice:
        sure = f', confidence {answer.confidence:.2f}' if answer.confidence else ''
        way = f', decided by {DecidedBy(answer.decided_by).told}' if answer.decided_by else ''
        lines.append(f'the model said: {answer.text}{sure}{way}')
    if answer.stamp is not None and answer.age is not None:
        frames = [f'frame {answer.stamp:.3f} ({answer.frame_id}), {in_words(answer.age)} old']
        if len(answer.frame_stamps) > 1:
            frames.append(f'the last of {len(answer.frame_stamps)}')
        lines.append(', '.join(frames))
    stats = answer.stats
    if stats['new_tokens']:
        lines.append(
            f'first token {1000 * stats["first_token_seconds"]:.0f} ms, '
            f'{stats["new_tokens"]} tokens, {stats["tokens_per_second"]:.0f} tokens/s'
        )
    if answer.dropped_turns:
        lines.append(f'turns forgotten: {answer.dropped_turns}')
    if answer.note:
        lines.append(f'note: {answer.note}')
    return lines
