# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Stage 1 of a conversion: the vision tower of a Hugging Face checkpoint to ONNX.

    python -m vlm_npu_ros.convert.export MODEL_DIR --size 448 -o vision.onnx

The graph has one input, `pixels`, (1, 3, size, size), already normalised, and the outputs
`embedding_0`, `embedding_1` ..., each (tokens, dim). Weights of more than 2 GB lie beside it, in
vision.onnx.data. Needs PyTorch and transformers. See stages.py for what is printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import re
import sys
import tempfile
from typing import Any, TYPE_CHECKING
import warnings

from vlm_npu_ros.convert.errors import ConversionError, ToolkitMissingError, UsageError

if TYPE_CHECKING:
    from vlm_npu_ros.convert.towers import Tower

OPSET = 15  # as Rockchip's own scripts export


def main() -> int:
    """Run the stage."""
    parser = argparse.ArgumentParser(description='Export a vision tower to ONNX.')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--size', type=int, required=True, help='pixels')
    parser.add_argument('--family', help='what the checkpoint must be, as its model_type')
    parser.add_argument('-o', '--output', type=Path, required=True)
    args = parser.parse_args()
    try:
        result = export(args.folder, args.size, args.output, args.family)
    except (ConversionError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return getattr(error, 'exit_code', 1)
    print(json.dumps(result))
    return 0


def export(folder: Path, size: int, output: Path, family: str | None = None) -> dict[str, object]:
    """
    Write the graph; return what it is.

    :raises ConversionError: a library is missing, or the checkpoint is not what was asked for.
    """
    try:
        import torch
        import transformers
        from vlm_npu_ros.convert import graph, towers
    except ImportError as error:
        raise ToolkitMissingError(f'PyTorch, transformers or onnx is missing: {error}') from error
    # It would list the weights of the language model, which are left out on purpose.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model_type = json.loads((folder / 'config.json').read_text())['model_type']
        if model_type not in towers.FAMILIES:
            hf = 'Take the one with -HF in its name' if model_type == 'internvl_chat' else ''
            raise UsageError(f'{folder} is of the family {model_type}; known are '
                             f'{", ".join(towers.FAMILIES)}', hf)
        if family not in (None, model_type):
            raise UsageError(f'{folder} is of the family {model_type}, not {family}')
        _say('loading')
        tower = towers.load_tower(folder, size)
    except (ValueError, LookupError, RuntimeError) as error:
        raise UsageError(f'{folder} cannot be loaded: {error}') from error
    pixels = torch.zeros(1, 3, size, size)
    with torch.no_grad():
        embeddings = tower(pixels)
    _say('tracing')
    with tempfile.TemporaryDirectory(dir=output.parent, prefix='.export_') as work:
        traced = Path(work) / 'traced.onnx'
        trace(tower, pixels, len(embeddings), traced)
        _say('writing')
        graph.fix(traced, output)
    return {
        'family': model_type,
        'size': size,
        'tokens': tower.tokens,
        'outputs': len(embeddings),
        'dim': embeddings[0].shape[-1],
        'revision': revision(folder),
        'params': sum(parameter.numel() for parameter in tower.parameters()),
    }


def trace(tower: Tower, pixels: Any, outputs: int, path: Path) -> None:
    """Write a tower as PyTorch traces it; weights that do not fit into the file lie beside it."""
    import torch

    with warnings.catch_warnings():
        # Sizes become constants, as they must; the newer exporter writes graphs of another form.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            tower, (pixels,), str(path), dynamo=False, opset_version=OPSET,
            input_names=['pixels'], output_names=[f'embedding_{i}' for i in range(outputs)])


def revision(folder: Path) -> str:
    """Return the commit that a folder was downloaded from, '' if it is not recorded."""
    cached = re.fullmatch(r'.*/snapshots/([0-9a-f]{40})', folder.resolve().as_posix())
    if cached:
        return cached[1]
    try:
        record = folder / '.cache' / 'huggingface' / 'download' / 'config.json.metadata'
        return record.read_text().split()[0]
    except (OSError, IndexError):
        return ''


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == '__main__':
    sys.exit(main())
