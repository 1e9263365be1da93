# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Calibration data of small models of every family, and that rkllm-toolkit's stand-in reads it.

`make test-convert-families` runs this; it needs torch and transformers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
from pathlib import Path
import pickle
import subprocess
import sys
from typing import Any

from convert.real.checkpoints import DIM, FAMILIES, Family
import cv2
import numpy as np
import pytest
from tokenizers import models, pre_tokenizers, Tokenizer
import torch
import transformers
from vlm_npu_ros.convert.calibration import DATASET, QWEN
from vlm_npu_ros.convert.calibration import FAMILIES as CALIBRATED
from vlm_npu_ros.convert.errors import ConversionError
from vlm_npu_ros.convert.llm import emit, JOB, LlmConversion, request, SCRIPT
from vlm_npu_ros.engine.models import load_profile, ModelProfile

FAKE = Path(__file__).parents[1] / 'fake_rkllm'
UNKNOWN = '[UNK]'


@dataclass(frozen=True)
class Calibrated:
    """A model, and the folder with the data that was made from two pictures."""

    name: str
    family: Family
    profile: ModelProfile
    model: Path
    pictures: np.ndarray
    prompts: list[str]
    folder: Path


@pytest.fixture(scope='module', params=CALIBRATED)
def calibrated(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Calibrated:
    folder, family = tmp_path_factory.mktemp(request.param), FAMILIES[request.param]
    profile = small_profile(family)
    family.save(folder / 'model')
    save_tokenizer(folder / 'model', profile)
    conversion = some_conversion(folder, profile, family)
    emit(conversion, folder / 'script', print)
    sent = request_of(conversion)
    return Calibrated(
        request.param, family, profile, folder / 'model', sent.pictures, sent.prompts,
        folder / 'script',
    )


def request_of(conversion: LlmConversion) -> Any:
    assert conversion.pictures
    return request(conversion, conversion.pictures)


def some_conversion(folder: Path, profile: ModelProfile, family: Family) -> LlmConversion:
    """Write two pictures of noise; return a conversion that calibrates with them."""
    (folder / 'pictures').mkdir()
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)
        cv2.imwrite(str(folder / 'pictures' / f'{i}.png'), noise)
    return LlmConversion(
        folder / 'model', folder / 'llm.rkllm', profile, pictures=folder / 'pictures',
        size=family.size, python=sys.executable,
    )


def small_profile(family: Family) -> ModelProfile:
    shipped = load_profile(family.profile)
    assert shipped.image
    image = replace(shipped.image, dim=DIM, tokens={family.size: family.tokens})
    return replace(shipped, image=image)


def save_tokenizer(folder: Path, profile: ModelProfile) -> None:
    """Write a tokenizer that knows the profile's tags, and nothing else."""
    tags = profile.tags
    assert tags
    known = [UNKNOWN, *filter(None, (tags.start, tags.end, tags.content, tags.video))]
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(known)}, UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(known[1:])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN)
    # For profiles that leave the template to the model.
    made.chat_template = '{{ messages[0].content }}'
    made.save_pretrained(folder)
    path = folder / 'config.json'
    config = json.loads(path.read_text())
    for key, tag in (
        ('image_token_id', tags.content), ('video_token_id', tags.video),
        ('vision_start_token_id', tags.start), ('vision_end_token_id', tags.end),
    ):
        if key in config and tag:
            config[key] = known.index(tag)
    path.write_text(json.dumps(config))


def tokens_of(calibrated: Calibrated, index: int) -> np.ndarray:
    tokenizer = transformers.AutoTokenizer.from_pretrained(calibrated.model)
    return np.array(tokenizer(calibrated.prompts[index], add_special_tokens=False).input_ids)


def sample(calibrated: Calibrated, index: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the embeddings of a sample, (tokens, dim), and its keywords if it has any."""
    entry = json.loads((calibrated.folder / DATASET).read_text())[index]
    if 'input_embed' in entry:
        assert isinstance(entry['target'], str)
        return np.array(entry['input_embed'])[0], {}
    with open(calibrated.folder / entry['sample'], 'rb') as file:
        keywords = pickle.load(file)
    embeddings = keywords['inputs_embeds']
    assert embeddings.shape == (1, entry['token_nums'], DIM)
    return embeddings[0].float().numpy(), keywords


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize('index', [0, 1])
def test_picture_is_where_its_tokens_are(calibrated: Calibrated, index: int) -> None:
    image = calibrated.profile.image
    assert image
    embeddings, keywords = sample(calibrated, index)
    tokens = tokens_of(calibrated, index)
    assert embeddings.shape == (len(tokens), DIM)
    config = json.loads((calibrated.model / 'config.json').read_text())
    seen = tokens == config['image_token_id']
    assert seen.sum() == calibrated.family.tokens
    wanted, *levels = calibrated.family.embeddings(
        calibrated.model, calibrated.pictures[index], image.mean, image.std)
    # The model computes in the 16 bits that its weights have.
    assert cosine(embeddings[seen], wanted) > 0.999
    for found, level in zip(keywords.get('deepstack_visual_embeds', []), levels, strict=True):
        assert cosine(found.float().numpy(), level) > 0.999


def test_words_are_those_of_the_model(calibrated: Calibrated) -> None:
    embeddings, _ = sample(calibrated, 0)
    tokens = tokens_of(calibrated, 0)
    config = json.loads((calibrated.model / 'config.json').read_text())
    model = transformers.AutoModelForImageTextToText.from_pretrained(calibrated.model)
    with torch.no_grad():
        table = model.get_input_embeddings().weight.float().numpy()
    words = tokens != config['image_token_id']
    np.testing.assert_allclose(embeddings[words], table[tokens[words]], atol=1e-3)


def test_qwen_has_positions_in_a_grid(calibrated: Calibrated) -> None:
    if calibrated.name not in QWEN:
        pytest.skip('a model with positions in a row')
    _, keywords = sample(calibrated, 0)
    _, height, width = keywords['position_ids'][-3:, 0].numpy()
    tokens = tokens_of(calibrated, 0)
    config = json.loads((calibrated.model / 'config.json').read_text())
    seen = tokens == config['image_token_id']
    side = round(calibrated.family.tokens ** 0.5)
    grid = np.indices((side, side)).reshape(2, -1)
    np.testing.assert_array_equal(height[seen] - height[seen][0], grid[0])
    np.testing.assert_array_equal(width[seen] - width[seen][0], grid[1])


def test_toolkit_reads_it(calibrated: Calibrated) -> None:
    outcome = subprocess.run(
        [sys.executable, SCRIPT, JOB, calibrated.model], cwd=calibrated.folder,
        env={'PATH': '/usr/bin:/bin', 'PYTHONPATH': str(FAKE)}, capture_output=True, text=True,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    made = json.loads((calibrated.folder / 'llm.rkllm').read_text())
    kind = 'keywords' if calibrated.name in QWEN else 'embedding'
    assert made['samples'] == [kind, kind]
    # It is the same transformers: no warning.
    assert 'Warning' not in outcome.stderr


def test_tags_of_another_family_are_an_error(tmp_path: Path) -> None:
    family = FAMILIES['qwen2_vl']
    profile = small_profile(family)
    family.save(tmp_path / 'model')
    save_tokenizer(tmp_path / 'model', profile)
    assert profile.tags
    wrong = replace(profile, tags=replace(profile.tags, content='<IMG_CONTEXT>'))
    with pytest.raises(ConversionError, match='does not know <IMG_CONTEXT>'):
        emit(some_conversion(tmp_path, wrong, family), tmp_path / 'script', print)
