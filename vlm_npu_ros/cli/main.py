# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu: ask about pictures and videos, or a running node; only the latter needs ROS."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TextIO

from vlm_npu_ros.cli import (
    ask,
    bag,
    chat,
    doctor,
    inspect,
    mcp,
    models,
    parameters,
    pull,
    serve,
    service,
    status,
)
from vlm_npu_ros.cli.arguments import CommandParser
from vlm_npu_ros.engine.errors import NotSupportedError, VlmError
from vlm_npu_ros.engine.share import version

_CTRL_C = 130
_CLOSED_PIPE = 141


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 answered, 1 error, 2 wrong usage, 130 Ctrl-C."""
    return run(_parser().parse_args(arguments))


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed; return its exit code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # Text that this locale cannot show should look odd, not end the program.
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='replace')
    # FFmpeg's messages repeat what OpenCV reports anyway.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    try:
        return int(args.run(args))
    except VlmError as error:
        print(f'{args.program}: {error}', file=sys.stderr)
        return int(getattr(error, 'exit_code', 1))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return _CTRL_C
    except BrokenPipeError:
        _discard(sys.stdout)
        return _CLOSED_PIPE
    except OSError as error:  # a file or folder that cannot be read or written
        print(f'{args.program}: {error}', file=sys.stderr)
        return 1


def _discard(stream: TextIO) -> None:
    """Discard what is buffered, which Python would write when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='vlm-npu', description=__doc__)
    release = version() or 'of a ROS workspace'
    parser.add_argument('--version', action='version', version=f'vlm-npu {release}')
    add_commands(parser, 'vlm-npu')
    return parser


def add_commands(parser: argparse.ArgumentParser, program: str, required: bool = True) -> None:
    """Add the commands to a program, which messages name as `program`."""
    parser.set_defaults(program=program)
    of_command: type[argparse.ArgumentParser] = CommandParser
    commands = parser.add_subparsers(
        required=required, metavar='COMMAND', parser_class=of_command
    )
    chat.add_parsers(commands)
    bag.add_parser(commands)
    ask.add_parser(commands)
    status.add_parser(commands)
    serve.add_parser(commands)
    mcp.add_parser(commands)
    pull.add_parser(commands)
    models.add_parser(commands)
    parameters.add_parser(commands)
    doctor.add_parser(commands)
    inspect.add_parser(commands)
    service.add_parser(commands)
    _add_convert(commands)


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    try:
        from vlm_npu_ros.convert import command
    except ModuleNotFoundError:  # ROS packages for robots leave the converter out
        parser = commands.add_parser('convert', help='only where it is installed with pip')
        parser.add_argument('arguments', nargs=argparse.REMAINDER)
        parser.set_defaults(run=_no_converter)
    else:
        command.add_parser(commands)


def _no_converter(args: argparse.Namespace) -> int:
    raise NotSupportedError(
        'The converter is for a desktop and not installed with the ROS package',
        "Install it there: pip install '.[convert]'",
    )


if __name__ == '__main__':
    sys.exit(main())
