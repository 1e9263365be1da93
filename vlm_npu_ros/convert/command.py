# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu convert: from a Hugging Face model to files that a board runs."""

from __future__ import annotations

import argparse
from dataclasses import fields
import json
from pathlib import Path
import re
import sys

from vlm_npu_ros.convert import llm_command
from vlm_npu_ros.convert.llm import write_head
from vlm_npu_ros.convert.vision import convert_vision, PLATFORMS, VisionJob
from vlm_npu_ros.engine.models import load_profile

_EPILOG = """\
The stages may run in Pythons of their own, because what they need cannot be installed together:
  --export-python  torch and transformers: from MODEL_DIR to ONNX (not for an .onnx file)
  --python         rknn-toolkit2: from ONNX to .rknn, checked in its simulator
For each picture the simulator must give what onnxruntime gives, to a cosine of 0.9999 in each
output. Only then, and once the file was read back and fits the profile, OUT.rknn is written.

Progress goes to standard error. Exit code: 0 written, 1 an error, 2 wrong usage, 3 a toolkit is
missing, 4 the check failed.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    convert = commands.add_parser(
        'convert', help='make files for the board from a Hugging Face model'
    )
    kinds = convert.add_subparsers(required=True, metavar='PART')
    _add_vision(kinds)
    llm_command.add_parser(kinds)
    _add_head(kinds)


def _add_head(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    head = kinds.add_parser(
        'head',
        help='take from a Hugging Face model what probabilities by hidden states need',
        description='Write rows of the LM head beside a .rkllm file, as MODEL.head.npz. '
        '`vlm-npu convert llm` does this for the files that it makes.',
    )
    head.set_defaults(run=_run_head)
    add = head.add_argument
    add('model_dir', type=Path, metavar='MODEL_DIR', help='folder of the Hugging Face model')
    add('rkllm', type=Path, metavar='MODEL.rkllm', help='the language model that was made of it')
    add('--model', default='', metavar='PROFILE', help='name or .yaml of the model, for its chat '
        'template (default: answers stand behind a new line)')
    add('--word', action='append', default=[], metavar='WORD', help='of a choice of your own; '
        'may be repeated')
    add('--python', default=sys.executable, metavar='PY', help='Python with tokenizers')


def _run_head(args: argparse.Namespace) -> int:
    template = load_profile(args.model).template if args.model else None
    path = write_head(
        args.model_dir.absolute(), args.rkllm.absolute(), template.postfix if template else '',
        args.word, args.python, llm_command.say,
    )
    print(path)
    return 0


def _add_vision(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        'vision',
        help='make and check a .rknn vision encoder',
        description='Make a .rknn vision encoder and check that it does what the original does.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add('source', type=Path, metavar='MODEL_DIR_OR_ONNX', help='checkpoint, or an exported tower')
    add('-o', '--output', type=Path, required=True, metavar='OUT.rknn')
    add('--model', required=True, metavar='PROFILE', help='name or .yaml of the model')
    add('--platform', required=True, choices=PLATFORMS, help='chip of the board')
    add(
        '--size', type=int, default=0, metavar='N',
        help='side of the picture in pixels (default: of the .onnx, or the first of the profile)',
    )
    add('--python', default=sys.executable, metavar='PY', help='Python with rknn-toolkit2')
    add('--export-python', default=sys.executable, metavar='PY', help='Python with transformers')
    add(
        '--pictures', type=Path, metavar='DIR',
        help='at least 3 JPEG or PNG files to check with (default: three rendered scenes)',
    )
    add(
        '--split', dest='splits', type=_split, action='append', default=[],
        metavar='PATTERN:FACTOR',
        help='split each MatMul whose name matches the expression into FACTOR smaller ones',
    )
    add('--keep', type=Path, metavar='DIR', help='keep the files between the stages there')
    add('--json', action='store_true', help='print the figures as JSON')


def _split(text: str) -> tuple[str, int]:
    pattern, _, factor = text.rpartition(':')
    try:
        re.compile(pattern)
    except re.error as error:
        raise argparse.ArgumentTypeError(f'{pattern!r} is not an expression: {error}') from error
    if not pattern or not factor.isdecimal() or int(factor) < 2:
        raise argparse.ArgumentTypeError(f'{text!r} is not PATTERN:FACTOR with a factor above 1')
    return pattern, int(factor)


def run(args: argparse.Namespace) -> int:
    """Convert and print what was made; raise ConversionError or another VlmError."""
    job = VisionJob(**{field.name: getattr(args, field.name) for field in fields(VisionJob)})
    figures = convert_vision(job, llm_command.say)
    if args.json:
        print(json.dumps(figures, indent=2))
        return 0
    rknn = figures['rknn']
    print(
        f'{args.output}: {figures["model"]} for {args.platform}, {rknn["size"]} pixels to '
        f'{rknn["tokens"]} tokens, {rknn["outputs"]} outputs of {rknn["dim"]}; '
        f'{rknn["bytes"] / 1e6:.1f} MB, rknn-toolkit2 {figures["toolkit"]}'
    )
    return 0
