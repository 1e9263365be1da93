# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu inspect: what model files are."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
import json
from pathlib import Path
import sys
import textwrap
from typing import Any

from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.engine.model_files.inspect import inspect_file, Inspected

_KINDS = {
    'rknn': 'vision encoder for a Rockchip NPU',
    'rkllm': 'language model for a Rockchip NPU',
    'gguf': 'GGUF file for llama.cpp',
    'onnx': 'ONNX graph',
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    inspect = commands.add_parser(
        'inspect',
        help='tell what model files are: .rknn, .rkllm, .gguf, .onnx',
        description='Tell what model files say about themselves, and which models they may be '
        'of; nothing is loaded. Exit code 1 if a file is not one of these kinds.',
    )
    inspect.set_defaults(run=run)
    inspect.add_argument(
        'files', nargs='+', type=Path, metavar='FILE', help='.rknn, .rkllm, .gguf or .onnx'
    )
    inspect.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> int:
    """Print what each file is; return 1 if that cannot be told of one of them."""
    failed = False
    listed: list[dict[str, Any]] = []
    for path in args.files:
        try:
            found = inspect_file(path)
        except VlmError as error:
            failed = True
            listed.append({'path': str(path), 'error': str(error)})
            print(f'vlm-npu: {error}', file=sys.stderr)
            continue
        listed.append(asdict(found))
        if not args.json:
            _print(found)
    if args.json:
        print(json.dumps(listed, indent=2, default=str))
    return int(failed)


def _print(found: Inspected) -> None:
    print(found.path)
    for name, text in _lines(found):
        print(textwrap.fill(
            text, 98, initial_indent=f'  {name:<9} ', subsequent_indent=' ' * 12,
            break_long_words=False, break_on_hyphens=False,
        ))


def _lines(found: Inspected) -> Iterator[tuple[str, str]]:
    yield 'file', f'{_KINDS[found.kind]}, {_amount(found.size)}'
    yield from _TELL[found.kind](found.facts)
    models = ' or '.join(found.models) or 'not known'
    yield 'model', models + (f' (by {found.matched})' if found.matched else '')
    memory = found.memory
    yield 'memory', f'at least {_amount(memory.at_least)}: {memory.estimate}'
    if memory.published_gb is not None:
        yield '', f'both models: {memory.published_gb:g} GB ({memory.source})'


def _rknn(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if 'pixels' not in facts:
        yield 'shapes', 'not known: encrypted, or made by a later rknn-toolkit2 than 2.5.0'
        return
    yield 'picture', f'{facts["pixels"]} x {facts["pixels"]} pixels, {facts["layout"]}'
    yield 'embedding', f'{facts["tokens"]} tokens of {facts["outputs"]} x {facts["dim"]}'
    if facts['folded']:
        yield 'pixels', (
            f'0..255, RGB; mean {_numbers(facts["mean"])} and std {_numbers(facts["std"])} are '
            'folded in'
        )
    else:
        yield 'pixels', 'normalised already: mean and std are not folded in'
    yield 'platform', f'{facts["platform"]}, by rknn-toolkit2 {facts["toolkit"]}'
    if facts['metadata'] is not None:
        yield 'metadata', json.dumps(facts['metadata'], ensure_ascii=False)


def _rkllm(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield 'shapes', 'not known: the format is not published'
    if facts['toolkit']:
        yield 'toolkit', f'rkllm-toolkit {facts["toolkit"]}'


def _gguf(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield 'part', 'vision encoder (mmproj)' if facts['encoder'] else 'language model'
    name = facts['name'] or 'without a name'
    yield 'of', f'{name}: {facts["architecture"]}, {facts["parameters"]:,} parameters'
    if facts['context']:
        yield 'context', f'up to {facts["context"]} tokens'


def _onnx(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ('inputs', 'outputs'):
        for tensor in facts[name]:
            shape = ', '.join(str(side) or '?' for side in tensor['shape'])
            yield name[:-1], f'{tensor["name"]}: {tensor["dtype"]} ({shape})'
    yield 'opset', f'{facts["opset"]}, by {facts["producer"] or "an unnamed program"}'
    yield 'weights', f'{facts["parameters"]:,}' + (
        f' in {", ".join(facts["data"])}' if facts['data'] else ''
    )


_TELL = {'rknn': _rknn, 'rkllm': _rkllm, 'gguf': _gguf, 'onnx': _onnx}


def _numbers(values: Sequence[float]) -> str:
    return ' '.join(f'{value:g}' for value in values)


def _amount(size: int) -> str:
    for unit, bytes_ in (('GB', 1e9), ('MB', 1e6)):
        if size >= bytes_:
            return f'{size / bytes_:.2f} {unit}'
    return f'{size / 1e3:.1f} kB'
