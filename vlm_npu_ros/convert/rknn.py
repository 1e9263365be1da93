# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

r"""
Stage 2 of a conversion: ONNX to .rknn, checked in the toolkit's simulator.

    python -m vlm_npu_ros.convert.rknn vision.onnx -o out.rknn --recipe recipe.json \
        --pictures a.png b.png

Needs rknn-toolkit2. Exit code: 0 written, 1 an error, 3 the toolkit is missing, 4 the simulator
does not agree with onnxruntime. See stages.py for what is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
import json
import os
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

import numpy as np
from vlm_npu_ros.convert.errors import CheckFailedError, ConversionError, ToolkitMissingError
from vlm_npu_ros.convert.metadata import custom_string
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.engine.image_files import read_image
from vlm_npu_ros.engine.images import letterbox

if TYPE_CHECKING:
    from vlm_npu_ros.convert.prologue import Picture

# The smallest cosine of an output with the original's. Measured with the demo encoder and three
# scenes: 0.9999999 as it should be, 0.952 to 0.997 with BGR, 0.34 to 0.39 if normalised twice.
BAR = 0.9999

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """
    How to convert a graph; recipe.json has these fields.

    mean, std: of pixels of 0..1.
    splits: patterns of names of MatMuls, and into how many to split each.
    needs_fix: see recipes.py.
    expected: size, outputs, tokens and dim by the profile, as far as they are known.
    metadata: for the custom string of the file; the format of the graph is added.
    """

    platform: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    op_target: dict[str, str] = field(default_factory=dict)
    disable_rules: list[str] = field(default_factory=list)
    splits: list[tuple[str, int]] = field(default_factory=list)
    needs_fix: bool = False
    expected: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Agreement:
    """
    How an output of the simulator differs from onnxruntime's: the worst of all pictures.

    rms: of the output itself, to compare the largest error with.
    """

    name: str
    cosine: float
    max_error: float
    rms: float

    def __str__(self) -> str:
        return (
            f'output {self.name}: cos {self.cosine:.7f}, largest error {self.max_error:.2e} '
            f'({self.max_error / self.rms:.2%} of the RMS)'
        )


def main() -> int:
    """Run the stage."""
    parser = argparse.ArgumentParser(description='Convert ONNX to .rknn.')
    parser.add_argument('graph', type=Path)
    parser.add_argument('--recipe', type=Path, required=True)
    parser.add_argument('--pictures', type=Path, nargs='+', required=True)
    parser.add_argument('-o', '--output', type=Path, required=True)
    args = parser.parse_args()
    # The toolkit prints to both streams, from Python and from C.
    with os.fdopen(os.dup(1), 'w') as results:
        os.dup2(2, 1)

        def say(line: str) -> None:
            print(line, file=results, flush=True)

        try:
            recipe = Recipe(**json.loads(args.recipe.read_text()))
            say(json.dumps(convert(args.graph, recipe, args.pictures, args.output, say)))
        except (VlmError, OSError) as error:
            print(f'error: {error}', file=sys.stderr)
            return getattr(error, 'exit_code', 1)
    return 0


def convert(
    graph: Path, recipe: Recipe, pictures: Sequence[Path], target: Path, say: Say
) -> dict[str, object]:
    """Write `target`; return figures. Raises ConversionError, and VlmError for a bad picture."""
    toolkit = open_toolkit()
    from vlm_npu_ros.convert.prologue import Picture

    if recipe.splits or recipe.needs_fix:
        from vlm_npu_ros.convert.graph import fix

        say('fixing the graph')
        fix(graph, Path('fixed.onnx').absolute(), recipe.splits)
        graph = Path('fixed.onnx').absolute()
    picture = Picture.of(graph)
    reference = Reference(graph, picture, recipe)
    check_format(reference.format, recipe)
    squares = [letterbox(read_image(path), picture.size) for path in pictures]
    say(f'{len(squares)} pictures of {picture.size} pixels through onnxruntime')
    wanted = [reference.run(square) for square in squares]
    build(toolkit, graph, picture, recipe, {**recipe.metadata, **reference.format}, say)
    say('the same through the simulator')
    agreements = compare(
        reference.names, wanted, (simulate(toolkit, square) for square in squares)
    )
    for agreement in agreements:
        say(str(agreement))
    require(agreements)
    call(toolkit.export_rknn, str(target))
    return {
        **reference.format,
        'pictures': len(squares),
        'agreement': [asdict(agreement) for agreement in agreements],
        'bytes': target.stat().st_size,
    }


def open_toolkit() -> Any:
    """Make an RKNN object; raise ToolkitMissingError."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
        from rknn.api import RKNN

        # Imports pkg_resources, which setuptools 82 no longer has.
        toolkit = RKNN()
    except ImportError as error:
        raise ToolkitMissingError(str(error)) from error
    if not hasattr(onnx, 'mapping'):
        raise ToolkitMissingError(f'onnx {onnx.__version__} has no onnx.mapping, 1.18.0 has it')
    return toolkit


def call(step: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """
    Call a step of the toolkit; raise ConversionError if it fails.

    Some failures are exceptions, whose text is a traceback; others are -1 or None, and the reason
    is printed.
    """
    try:
        result = step(*arguments, **options)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionError(f'rknn-toolkit2, {step.__name__}: {reason[-1]}') from error
    if result is None or (isinstance(result, int) and result != 0):
        raise ConversionError(f'rknn-toolkit2, {step.__name__} returned {result}')
    return result


class Reference:
    """
    The graph in onnxruntime.

    names: of its outputs. format: what goes in and out: size, outputs, tokens and dim.
    """

    def __init__(self, graph: Path, picture: Picture, recipe: Recipe) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph), options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # of many classes, all of onnxruntime
            raise ConversionError(f'onnxruntime refuses {graph.name}: {error}') from error
        self._picture = picture
        self._colours = np.array(recipe.mean), np.array(recipe.std)
        outputs = self._session.get_outputs()
        self.names = [output.name for output in outputs]
        shapes = {tuple(output.shape) for output in outputs}
        match list(shapes):
            case [(*ones, int(tokens), int(dim))] if set(ones) <= {1}:
                self.format = {
                    'size': picture.size,
                    'outputs': len(outputs),
                    'tokens': tokens,
                    'dim': dim,
                }
            case _:
                raise ConversionError(
                    f'{graph.name} is not a vision encoder: expected outputs of (tokens, dim), '
                    f'all alike, found {[o.shape for o in outputs]}'
                )

    def run(self, square: np.ndarray) -> list[np.ndarray]:
        """Run the graph on a picture (size, size, 3) uint8 RGB; return its outputs."""
        fed = self._picture.feed(square, *self._colours)
        return [np.asarray(o) for o in self._session.run(None, {self._picture.name: fed})]


def check_format(found: dict[str, int], recipe: Recipe) -> None:
    """Raise CheckFailedError if the graph is not of the profile's model."""
    wrong = {k: v for k, v in recipe.expected.items() if found[k] != v}
    if wrong:
        raise CheckFailedError(
            'The graph and the profile do not belong together: '
            + '; '.join(f'{k} is {found[k]}, but {v} by the profile' for k, v in wrong.items())
        )


def build(
    toolkit: Any,
    graph: Path,
    picture: Picture,
    recipe: Recipe,
    metadata: dict[str, Any],
    say: Say,
) -> None:
    """Load the graph from its first layer on, and build the model for NPU and simulator."""
    call(
        toolkit.config,
        target_platform=recipe.platform,
        mean_values=[[round(255 * value, 9) for value in recipe.mean]],
        std_values=[[round(255 * value, 9) for value in recipe.std]],
        op_target=present(recipe.op_target, graph),
        disable_rules=recipe.disable_rules,
        custom_string=custom_string(metadata),
    )
    say('loading the graph into rknn-toolkit2')
    size, cropped = picture.size, {}
    if picture.cut != picture.name:
        cropped = {'inputs': [picture.cut], 'input_size_list': [[1, 3, size, size]]}
    call(toolkit.load_onnx, str(graph), **cropped)
    say(f'building for {recipe.platform}')
    # Never quantised: that needs calibration pictures of its own, and 8 bits spoil encoders.
    call(toolkit.build, do_quantization=False)
    call(toolkit.init_runtime)


def present(op_target: dict[str, str], graph: Path) -> dict[str, str]:
    """Leave out operators that are not in the graph: the toolkit refuses them."""
    import onnx

    nodes = onnx.load(str(graph), load_external_data=False).graph.node
    known = {node.op_type for node in nodes} | {node.name for node in nodes}
    return {name: target for name, target in op_target.items() if name in known}


def simulate(toolkit: Any, square: np.ndarray) -> list[np.ndarray]:
    """Run the model on a picture (size, size, 3) uint8 RGB, which it normalises itself."""
    outputs: list[np.ndarray] = call(toolkit.inference, [square[None]], data_format=['nhwc'])
    return outputs


def compare(
    names: Sequence[str],
    wanted: Iterable[Sequence[np.ndarray]],
    found: Iterable[Sequence[np.ndarray]],
) -> list[Agreement]:
    """Compare the results of each picture; return the worst agreement for each output."""
    pictures = [
        [agree(*three) for three in zip(names, rights, guesses, strict=True)]
        for rights, guesses in zip(wanted, found, strict=True)
    ]
    return [
        Agreement(
            outputs[0].name,
            cosine=float(np.min([o.cosine for o in outputs])),  # unlike min, nan if any is
            max_error=float(np.max([o.max_error for o in outputs])),
            rms=float(np.mean([o.rms for o in outputs])),
        )
        for outputs in zip(*pictures, strict=True)
    ]


def agree(name: str, right: np.ndarray, guess: np.ndarray) -> Agreement:
    """Compare a result with the right one."""
    if right.size != guess.size:
        raise CheckFailedError(f'output {name} is {guess.shape}, but {right.shape} in the graph')
    want, got = right.ravel().astype(np.float64), guess.ravel().astype(np.float64)
    return Agreement(
        name,
        cosine=float(want @ got / np.linalg.norm(want) / np.linalg.norm(got)),
        max_error=float(np.abs(want - got).max()),
        rms=float(np.sqrt((want**2).mean())),
    )


def require(agreements: Iterable[Agreement]) -> None:
    """Raise CheckFailedError if an output does not agree."""
    below = [str(agreement) for agreement in agreements if not agreement.cosine >= BAR]
    if below:
        raise CheckFailedError(
            f'the simulator must agree with onnxruntime to a cosine of {BAR}: {"; ".join(below)}',
            'Are the pixels in the order RGB, and normalised once?',
        )


if __name__ == '__main__':
    sys.exit(main())
