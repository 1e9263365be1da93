# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu serve: a model as a server of chat completions, without ROS."""

from __future__ import annotations

import argparse

from vlm_npu_ros.cli.arguments import (
    add_model_arguments,
    complete,
    engine_settings,
    longest_answer,
)
from vlm_npu_ros.cli.loaded import load
from vlm_npu_ros.cli.screen import ChatScreen
from vlm_npu_ros.gateway.options import add_options, at_least, need_web


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    serve = commands.add_parser(
        'serve', help="serve a model over HTTP, as OpenAI's servers do",
        usage='%(prog)s [ENCODER LLM [NEW_TOKENS [CONTEXT]]] [OPTION]...',
        description="Serve a model over HTTP, as OpenAI's servers do.",
    )
    add_model_arguments(serve)
    add_options(serve)
    serve.add_argument(
        '--waiting', type=at_least(0), default=8, metavar='N',
        help='questions that may wait for the one being answered (default: 8)',
    )
    serve.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    need_web()
    from vlm_npu_ros.gateway.engine_source import EngineSource
    from vlm_npu_ros.gateway.serving import serve

    if complete(args):
        args.wrong_use('pictures come with the questions: name models only')
    settings = engine_settings(args)
    screen = ChatScreen(args.quiet)

    def source() -> EngineSource:
        loaded = load(settings, screen, args.isolation)
        screen.note(loaded.describe())
        new_tokens = longest_answer(args, loaded.engine.context)
        return EngineSource(loaded.engine, loaded.backend, new_tokens, args.waiting)

    return serve(args, source)
