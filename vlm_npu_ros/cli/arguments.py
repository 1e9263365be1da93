# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Arguments of the commands that load models: told apart by their names, or named as options."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.model_files.gguf import GgufFile
from vlm_npu_ros.engine.model_files.other_npus import refuse_rknn3
from vlm_npu_ros.engine.models import AUTO
from vlm_npu_ros.engine.options import options_of
from vlm_npu_ros.engine.pulled import backend_of, last_pulled
from vlm_npu_ros.engine.registry import all_backends, find
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.sources import Source, source_of
from vlm_npu_ros.engine.types import Sampling

# From here on there is room for the longest answer that the known programs allow by default.
_LARGE_CONTEXT, _LONG_ANSWER = 4096, 2048
# Seconds: a server may load its model first, and Ctrl-C ends a wait.
_PATIENT = {'first_token_timeout': 600.0, 'token_timeout': 120.0}
_MODELS = ('.rknn', '.rkllm', '.onnx', '.gguf')
_EPILOG = """\
Arguments are told apart by how they end: .rknn is an encoder, .rkllm a language model, of two
.onnx the first is the encoder and the second the language model, of two .gguf the one that says
it is an encoder (mmproj); whole numbers after both are NEW_TOKENS and CONTEXT; everything else
is looked at: a file, or an address such as http://camera/snapshot.jpg or rtsp://camera/stream.
Options may stand between them.

Without models the one that was pulled last answers (`vlm-npu pull`), without any the demo model,
which knows synthetic scenes only (--model demo). With models of a board
(.rknn, .rkllm) the profile is found from the files; --model names it where that fails. With
--server, a server answers: llama.cpp, Ollama, vLLM, LM Studio and others; its key comes from the
environment variable OPENAI_API_KEY.

In the dialogue, alone or within a question:
  <image> [PATH]  look at the picture or video again, or at another one, and start over; quote a
                  path with spaces
  <clear>         forget what was said (clear alone on a line, too)
  <exit>          end (exit alone on a line and Ctrl-D, too)
Ctrl-C ends an answer early; at the prompt it ends the program.

Answers go to standard output, everything else to standard error. Exit code: 0 all questions
were answered, 1 an error, 2 wrong use, 130 Ctrl-C.
"""


class CommandParser(argparse.ArgumentParser):
    """
    Parser of a command: options may stand between arguments without a name.

    What it does not know is an error with the usage of this command.
    """

    _mixes = True

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does; if something is left over, with options in between."""
        found, rest = super().parse_known_args(args, namespace)
        if rest and self._mixes:
            self._mixes = False  # it calls this method
            with contextlib.suppress(TypeError):  # of a command that takes all that follows
                found, rest = self.parse_known_intermixed_args(args, namespace)
            self._mixes = True
            if rest:
                self.error(f'unrecognized arguments: {" ".join(rest)}')
        return found, rest


def add_ask_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    usage: str,
    summary: str,
) -> argparse.ArgumentParser:
    """Add a command with the options that all commands have that ask; return its parser."""
    parser = commands.add_parser(
        name,
        help=summary,
        usage=f'%(prog)s {usage} [OPTION]...',
        description=f'{summary[0].upper()}{summary[1:]}; answers go on from what was said before.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('-q', '--question', action='append', help='ask this and end; may be given several times')
    add_model_arguments(parser)
    add('--info', action='store_true', help='print what is loaded')
    add('--json', action='store_true', help='print each answer as a line of JSON, with figures')
    return parser


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which models answer, and in what way."""
    add = parser.add_argument
    add('arguments', nargs='*', metavar='ARGUMENT', help='see below')
    add('--server', default='', metavar='URL', help='ask a server of chat completions, with /v1')
    add(
        '--model', default='',
        help='a pulled model, name or .yaml of a profile, or auto (default: see below); its name '
        'on the server',
    )
    add('--encoder', default='', metavar='FILE', help='vision encoder')
    add('--language-model', default='', metavar='FILE', help='language model')
    add(
        '--new-tokens', type=int, metavar='N',
        help=f'longest answer (default: {_LONG_ANSWER}, a quarter of a context below '
        f'{_LARGE_CONTEXT})',
    )
    add('--context', type=int, metavar='N', help='tokens (default: of the profile)')
    add(
        '--threads', type=int, default=0, metavar='N',
        help='of the CPU (default: one for each core)',
    )
    add(
        '--temperature', type=float, default=0.0, metavar='T',
        help='0 = always the likeliest token (default)',
    )
    add(
        '--isolation', choices=('auto', 'process', 'none'), default='auto',
        help='where models run: in a process of their own, which may crash, or in this one '
        '(default: auto = as the backend needs)',
    )
    add_backend_options(parser, all_backends())
    add('--quiet', action='store_true', help='print answers and errors only')
    parser.set_defaults(wrong_use=parser.error)


def add_backend_options(parser: argparse.ArgumentParser, backends: Iterable[Backend]) -> None:
    """Add an option for each setting of these backends that has a flag."""
    for backend in backends:
        for name, option in options_of(backend.settings).items():
            if option.flag:
                with contextlib.suppress(argparse.ArgumentError):  # another backend has the flag
                    parser.add_argument(
                        option.flag, dest=f'{backend.name}.{name}', default=option.default,
                        type=type(option.default), choices=option.choices or None,
                        metavar='VALUE', help=option.about,
                    )


def backend_settings(args: argparse.Namespace, backend: Backend, **others: Any) -> object:
    """Read the settings of a backend from the options that it added; others: by their names."""
    prefix = f'{backend.name}.'
    given = {
        name.removeprefix(prefix): value
        for name, value in vars(args).items() if name.startswith(prefix)
    }
    return backend.settings(**given, **others)


@dataclass
class Positional:
    """Arguments without a name; others are pictures, videos, or addresses of them."""

    encoder: str = ''
    language_model: str = ''
    numbers: list[int] = field(default_factory=list)
    others: list[Source] = field(default_factory=list)


def told_apart(arguments: Sequence[str], encoder: str = '') -> Positional:
    """
    Return what each argument is, as --help says; raise ValueError if one is too many.

    encoder: that an option has named already.
    """
    found = Positional(encoder)
    for argument in arguments:
        refuse_rknn3(Path(argument))
        source = source_of(argument)
        suffix = source.suffix.lower() if isinstance(source, Path) else ''
        is_model = suffix in _MODELS
        if is_model and _is_encoder(argument, suffix, found):
            if found.encoder:
                raise ValueError(f'two encoders: {found.encoder} and {argument}')
            found.encoder = argument
        elif is_model:
            if found.language_model:
                raise ValueError(f'two language models: {found.language_model} and {argument}')
            found.language_model = argument
        elif argument.isdecimal() and found.encoder and found.language_model:
            found.numbers.append(int(argument))
        else:
            found.others.append(source)
    if len(found.numbers) > 2:
        raise ValueError(f'two numbers at most: NEW_TOKENS and CONTEXT, not {found.numbers}')
    return found


def _is_encoder(argument: str, suffix: str, found: Positional) -> bool:
    if suffix == '.gguf':
        return GgufFile.read(Path(argument)).is_encoder
    return suffix == '.rknn' or suffix == '.onnx' and not found.encoder


def complete(args: argparse.Namespace) -> list[Source]:
    """Set the options that came without their name; return the pictures or videos."""
    try:
        found = told_apart(args.arguments, args.encoder)
    except ValueError as error:
        args.wrong_use(str(error))
    args.encoder = found.encoder
    for name, given in (
        ('language_model', [found.language_model] if found.language_model else []),
        ('new_tokens', found.numbers[:1]),
        ('context', found.numbers[1:]),
    ):
        if given and getattr(args, name):
            args.wrong_use(f'--{name.replace("_", "-")} and {given[0]} contradict each other')
        if given:
            setattr(args, name, given[0])
    return found.others


def engine_settings(args: argparse.Namespace) -> EngineSettings:
    """Find out which backend the arguments mean; raise ModelFileError for an unknown profile."""
    if args.server:
        return _server_settings(args)
    finders = [backend for backend in all_backends() if backend.finds_profiles]
    found = any(_are_of(backend, args.encoder, args.language_model) for backend in finders)
    files = bool(args.encoder or args.language_model)
    pulled = None if args.model or files else last_pulled()
    model = args.model or (pulled.name if pulled else AUTO if found else EngineSettings.model)
    settings = EngineSettings(
        backend=AUTO,
        model=model,
        encoder_path=args.encoder,
        language_model_path=args.language_model,
        context=args.context or 0,
        sampling=Sampling(temperature=args.temperature),
        threads=args.threads,
    )
    named = args.model not in ('', AUTO)  # then it counts more than the files
    without_files = replace(settings, encoder_path='', language_model_path='')
    backend = find(backend_of(without_files if named else settings))
    return replace(settings, backend=backend.name, options=backend_settings(args, backend))


def _server_settings(args: argparse.Namespace) -> EngineSettings:
    if args.encoder or args.language_model:
        args.wrong_use('--server and model files contradict each other')
    backend = find('openai')
    return EngineSettings(
        backend=backend.name,
        context=args.context or 0,
        sampling=Sampling(temperature=args.temperature),
        options=backend_settings(
            args, backend, base_url=args.server, model=args.model, **_PATIENT),
    )


def _are_of(backend: Backend, *files: str) -> bool:
    """Tell whether one of the two model files can only be this backend's."""
    pairs = zip(files, backend.suffixes, strict=True)
    return any(file.lower().endswith(suffix) for file, suffix in pairs if suffix)


def longest_answer(args: argparse.Namespace, context: int) -> int:
    """Choose max_new_tokens for a context of so many tokens."""
    if args.new_tokens is not None:
        return int(args.new_tokens)
    return _LONG_ANSWER if context >= _LARGE_CONTEXT else context // 4
