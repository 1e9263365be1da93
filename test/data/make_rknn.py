"""
Make the .rknn files of this folder with rknn-toolkit2; not run by the tests.

    python3.11 -m venv /tmp/rknn
    /tmp/rknn/bin/pip install rknn-toolkit2==2.3.2 onnx==1.18.0 'setuptools<81'
    /tmp/rknn/bin/python test/data/make_rknn.py
    /tmp/rknn/bin/pip install rknn-toolkit2==2.5.0
    /tmp/rknn/bin/python test/data/make_rknn.py --only-tiny

onnx 1.19 and later have no onnx.mapping, setuptools 82 and later no pkg_resources: both are
needed. The environment takes 6 GB, the script seconds.

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
import json
from pathlib import Path
import tempfile

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime
from rknn.api import RKNN

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[1] / 'resource' / 'demo_model' / 'vision_encoder.onnx'
# Rockchip's own conversion of Qwen3-VL-2B names its outputs so: their order is not that of names.
FOUR = ('4820', '1669', '2720', '3771')
CLIP = ([122.7709383, 116.7460125, 104.09373615], [68.5005327, 66.6321579, 70.32316305])
HALF = ([127.5] * 3, [127.5] * 3)


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
    convert(tiny, HERE / f'tiny_folded_{toolkit}.rknn', CLIP)
    if not only_tiny:
        encrypt(HERE / f'tiny_folded_{toolkit}.rknn', HERE / 'tiny_encrypted.rknn')
        convert(tiny, HERE / 'tiny_float.rknn', None)
        convert(four, HERE / 'tiny_four.rknn', HALF)
        with tempfile.TemporaryDirectory() as folder:
            demo = Path(folder) / 'demo.onnx'
            onnx.save(demo_encoder(), demo)
            convert(demo, HERE / 'demo_encoder.rknn', HALF)


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
    return model(nodes, 'pixel', 32, dict.fromkeys(names, (16, 8)), constants)


def demo_encoder() -> onnx.ModelProto:
    """Return the demo model's encoder from its first convolution on, with a static reshape."""
    graph = onnx.load(DEMO).graph
    first = next(i for i, node in enumerate(graph.node) if node.op_type == 'Conv')
    nodes = list(graph.node)[first:]
    pixels = nodes[0].input[0]
    # The shape is worked out from the batch size in the graph; the batch is one.
    (reshape,) = (node for node in nodes if node.op_type == 'Reshape')
    nodes = [n for n in nodes if n.op_type not in ('Shape', 'Slice', 'Concat', 'Constant')]
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    constants[reshape.input[1]] = np.array([1, 160, 64])
    return model(nodes, pixels, 128, {'embedding': (1, 64, 128)}, constants)


def model(
    nodes: list[onnx.NodeProto],
    pixels: str,
    size: int,
    outputs: dict[str, tuple[int, ...]],
    constants: dict[str, np.ndarray],
) -> onnx.ModelProto:
    """Return a model that reads (1, 3, size, size) float32, normalised RGB."""
    graph = helper.make_graph(
        nodes, 'encoder',
        [helper.make_tensor_value_info(pixels, TensorProto.FLOAT, (1, 3, size, size))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def convert(
    source: Path, target: Path, normalisation: tuple[list[float], list[float]] | None
) -> None:
    """Write `target` for an RK3588; normalisation: mean and std of 0..255 to fold in."""
    rknn = RKNN()
    mean, std = normalisation or (None, None)
    rknn.config(
        target_platform='rk3588',
        mean_values=mean and [mean],
        std_values=std and [std],
        custom_string=json.dumps({'model': source.stem}),
    )
    check(rknn.load_onnx(str(source)))
    check(rknn.build(do_quantization=False))
    check(rknn.export_rknn(str(target)))
    check(rknn.init_runtime())
    compare(rknn, source, target.name, normalisation)
    rknn.release()


def encrypt(source: Path, target: Path) -> None:
    """Write the encrypted form of a .rknn file."""
    rknn = RKNN()
    check(rknn.export_encrypted_rknn_model(str(source), str(target), 1))
    rknn.release()


def check(code: int) -> None:
    """End the script if a step of the toolkit failed."""
    if code != 0:
        raise SystemExit(f'rknn-toolkit2 returned {code}')


def compare(
    rknn: RKNN, source: Path, name: str, normalisation: tuple[list[float], list[float]] | None
) -> None:
    """Print the agreement of the simulator with onnxruntime for a picture of noise."""
    session = onnxruntime.InferenceSession(str(source), providers=['CPUExecutionProvider'])
    (pixels,) = session.get_inputs()
    picture = np.random.default_rng(1).integers(0, 256, (1, *pixels.shape[2:], 3), np.uint8)
    mean, std = normalisation or HALF
    floats = ((picture - np.array(mean)) / np.array(std)).astype(np.float32)
    right = session.run(None, {pixels.name: floats.transpose(0, 3, 1, 2)})
    fed = picture if normalisation else floats
    for want, got in zip(right, rknn.inference([fed], data_format=['nhwc']), strict=True):
        want, got = want.ravel().astype(np.float64), got.ravel().astype(np.float64)
        cosine = want @ got / np.linalg.norm(want) / np.linalg.norm(got)
        worst = np.abs(want - got).max() / np.sqrt((want**2).mean())
        print(f'{name}: cos {cosine:.7f}, largest error {worst:.2%} of the RMS')


if __name__ == '__main__':
    main()
