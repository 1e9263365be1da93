# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
From a Hugging Face model to a .rkllm language model.

Calibration data from pictures (calibration.py, in an environment with torch and transformers),
then rkllm-toolkit (rkllm.py, in its own environment).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
from vlm_npu_ros.convert import rkllm
from vlm_npu_ros.convert.calibration import DATASET, FAMILIES, Request
from vlm_npu_ros.convert.checkpoint import Checkpoint
from vlm_npu_ros.convert.errors import ConversionError, ToolkitMissingError, UsageError
from vlm_npu_ros.convert.pictures import pictures_in
from vlm_npu_ros.convert.recipes import recipe_of
from vlm_npu_ros.convert.stages import Progress, run_stage
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.image_files import read_image
from vlm_npu_ros.engine.images import letterbox
from vlm_npu_ros.engine.model_files.rkllm import check_rkllm
from vlm_npu_ros.engine.models import ChatTemplate, ModelProfile

# What Rockchip's manual of rkllm-toolkit 1.3.0 allows.
LONGEST_CONTEXT = 16384  # tokens
DTYPES = {
    'rk3588': ('w8a8', 'w8a8_g128', 'w8a8_g256', 'w8a8_g512'),
    'rk3576': ('w4a16', 'w4a16_g32', 'w4a16_g64', 'w4a16_g128', 'w8a8'),
    'rk3562': ('w8a8', 'w4a16_g32', 'w4a16_g64', 'w4a16_g128', 'w4a8_g32'),
    'rv1126b': ('w4a16', 'w4a16_g32', 'w4a16_g64', 'w4a16_g128', 'w8a8'),
}
NPU_CORES = {'rk3588': 3, 'rk3576': 2, 'rk3562': 1, 'rv1126b': 1}
MEMORY = Path('/proc/meminfo')
# The model is loaded in 32 bits. Public conversions of Qwen3-VL saw 8, 16 and 33.5 GB for 2, 4 and
# 8 billion parameters; the toolkit's author gives the same for the disk (rknn-llm #308).
BYTES_PER_PARAMETER = 4
# Rockchip's own data has 20 pictures with questions of this kind.
QUESTIONS = (
    'Describe this picture.',
    'Which objects do you see, and where are they?',
    'What is in the foreground, and what is behind it?',
    'Is there anything unusual here? Answer in one sentence.',
)

SCRIPT, JOB = 'convert_llm.py', 'job.json'
_WHEELS = ('3.9', '3.10', '3.11', '3.12')
_PROBE = """
import importlib.util, json, platform
there = all(importlib.util.find_spec(name) for name in ('rkllm', 'rkllm.api'))
print(json.dumps([there, platform.python_version(), platform.machine()]))
"""


@dataclass(frozen=True)
class LlmConversion:
    """
    What to convert, and how.

    cores: of the NPU; 0 = all that the platform has.
    pictures: folder of what the robot sees; texts: file of questions with answers; at most one.
    size: of the pictures that the vision encoder reads; 0 = the first that the profile knows.
    python: with torch and transformers, for pictures. rkllm_python: with rkllm-toolkit.
    """

    model_dir: Path
    output: Path
    profile: ModelProfile
    platform: str = 'rk3588'
    dtype: str = 'w8a8'
    context: int = 4096
    cores: int = 0
    device: str = 'cpu'
    pictures: Path | None = None
    texts: Path | None = None
    size: int = 0
    python: str = sys.executable
    rkllm_python: str = sys.executable

    def check(self) -> None:
        """Raise UsageError where an argument cannot be right, before anything is loaded."""
        if self.profile.backend != 'rknpu' or self.profile.image is None:
            raise UsageError(f'The model {self.profile.name} is not one for an NPU')
        if self.platform not in DTYPES:
            raise UsageError(f'The platform must be one of {", ".join(DTYPES)}')
        if self.dtype not in DTYPES[self.platform]:
            raise UsageError(
                f'{self.platform} knows the dtypes {", ".join(DTYPES[self.platform])}, not '
                f'{self.dtype}'
            )
        cores = NPU_CORES[self.platform]
        if not 0 <= self.cores <= cores:
            raise UsageError(f'{self.platform} has 1 to {cores} NPU cores, not {self.cores}')
        longest = min(LONGEST_CONTEXT, self.profile.max_context)
        if self.context % 32 or not 32 <= self.context <= longest:
            raise UsageError(
                f'The context of {self.profile.name} must be a multiple of 32 from 32 to '
                f'{longest} tokens, not {self.context}'
            )
        if self.pictures and self.texts:
            raise UsageError('Calibrate with pictures or with texts, not with both')
        if self.size and self.size not in self.profile.image.tokens:
            raise UsageError(
                f'{self.profile.name} knows pictures of {[*self.profile.image.tokens]} pixels, '
                f'not {self.size}'
            )

    @property
    def build_options(self) -> dict[str, Any]:
        """Arguments of rkllm-toolkit's `build`."""
        calibrated = self.pictures or self.texts
        return {
            'do_quantization': True,
            'optimization_level': 1,
            'quantized_dtype': self.dtype,
            # As Rockchip's scripts recommend: grq for weights of 4 bits with activations of 16.
            'quantized_algorithm': 'grq' if self.dtype.startswith('w4a16') else 'normal',
            'target_platform': self.platform,
            'num_npu_core': self.cores or NPU_CORES[self.platform],
            'extra_qparams': None,
            'dataset': f'./{DATASET}' if calibrated else None,
            'hybrid_rate': 0,
            'max_context': self.context,
        }


def read_checkpoint(conversion: LlmConversion) -> Checkpoint:
    """Read the model's folder; raise an error if it holds another model than the profile's."""
    found, profile = Checkpoint.read(conversion.model_dir), conversion.profile
    assert profile.image
    recipe_of(profile.name, found.model_type)  # raises if it is of another family
    if found.dim and found.dim != profile.image.dim:
        raise ModelFileError(
            f'{found.folder} has embeddings of {found.dim} numbers, {profile.name} of '
            f'{profile.image.dim}',
            'Name the profile of this model',
        )
    if conversion.pictures and found.model_type not in FAMILIES:
        raise ModelFileError(
            f'{found.folder} is of the family {found.model_type}; how a model reads pictures is '
            f'known for {", ".join(FAMILIES)}',
            'Calibrate with texts',
        )
    return found


def needed_memory(checkpoint: Checkpoint) -> int:
    """Estimate the bytes that rkllm-toolkit needs, in memory and on the disk."""
    return BYTES_PER_PARAMETER * checkpoint.parameters


def check_memory(checkpoint: Checkpoint) -> None:
    """Raise ConversionError if this machine has too little free memory."""
    found = re.search(r'MemAvailable:\s+(\d+) kB', MEMORY.read_text())
    needed, free = needed_memory(checkpoint), int(found[1]) * 1024 if found else None
    if free is not None and needed > free:
        raise ConversionError(
            f'rkllm-toolkit takes about {needed / 1e9:.1f} GB of memory for '
            f'{checkpoint.parameters / 1e9:.2f} billion parameters, {free / 1e9:.1f} GB are free '
            'here',
            'Use a larger machine (--emit-script), or --force if there is swap',
        )


def check_toolkit(python: str) -> None:
    """Raise ToolkitMissingError, which says what to install where, if it is missing."""
    try:
        answer = subprocess.run(
            [python, '-c', _PROBE], capture_output=True, text=True, check=True
        ).stdout
        there, version, arch = json.loads(answer.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
        raise ToolkitMissingError(f'{python} cannot be run as a Python: {error}') from error
    if not there:
        raise ToolkitMissingError(
            f'rkllm-toolkit is not in {python} (Python {version} on {arch})',
            _advice(version, arch),
        )


def _advice(version: str, arch: str) -> str:
    short = '.'.join(version.split('.')[:2])
    fits = short in _WHEELS and arch == 'x86_64'
    tag = 'cp' + (short if fits else _WHEELS[-1]).replace('.', '')
    return (
        'It is not on PyPI. Download '
        f'rkllm_toolkit-1.3.0-{tag}-{tag}-linux_x86_64.whl from rkllm-toolkit/packages/ of '
        'github.com/airockchip/rknn-llm (release-v1.3.0).\n'
        + ('' if fits else 'This Python or machine cannot have it. ')
        + f'There are wheels only for Python {_WHEELS[0]} to {_WHEELS[-1]} on x86_64 Linux; '
        'Python 3.12 needs BUILD_CUDA_EXT=0 when it is installed.\n'
        'It pins torch 2.6.0 and transformers 5.8.0, rknn-toolkit2 wants torch up to 2.4.0: give '
        'it a virtual environment of its own, and name that: --rkllm-python VENV/bin/python.\n'
        'Or let --emit-script DIR write what another machine needs. The vision encoder can be '
        'converted without it (vlm-npu convert vision)'
    )


def job(conversion: LlmConversion, checkpoint: Checkpoint, transformers: str = '') -> dict:
    """Describe the job for rkllm.py; transformers: the version that made its calibration data."""
    return {
        'output': conversion.output.name,
        'config_sha256': checkpoint.config_sha256,
        'transformers': transformers,
        'load': {'device': conversion.device, 'dtype': 'float32'},
        'build': conversion.build_options,
    }


def convert(conversion: LlmConversion, progress: Progress) -> dict[str, Any]:
    """
    Write conversion.output; return figures about it.

    Raises what `read_checkpoint` and `run_stage` raise. rkllm-toolkit is needed only at the end:
    call `check_toolkit` first.
    """
    checkpoint = read_checkpoint(conversion)
    # Beside the file to be: it has gigabytes, and is moved there at the end.
    with tempfile.TemporaryDirectory(dir=conversion.output.parent, prefix='.convert-') as folder:
        work = Path(folder)
        _prepare(conversion, checkpoint, work, progress)
        figures = run_stage(
            'rkllm', [str(work / JOB), str(conversion.model_dir)], conversion.rkllm_python,
            progress,
        )
        made = work / conversion.output.name
        check_rkllm(made)
        os.replace(made, conversion.output)
    template = conversion.profile.template
    try:
        write_head(
            conversion.model_dir, conversion.output, template.postfix if template else '',
            (), conversion.rkllm_python, progress,
        )
    except ConversionError as error:  # the model is of use without it
        progress(f'No probabilities by hidden states: {error}')
    return {**figures, 'file': str(conversion.output)}


def write_head(
    model_dir: Path, rkllm_file: Path, before: str, words: Sequence[str], python: str,
    progress: Progress,
) -> Path:
    """Write the rows of the LM head beside a .rkllm; return the path. Raises ConversionError."""
    more = [f'--before={before}'] if before else []
    result = run_stage(
        'head', [str(model_dir), str(rkllm_file), *more, *(f'--word={word}' for word in words)],
        python, progress,
    )
    return Path(str(result['head']))


def emit(conversion: LlmConversion, folder: Path, progress: Progress) -> None:
    """Write into a new folder what makes the .rkllm file on a machine with rkllm-toolkit."""
    checkpoint = read_checkpoint(conversion)
    if folder.exists():
        raise UsageError(f'{folder} exists already', 'Name a new folder')
    # Half of it would be of no use.
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix='.convert-') as parent:
        work = Path(parent) / folder.name
        work.mkdir()
        _prepare(conversion, checkpoint, work, progress)
        shutil.copy(rkllm.__file__, work / SCRIPT)
        work.rename(folder)


def _prepare(
    conversion: LlmConversion, checkpoint: Checkpoint, folder: Path, progress: Progress
) -> None:
    """Write the job and its calibration data into a folder."""
    transformers = ''
    if conversion.pictures:
        transformers = _calibrate(conversion, conversion.pictures, folder, progress)
    elif conversion.texts:
        entries = framed_texts(conversion.texts, conversion.profile.template)
        (folder / DATASET).write_text(
            json.dumps(entries, ensure_ascii=False, indent=1), encoding='utf-8'
        )
    else:
        progress('No calibration data: --pictures or --texts make a better quantisation')
    (folder / JOB).write_text(
        json.dumps(job(conversion, checkpoint, transformers), indent=2), encoding='utf-8'
    )


def _calibrate(conversion: LlmConversion, pictures: Path, folder: Path, progress: Progress) -> str:
    """Write calibration data from pictures; return the version of transformers that made it."""
    with tempfile.TemporaryDirectory() as request_dir:
        request(conversion, pictures).save(Path(request_dir))
        figures = run_stage(
            'calibration', [str(conversion.model_dir), request_dir, '-o', str(folder)],
            conversion.python, progress,
        )
    return str(figures['transformers'])


def request(conversion: LlmConversion, folder: Path) -> Request:
    """Prepare the pictures of a folder as a board would have them, each with a question."""
    profile = conversion.profile
    image, tags, template = profile.image, profile.tags, profile.template
    assert image and tags
    size = conversion.size or next(iter(image.tokens))
    paths = pictures_in(folder)
    seen = tags.start + tags.content * image.tokens[size] + tags.end
    prompts = [_framed(seen + QUESTIONS[i % len(QUESTIONS)], template) for i in range(len(paths))]
    return Request(
        pictures=np.stack([letterbox(read_image(path), size) for path in paths]),
        prompts=prompts,
        content=tags.content,
        framed=template is not None,
        mean=list(image.mean),
        std=list(image.std),
    )


def framed_texts(path: Path, template: ChatTemplate | None) -> list[dict[str, str]]:
    """Read questions with their answers, framed for the model; raise ModelFileError."""
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
        pairs = [(entry['input'], entry['target']) for entry in entries]
        if not pairs or not all(isinstance(t, str) for pair in pairs for t in pair):
            raise ValueError('it must hold at least one, and nothing but texts')
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelFileError(
            f'{path} is not a list of questions and answers, such as [{{"input": "What is red?", '
            f'"target": "A colour."}}]: {type(error).__name__}: {error}'
        ) from error
    return [{'input': _framed(question, template), 'target': answer} for question, answer in pairs]


def _framed(question: str, template: ChatTemplate | None) -> str:
    return template.framed(question) if template else question
