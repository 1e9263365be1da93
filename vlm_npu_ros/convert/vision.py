# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""From a Hugging Face model or an ONNX file to a .rknn vision encoder for the board."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import json
import os
from pathlib import Path
import shutil
import sys
import tempfile
from typing import Any, Iterator

from vlm_npu_ros.convert.checkpoint import Checkpoint
from vlm_npu_ros.convert.errors import CheckFailedError, ConversionError, UsageError
from vlm_npu_ros.convert.metadata import custom_string, metadata
from vlm_npu_ros.convert.pictures import pictures_in
from vlm_npu_ros.convert.recipes import recipe_of
from vlm_npu_ros.convert.stages import Progress, run_stage
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.agreement import check_agreement
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import load_profile, ModelProfile
from vlm_npu_ros.engine.share import share_dir

# Chips whose NPU librkllmrt.so supports.
PLATFORMS = ('rk3588', 'rk3576', 'rk3562', 'rv1126b')

_FEWEST, _MOST = 3, 8  # pictures; each takes the simulator up to 20 s


@dataclass(frozen=True)
class VisionJob:
    """
    What to convert.

    source: folder of a Hugging Face model, or an .onnx file that export.py could have written.
    model: name or .yaml of the profile.
    size: side of the square that the encoder reads; 0 = that of the .onnx file, or for a folder
        the first that the profile knows.
    python, export_python: with rknn-toolkit2, and with torch and transformers.
    pictures: folder of pictures for the check; None = three rendered scenes.
    splits: patterns of names of MatMuls, and into how many to split each.
    keep: folder for intermediate files; None = they are deleted.
    """

    source: Path
    output: Path
    model: str
    platform: str = 'rk3588'
    size: int = 0
    python: str = sys.executable
    export_python: str = sys.executable
    pictures: Path | None = None
    splits: Sequence[tuple[str, int]] = ()
    keep: Path | None = None


def convert_vision(job: VisionJob, progress: Progress) -> dict[str, Any]:
    """
    Write the .rknn file once it is checked; return figures about it.

    Raises ConversionError, and ModelFileError for a profile or checkpoint that cannot be read.
    """
    profile = _profile(job)
    assert profile.image  # checked by _profile
    family, size = '', job.size
    if job.source.is_dir():
        family = Checkpoint.read(job.source).model_type
        size = size or next(iter(profile.image.tokens))
    recipe = recipe_of(profile.name, family)
    with _work_folder(job.keep) as folder:
        pictures = pictures_in(job.pictures or _own_pictures(), _FEWEST)[:_MOST]
        graph, exported = job.source.absolute(), dict[str, Any]()
        if family:
            graph = folder / 'vision.onnx'
            exported = run_stage(
                'export',
                [
                    str(job.source.absolute()), '--family', family, '--size', str(size),
                    '-o', str(graph),
                ],
                job.export_python, progress,
            )
        recipe_file, made = folder / 'recipe.json', folder / 'vision.rknn'
        labels = metadata(profile, family or recipe.family, exported.get('revision', ''))
        recipe_file.write_text(json.dumps({
            'platform': job.platform, 'mean': profile.image.mean, 'std': profile.image.std,
            'op_target': recipe.op_target, 'disable_rules': recipe.disable_rules,
            'splits': job.splits, 'needs_fix': recipe.needs_fix,
            'expected': _expected(profile, size), 'metadata': labels,
        }))
        figures = run_stage(
            'rknn',
            [
                str(graph), '--recipe', str(recipe_file), '-o', str(made),
                '--pictures', *map(str, pictures),
            ],
            job.python, progress,
        )
        found = _read_back(made, profile, job.platform, figures, labels)
        _move(made, job.output)
    return {
        'file': str(job.output), 'model': profile.name, 'platform': job.platform,
        'toolkit': found.toolkit, 'export': exported or None, 'rknn': figures,
    }


def _profile(job: VisionJob) -> ModelProfile:
    """Load the profile; raise UsageError if the job cannot be done."""
    profile = load_profile(job.model)
    if profile.backend != 'rknpu' or profile.image is None:
        raise UsageError(
            f'The profile {profile.name} is for the backend {profile.backend}',
            'Choose one that has image and tags (docs/models.md)',
        )
    if not job.source.is_dir() and not (job.source.is_file() and job.source.suffix == '.onnx'):
        raise UsageError(f'{job.source} is neither the folder of a model nor an .onnx file')
    if not job.output.absolute().parent.is_dir():
        raise UsageError(f'The folder {job.output.absolute().parent} does not exist')
    return profile


@contextmanager
def _work_folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix='vlm_npu_convert_') as folder:
            yield Path(folder)
    else:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()


def _own_pictures() -> Path:
    return share_dir() / 'resource' / 'pictures'


def _expected(profile: ModelProfile, size: int) -> dict[str, int]:
    """List what the graph must have, as far as the profile knows this size (0: any)."""
    assert profile.image
    tokens = profile.image.tokens.get(size, 0)
    facts = {'size': size, 'outputs': profile.image.outputs, 'tokens': tokens}
    return {name: v for name, v in {**facts, 'dim': profile.image.dim}.items() if v}


def _read_back(
    path: Path,
    profile: ModelProfile,
    platform: str,
    figures: dict[str, Any],
    labels: dict[str, Any],
) -> RknnFile:
    """Read the written file; raise CheckFailedError if it is not what it must be."""
    form = {name: figures[name] for name in ('size', 'outputs', 'tokens', 'dim')}
    try:
        found = RknnFile.read(path)
        check_agreement(found, 'the file', profile, platform, figures['size'])
    except ModelFileError as error:
        raise CheckFailedError(f'What was written is wrong: {error}') from error
    if not found.folded:
        raise CheckFailedError('The normalisation of the pixels is not in the written file')
    if found.custom_string != custom_string({**labels, **form}):
        raise CheckFailedError(f'The written file has other metadata: {found.custom_string!r}')
    return found


def _move(made: Path, output: Path) -> None:
    """Make the file appear whole or not at all."""
    part = output.with_name(f'{output.name}.part')
    try:
        shutil.copyfile(made, part)
        os.replace(part, output)
    except OSError as error:
        raise ConversionError(f'{output} cannot be written: {error}') from error
    finally:
        part.unlink(missing_ok=True)
