# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Every family through the real tools: checkpoint, ONNX, rknn-toolkit2, its simulator.

`make test-convert-families` runs this, in an environment of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
import shutil
import subprocess
import sys
from typing import Any

from convert.real.checkpoints import DIM, FAMILIES, Family
import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.torch import load_file, save_file
from vlm_npu_ros.convert import export, graph
from vlm_npu_ros.convert.errors import UsageError
from vlm_npu_ros.convert.vision import convert_vision, VisionJob
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import load_profile
import yaml


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint and a profile for it."""

    name: str
    family: Family
    folder: Path
    profile: Path


@dataclass(frozen=True)
class Conversion:
    """What `vlm-npu convert vision` made of a checkpoint."""

    checkpoint: Checkpoint
    onnx: Path
    rknn: Path
    figures: dict[str, Any]


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    return {name: make_checkpoint(name, tmp_path_factory.mktemp(name)) for name in FAMILIES}


@pytest.fixture(scope='module', params=FAMILIES)
def conversion(
    request: pytest.FixtureRequest, checkpoints: dict[str, Checkpoint], tmp_path_factory: Any
) -> Conversion:
    checkpoint = checkpoints[request.param]
    folder = tmp_path_factory.mktemp('converted')
    figures = convert_vision(
        VisionJob(checkpoint.folder, folder / 'out.rknn', str(checkpoint.profile),
                  size=checkpoint.family.size, keep=folder / 'kept'), print)
    return Conversion(checkpoint, folder / 'kept' / 'vision.onnx', folder / 'out.rknn', figures)


def make_checkpoint(name: str, folder: Path) -> Checkpoint:
    family = FAMILIES[name]
    family.save(folder / 'model')
    shipped = load_profile(family.profile)
    assert shipped.image
    # The profile of the family, but for the form of this small model.
    profile = folder / f'{family.profile}-tiny.yaml'
    fields = yaml.safe_load(profile_file(family.profile).read_text())
    fields['name'] = profile.stem
    fields['image'].update(dim=DIM, tokens={family.size: family.tokens})
    profile.write_text(yaml.safe_dump(fields))
    return Checkpoint(name, family, folder / 'model', profile)


def profile_file(name: str) -> Path:
    return Path(__file__).parents[3] / 'config' / 'models' / f'{name}.yaml'


def picture(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)


def run(path: Path, profile: Path, size: int) -> list[np.ndarray]:
    image = load_profile(str(profile)).image
    assert image
    pixels = (picture(size) / 255 - np.array(image.mean)) / np.array(image.std)
    return onnxruntime.InferenceSession(path).run(
        None, {'pixels': pixels.transpose(2, 0, 1)[None].astype(np.float32)})


def largest_error(checkpoint: Checkpoint, path: Path, size: int) -> float:
    """Return the largest difference of a graph to PyTorch, as a part of the RMS."""
    image = load_profile(str(checkpoint.profile)).image
    assert image
    found = run(path, checkpoint.profile, size)
    wanted = checkpoint.family.embeddings(
        checkpoint.folder, picture(size), image.mean, image.std)
    assert [f.shape for f in found] == [w.shape for w in wanted]
    return max(float(np.abs(f - w).max() / np.sqrt((w ** 2).mean()))
               for f, w in zip(found, wanted, strict=True))


# --- every family ---

def test_simulator_agrees_with_onnxruntime(conversion: Conversion) -> None:
    agreement = conversion.figures['rknn']['agreement']
    assert len(agreement) == conversion.checkpoint.family.outputs
    assert min(output['cosine'] for output in agreement) >= 0.9999


def test_onnx_agrees_with_pytorch(conversion: Conversion) -> None:
    size = conversion.checkpoint.family.size
    error = largest_error(conversion.checkpoint, conversion.onnx, size)
    print(f'{conversion.checkpoint.name}: ONNX differs from PyTorch by {error:.1e} of the RMS')
    assert error < 1e-4


def test_graph_has_pixels_alone_as_input(conversion: Conversion) -> None:
    inputs = onnx.load(conversion.onnx).graph.input
    size = conversion.checkpoint.family.size
    assert [(i.name, [d.dim_value for d in i.type.tensor_type.shape.dim]) for i in inputs] == [
        ('pixels', [1, 3, size, size])]


def test_file_says_what_it_is(conversion: Conversion) -> None:
    family = conversion.checkpoint.family
    found = RknnFile.read(conversion.rknn)
    assert found.folded
    metadata = json.loads(found.custom_string)
    assert metadata['family'] == conversion.checkpoint.name
    assert [metadata[key] for key in ('size', 'tokens', 'outputs', 'dim')] == [
        family.size, family.tokens, family.outputs, DIM]


# --- what goes wrong without our handling ---

@pytest.mark.parametrize(
    ('name', 'size'), [('smolvlm', 128), ('internvl', 112), ('qwen3_vl', 256)])
def test_other_size(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, name: str, size: int
) -> None:
    facts = export.export(checkpoints[name].folder, size, tmp_path / 'vision.onnx')
    family = checkpoints[name].family
    assert facts['tokens'] == family.tokens * (size / family.size) ** 2
    assert largest_error(checkpoints[name], tmp_path / 'vision.onnx', size) < 1e-4


def test_what_depends_on_the_grid_alone_is_a_constant(conversion: Conversion) -> None:
    operators = {node.op_type for node in onnx.load(conversion.onnx).graph.node}
    assert not operators & {
        'If', 'Loop', 'Scan', 'Resize', 'NonZero', 'OneHot', 'Range', 'ScatterND'}


def test_split_products(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    checkpoint = checkpoints['internvl']
    figures = convert_vision(
        VisionJob(checkpoint.folder, tmp_path / 'out.rknn', str(checkpoint.profile), size=224,
                  splits=(('/mlp/fc2/', 5),), keep=tmp_path / 'kept'), print)
    assert figures['rknn']['agreement'][0]['cosine'] >= 0.9999
    split = tmp_path / 'split.onnx'
    graph.fix(tmp_path / 'kept' / 'vision.onnx', split, [('/mlp/fc2/', 5)])
    names = [node.name for node in onnx.load(split).graph.node]
    assert len([name for name in names if '/mlp/fc2/MatMul_' in name]) == 2 * (1 + 5 + 4)
    assert largest_error(checkpoint, split, 224) < 1e-4


def test_weights_that_do_not_fit_into_the_file(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = checkpoints['internvl']
    monkeypatch.setattr(graph, 'MAX_FILE', 100_000)  # else 2 GB
    made, out = tmp_path / 'made', tmp_path / 'out'
    made.mkdir()
    out.mkdir()
    export.export(checkpoint.folder, 224, made / 'vision.onnx')
    assert sorted(p.name for p in made.iterdir()) == ['vision.onnx', 'vision.onnx.data']
    assert (made / 'vision.onnx').stat().st_size < 100_000
    convert_vision(
        VisionJob(made / 'vision.onnx', out / 'out.rknn', str(checkpoint.profile)), print)
    assert [p.name for p in out.iterdir()] == ['out.rknn']
    assert len(list(made.iterdir())) == 2


def test_folder_above_does_not_matter(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    """Others guess the normalisation from any part of the path."""
    folder = tmp_path / 'qwen2_vl' / 'internvl3'
    folder.parent.mkdir()
    folder.symlink_to(checkpoints['smolvlm'].folder)
    facts = export.export(folder, 256, tmp_path / 'vision.onnx')
    assert facts['family'] == 'smolvlm'


def test_part_of_the_weights_is_missing(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    source, name = checkpoints['qwen3_vl'].folder, 'model.visual.merger.norm.weight'
    index = json.loads((source / 'model.safetensors.index.json').read_text())
    part = index['weight_map'].pop(name)
    weights = load_file(source / part)
    del weights[name]
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    save_file(weights, tmp_path / part, {'format': 'pt'})
    (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(index))
    with pytest.raises(UsageError, match=r'visual\.merger\.norm\.weight'):
        export.export(tmp_path, 128, tmp_path / 'vision.onnx')


@pytest.mark.parametrize(('size', 'family', 'reason'), [
    (120, None, '32 x 32 pixels'),
    (0, None, '32 x 32 pixels'),
    (128, 'qwen2_vl', 'of the family qwen3_vl, not qwen2_vl'),
])
def test_arguments_that_do_not_fit(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, size: int, family: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        export.export(checkpoints['qwen3_vl'].folder, size, tmp_path / 'vision.onnx', family)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('model_type', 'reason'), [
    ('internvl_chat', 'Take the one with -HF in its name'),
    ('llama', 'known are gemma4, internvl, lfm2_vl'),
])
def test_other_families(tmp_path: Path, model_type: str, reason: str) -> None:
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': model_type}))
    with pytest.raises(UsageError, match=reason):
        export.export(tmp_path, 448, tmp_path / 'vision.onnx')


def test_as_a_program(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    family = FAMILIES['smolvlm']
    output = tmp_path / 'vision.onnx'
    program = subprocess.run(
        [sys.executable, '-m', 'vlm_npu_ros.convert.export', checkpoints['smolvlm'].folder,
         '--size', '256', '-o', output], capture_output=True, text=True, check=True)
    *progress, result = program.stdout.splitlines()
    assert progress == ['loading', 'tracing', 'writing']
    assert program.stderr == ''
    parameters = sum(
        p.numel() for n, p in family.model(family.config()).model.named_parameters()
        if n.startswith(('vision_model.', 'connector.')))
    assert json.loads(result) == {
        'family': 'smolvlm', 'size': 256, 'tokens': 16, 'outputs': 1, 'dim': DIM,
        'revision': '', 'params': parameters}
