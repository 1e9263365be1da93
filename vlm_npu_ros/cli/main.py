"""vlm-npu: ask about a picture at the terminal, without ROS."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
import sys
import time

from vlm_npu_ros.cli import doctor, models
from vlm_npu_ros.engine.engine import Engine
from vlm_npu_ros.engine.errors import ImageError, RequestError, VlmError
from vlm_npu_ros.engine.images import decode_image
from vlm_npu_ros.engine.loading import EngineSettings, load_engine
from vlm_npu_ros.engine.models import AUTO, load_profile
from vlm_npu_ros.engine.types import GenerationRequest, ImageEmbedding, Sampling


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 answered, 1 an error, 2 wrong use."""
    args = _parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except VlmError as error:
        print(f'vlm-npu: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='vlm-npu', description=__doc__)
    parser.add_argument('--version', action='version', version=f'vlm-npu {_version()}')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    models.add_parser(commands)
    doctor.add_parser(commands)

    chat = commands.add_parser(
        'chat',
        help='ask about a picture',
        description='Answer questions about a picture, one a line; each question stands alone.',
    )
    chat.set_defaults(run=_chat)
    chat.add_argument('picture', type=Path, help='JPEG or PNG file')
    chat.add_argument(
        '-q', '--question', action='append', help='ask this and end; may be given several times'
    )
    chat.add_argument(
        '--model', default='demo', help='name or .yaml of a model, or auto (default: demo)'
    )
    chat.add_argument('--encoder', default='', help='vision encoder file (on a board: .rknn)')
    chat.add_argument('--language-model', default='', help='language model file (.rkllm)')
    chat.add_argument('--context', type=int, default=0, help='tokens (default: of the profile)')
    chat.add_argument('--new-tokens', type=int, default=128, help='longest answer (default: 128)')
    chat.add_argument(
        '--temperature', type=float, default=0.0, help='0 = always the likeliest token (default)'
    )
    chat.add_argument('--quiet', action='store_true', help='answers only, no figures')
    return parser


def _version() -> str:
    try:
        return version('vlm_npu_ros')
    except PackageNotFoundError:  # run from a ROS workspace, which installs no metadata
        return 'of a ROS workspace'


def _chat(args: argparse.Namespace) -> int:
    try:
        picture = decode_image(args.picture.read_bytes(), apply_orientation=True)
    except OSError as error:
        raise ImageError(f'{args.picture} can not be read: {error.strerror}') from error
    started = time.perf_counter()
    engine = load_engine(_settings(args))
    loaded = time.perf_counter()
    embedding = engine.encode(picture)
    if not args.quiet:
        print(
            f'Model {engine.model_name} loaded in {loaded - started:.2f} s, '
            f'picture encoded in {embedding.encode_seconds:.2f} s',
            file=sys.stderr,
        )
    status = 0
    for question in args.question or _typed_questions():
        try:
            _answer(engine, embedding, question, args)
        except RequestError as error:
            print(f'vlm-npu: {error}', file=sys.stderr)
            status = 1
    engine.close()
    return status


def _settings(args: argparse.Namespace) -> EngineSettings:
    backend = 'rknpu' if args.model == AUTO else load_profile(args.model).backend
    return EngineSettings(
        backend=backend,
        model=args.model,
        encoder_path=args.encoder,
        language_model_path=args.language_model,
        context=args.context,
        sampling=Sampling(temperature=args.temperature),
    )


def _typed_questions() -> Iterator[str]:
    """Yield the lines of standard input, with a prompt where a person types them."""
    prompt = '> ' if sys.stdin.isatty() else ''
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if line:
            yield line


def _answer(
    engine: Engine, embedding: ImageEmbedding, question: str, args: argparse.Namespace
) -> None:
    sampling = Sampling(temperature=args.temperature)
    request = GenerationRequest(question, (embedding,), args.new_tokens, sampling)
    asked, first, figures = time.perf_counter(), 0.0, None
    for chunk in engine.generate(request):
        first = first or time.perf_counter()
        print(chunk.text, end='', flush=True)
        figures = chunk.figures
    print()
    if figures and not args.quiet:
        rate = (figures.new_tokens - 1) / (figures.decode_seconds or 1.0)
        print(
            f'first token {1000 * (first - asked):.0f} ms, {figures.new_tokens} tokens, '
            f'{max(rate, 0.0):.0f} tokens/s',
            file=sys.stderr,
        )


if __name__ == '__main__':
    sys.exit(main())
