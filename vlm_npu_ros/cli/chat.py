# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu chat and vlm-npu video: questions about pictures and videos."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
import json
import sys

from vlm_npu_ros.cli.arguments import add_ask_parser, complete, engine_settings, longest_answer
from vlm_npu_ros.cli.dialogue import ChatAnswer, Dialogue
from vlm_npu_ros.cli.lines import is_typed, Line, lines, read_line
from vlm_npu_ros.cli.loaded import load
from vlm_npu_ros.cli.screen import ChatScreen
from vlm_npu_ros.cli.views import read
from vlm_npu_ros.engine.camera_device import SCHEME
from vlm_npu_ros.engine.errors import BackendCrashedError, ImageError, RequestError, VlmError
from vlm_npu_ros.engine.sources import shown, Source
from vlm_npu_ros.engine.types import FinishReason

_FRAMES = 8


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands to the program."""
    chat = add_ask_parser(
        commands, 'chat', '[PICTURE] [ENCODER LLM [NEW_TOKENS [CONTEXT]]]', 'ask about a picture'
    )
    chat.add_argument(
        '--camera', metavar='DEVICE',
        help='look at what a camera sees: 0, /dev/video2; <image> looks again'
    )
    chat.set_defaults(run=_chat, frames=_FRAMES)
    video = add_ask_parser(
        commands, 'video', '[ENCODER LLM] VIDEO|PICTURE...', 'ask about a video'
    )
    video.add_argument(
        '--frames', type=int, default=_FRAMES, metavar='N',
        help=f'to take from a video, evenly spaced (default: {_FRAMES})',
    )
    video.set_defaults(run=_video)


def _chat(args: argparse.Namespace) -> int:
    sources = complete(args)
    if args.camera is not None:
        sources.append(f'{SCHEME}{args.camera}')
    if len(sources) > 1:
        args.wrong_use(f'one picture at a time, not {", ".join(map(shown, sources))}')
    return _talk(args, sources)


def _video(args: argparse.Namespace) -> int:
    sources = complete(args)
    if not sources:
        args.wrong_use('name a video, or pictures')
    return _talk(args, sources)


def _talk(args: argparse.Namespace, sources: Sequence[Source]) -> int:
    screen = ChatScreen(args.quiet or args.json, hide_answers=args.json)
    # Before the models, which may take long, so that a missing picture is an error at once.
    pictures = read(sources, args.frames) if sources else None
    settings = replace(engine_settings(args), typed=False)
    loaded = load(settings, screen, args.isolation)
    engine = loaded.engine
    screen.note(loaded.describe())
    new_tokens = longest_answer(args, engine.context)
    if args.info:
        print(*loaded.info(new_tokens), sep='\n', file=sys.stderr)
    dialogue = Dialogue(engine, screen, args.frames, new_tokens, settings.sampling)
    if pictures:
        dialogue.show(pictures)
    session = _Session(dialogue, screen, args.json, typed=not args.question and is_typed())
    with closing(_lines(args.question)) as asked:
        status = session.run(asked)
    engine.close()
    return status


def _lines(questions: Sequence[str] | None) -> Generator[Line, None, None]:
    """Yield what is asked, until a line ends the dialogue."""
    with closing(lines()) as typed:
        for text in questions or typed:
            line = read_line(text)
            if 'exit' in line.found:
                return
            yield line


class _Session:
    """
    Asks line after line and prints the answers.

    typed: a person at a terminal can ask again.
    """

    def __init__(self, dialogue: Dialogue, screen: ChatScreen, as_json: bool, typed: bool) -> None:
        self._dialogue, self._screen = dialogue, screen
        self._as_json, self._typed = as_json, typed

    def run(self, asked: Iterator[Line]) -> int:
        """Return 1 if a question was not answered, else 0."""
        if self._typed:
            self._screen.note('<image> PATH looks at something else, <clear> forgets, <exit> ends')
        status = 0
        for line in asked:
            try:
                answer = self._dialogue.take(line)
            except (RequestError, ImageError, BackendCrashedError) as error:
                # The models that crashed are loaded again, if they have a process of their own.
                if isinstance(error, BackendCrashedError) and not self._typed:
                    raise
                self._tell_error(line, error)
                status = 1
            else:
                if answer:
                    self._tell(answer)
        return status

    def _tell(self, answer: ChatAnswer) -> None:
        if self._as_json:
            view = self._dialogue.view
            sources = [shown(source) for source in view.sources]
            about = {'about': sources, 'frame_seconds': view.seconds}
            print(json.dumps({**answer.record(), **about}), flush=True)
        stopped = answer.finish_reason is FinishReason.CANCELLED
        self._screen.note('Stopped' * stopped + ', ' * stopped + answer.describe())
        if stopped and not self._typed:
            raise KeyboardInterrupt

    def _tell_error(self, line: Line, error: VlmError) -> None:
        self._screen.error(error)
        if self._as_json:
            record = {'question': line.question, 'error': str(error), 'error_code': error.code}
            print(json.dumps(record), flush=True)
