# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Make the .rknn files of this folder with rknn-toolkit2; not run by the tests.

    make .venv-convert/stamp
    .venv-convert/bin/pip install --no-deps rknn-toolkit2==2.3.2
    PYTHONPATH=. .venv-convert/bin/python test/data/make_rknn.py
    .venv-convert/bin/pip install --no-deps rknn-toolkit2==2.5.0
    PYTHONPATH=. .venv-convert/bin/python test/data/make_rknn.py --only-tiny

tiny_folded_VERSION.rknn    one output, CLIP's mean and std folded in, by both toolkits
tiny_encrypted.rknn         the one of 2.3.2, encrypted (export_encrypted_rknn_model, level 1)
tiny_float.rknn             one output, wants normalised pixels
tiny_four.rknn              four outputs, whose names are not in order
demo_encoder.rknn           the demo model's vision encoder, 16-bit floats
tiny.onnx, tiny_four.onnx   what they are made from

Measured with 2.3.2 and 2.5.0, the toolkit's simulator against onnxruntime, a picture of noise:

demo_encoder.rknn   cos 0.9999999, largest error 0.31 % of the RMS
the tiny ones       cos at least 0.9999999, largest error at most 0.14 % of the RMS
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
from vlm_npu_ros.convert.prologue import Picture
from vlm_npu_ros.convert.rknn import (
    build,
    call,
    compare,
    open_toolkit,
    Recipe,
    Reference,
    simulate,
)

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[1] / 'resource' / 'demo_model' / 'vision_encoder.onnx'
# Rockchip's own conversion of Qwen3-VL-2B names its outputs so: their order is not that of names.
FOUR = ('4820', '1669', '2720', '3771')
NAMES = {DEMO: 'demo'}

# mean and std of 0..1
Colour = tuple[float, float, float]
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5,) * 3, (0.5,) * 3)
NOTHING = ((0.0,) * 3, (1 / 255,) * 3)


def main() -> None:
    """Write the files and print how the simulator's results agree with onnxruntime."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--only-tiny', action='store_true', help='the tiny folded encoder alone')
    only_tiny = parser.parse_args().only_tiny
    toolkit = version('rknn-toolkit2')
    tiny, four = HERE / 'tiny.onnx', HERE / 'tiny_four.onnx'
    if not only_tiny:
        onnx.save(tiny_encoder(['embedding']), tiny)
        onnx.save(tiny_encoder(FOUR), four)
    convert(tiny, HERE / f'tiny_folded_{toolkit}.rknn', *CLIP)
    if not only_tiny:
        encrypt(HERE / f'tiny_folded_{toolkit}.rknn', HERE / 'tiny_encrypted.rknn')
        convert(tiny, HERE / 'tiny_float.rknn', *NOTHING)
        convert(four, HERE / 'tiny_four.rknn', *HALF)
        convert(DEMO, HERE / 'demo_encoder.rknn', *HALF)


def tiny_encoder(names: list[str] | tuple[str, ...]) -> onnx.ModelProto:
    """Return (1, 3, 32, 32) float32 to (16, 8) for each name: one convolution, random weights."""
    rng = np.random.default_rng(0)
    nodes, constants = [], {'flat': np.array([8, 16])}
    for name in names:
        constants[f'{name}_weights'] = rng.normal(size=(8, 3, 8, 8)).astype(np.float32) / 14
        nodes += [
            helper.make_node(
                'Conv', ['pixel', f'{name}_weights'], [f'{name}_map'], strides=[8, 8]
            ),
            helper.make_node('Reshape', [f'{name}_map', 'flat'], [f'{name}_rows']),
            helper.make_node('Transpose', [f'{name}_rows'], [name], perm=[1, 0]),
        ]
    graph = helper.make_graph(
        nodes, 'encoder',
        [helper.make_tensor_value_info('pixel', TensorProto.FLOAT, (1, 3, 32, 32))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (16, 8)) for name in names],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def convert(source: Path, target: Path, mean: Colour, std: Colour) -> None:
    """Write `target` for an RK3588, and print how the simulator agrees with onnxruntime."""
    recipe, picture, toolkit = Recipe('rk3588', mean, std), Picture.of(source), open_toolkit()
    reference = Reference(source, picture, recipe)
    build(toolkit, source, picture, recipe, {'model': NAMES.get(source, source.stem)}, print)
    size = picture.size
    noise = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)
    for agreement in compare(reference.names, [reference.run(noise)], [simulate(toolkit, noise)]):
        print(f'{target.name}: {agreement}')
    call(toolkit.export_rknn, str(target))
    toolkit.release()


def encrypt(source: Path, target: Path) -> None:
    toolkit = open_toolkit()
    call(toolkit.export_encrypted_rknn_model, str(source), str(target), 1)
    toolkit.release()


if __name__ == '__main__':
    main()
