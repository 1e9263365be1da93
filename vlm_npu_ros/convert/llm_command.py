# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu convert llm: from a Hugging Face model to a .rkllm language model."""

from __future__ import annotations

import argparse
from dataclasses import fields
import json
from pathlib import Path
import sys

from vlm_npu_ros.convert.errors import UsageError
from vlm_npu_ros.convert.llm import (
    check_memory,
    check_toolkit,
    convert,
    DTYPES,
    emit,
    JOB,
    job,
    LlmConversion,
    needed_memory,
    read_checkpoint,
    SCRIPT,
)
from vlm_npu_ros.engine.models import load_profile

_EPILOG = """\
Calibration: --pictures DIR sends what the robot sees through the model's own vision tower, in an
environment with torch and transformers (--python; the one of rkllm-toolkit has them). Without
such an environment --texts FILE calibrates with texts alone: [{"input": "...", "target": "..."}].
Without either, the toolkit quantises as it sees fit.

Exit code: 0 done, 1 an error, 2 wrong usage, 3 rkllm-toolkit or another library is missing.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to `vlm-npu convert`."""
    llm = commands.add_parser(
        'llm',
        help='make a .rkllm language model of a Hugging Face model',
        description='Make a .rkllm language model of a Hugging Face model, with rkllm-toolkit.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    llm.set_defaults(run=run)
    add = llm.add_argument
    add('model_dir', type=_absolute, metavar='MODEL_DIR', help='folder of the Hugging Face model')
    add('-o', '--output', type=_absolute, required=True, metavar='OUT.rkllm', help='file to write')
    add('--model', required=True, metavar='PROFILE', help='name or .yaml of the model')
    add('--platform', default='rk3588', choices=DTYPES, help='chip (default: rk3588)')
    add('--context', type=int, default=4096, metavar='N', help='longest context, in tokens')
    add('--dtype', default='w8a8', help='of weights and activations (default: w8a8)')
    add('--cores', type=int, default=0, metavar='N', help='cores of the NPU (default: all)')
    add('--device', default='cpu', choices=('cpu', 'cuda'), help='that the toolkit computes on')
    add('--pictures', type=Path, metavar='DIR', help='calibrate with these pictures')
    add('--size', type=int, default=0, metavar='N', help='side of the pictures that the encoder '
        'reads (default: the first that the profile knows)')
    add('--texts', type=Path, metavar='FILE', help='calibrate with these questions and answers')
    add('--rkllm-python', default=sys.executable, metavar='PY', help='Python with rkllm-toolkit')
    add('--python', default='', metavar='PY', help='Python with torch and transformers, for '
        '--pictures (default: that of --rkllm-python)')
    add('--emit-script', type=Path, metavar='DIR', help='write script and data for another '
        'machine into this new folder, and convert nothing')
    add('--dry-run', action='store_true', help='check everything, print the plan, do nothing')
    add('--force', action='store_true', help='go on although the memory may not suffice')


def _absolute(path: str) -> Path:
    return Path(path).absolute()


def run(args: argparse.Namespace) -> int:
    """Convert, write what another machine needs, or print the plan; raise a VlmError."""
    args.profile = load_profile(args.model)
    args.python = args.python or args.rkllm_python
    names = [field.name for field in fields(LlmConversion)]
    conversion = LlmConversion(**{name: getattr(args, name) for name in names})
    conversion.check()
    if not conversion.output.parent.is_dir():
        raise UsageError(f'{conversion.output.parent} is not a folder')
    checkpoint = read_checkpoint(conversion)
    say(f'{checkpoint.model_type}, {checkpoint.parameters / 1e9:.2f} billion parameters: '
        f'rkllm-toolkit takes about {needed_memory(checkpoint) / 1e9:.1f} GB of memory, and as '
        'much on the disk that it is installed on')
    if args.dry_run:
        print(json.dumps(job(conversion, checkpoint), indent=2))
    if args.emit_script:
        return _emit(conversion, args)
    check_toolkit(conversion.rkllm_python)
    if not args.force:
        check_memory(checkpoint)
    if args.dry_run:
        return 0
    figures = convert(conversion, say)
    print(
        f'{args.output}: {conversion.profile.name} for {args.platform}, {args.dtype}, context '
        f'{args.context}; {figures["bytes"] / 1e6:.1f} MB, rkllm-toolkit '
        f'{figures["toolkit"] or "of unknown version"}'
    )
    return 0


def _emit(conversion: LlmConversion, args: argparse.Namespace) -> int:
    if args.dry_run:
        return 0
    emit(conversion, args.emit_script, say)
    print(f'Copy {args.emit_script} to a machine with rkllm-toolkit and the model, and run there, '
          f'in that folder: python {SCRIPT} {JOB} MODEL_DIR')
    return 0


def say(line: str) -> None:
    """Tell of progress."""
    print(line, file=sys.stderr, flush=True)
