# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
from vlm_npu_ros.engine.errors import ImageError, ModelFileError
from vlm_npu_ros.engine.images import letterbox
from vlm_npu_ros.engine.models import load_profile

WriteEncoder = Callable[..., Path]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope='module')
def demo_encoder() -> OnnxEncoder:
    profile = load_profile('demo')
    return OnnxEncoder(profile.folder / profile.encoder, threads=1)


@pytest.mark.parametrize('height, width', [(3, 3), (48, 64), (64, 48), (1, 500)])
def test_graph_gets_the_letterboxed_picture(
    height: int, width: int, tmp_path: Path, write_encoder: WriteEncoder,
) -> None:
    encoder = OnnxEncoder(write_encoder(tmp_path / 'encoder.onnx', size=3, dim=5), threads=1)
    picture = noise(height, width)
    embedding = encoder.encode(picture)
    assert encoder.dim == 5
    assert embedding.shape == (9, 1, 5)
    # The graph's tokens are the pixels, with zeros behind them.
    np.testing.assert_array_equal(embedding[:, 0, :3], letterbox(picture, 3).reshape(-1, 3))
    np.testing.assert_array_equal(embedding[:, 0, 3:], 0)


@pytest.mark.parametrize('height, width', [(480, 640), (1080, 1920), (640, 480), (1, 1)])
def test_demo_embeds_a_picture_of_any_size(
    height: int, width: int, demo_encoder: OnnxEncoder,
) -> None:
    embedding = demo_encoder.encode(noise(height, width))
    assert embedding.shape == (64, 1, demo_encoder.dim)
    assert embedding.dtype == np.float32
    assert embedding.flags.c_contiguous
    assert np.isfinite(embedding).all()


def test_demo_repeats_itself_and_tells_pictures_apart(demo_encoder: OnnxEncoder) -> None:
    dark, light = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 255, np.uint8)
    first = demo_encoder.encode(dark)
    assert not np.allclose(first, demo_encoder.encode(light), atol=0.1)
    np.testing.assert_array_equal(first, demo_encoder.encode(dark))


def test_picture_may_be_read_only_and_have_gaps(demo_encoder: OnnxEncoder) -> None:
    picture = noise(48, 64)
    view = np.zeros((48, 100, 3), np.uint8)[:, :64]
    view[:] = picture
    view.flags.writeable = False
    np.testing.assert_array_equal(demo_encoder.encode(view), demo_encoder.encode(picture))


@pytest.mark.parametrize('picture', [
    np.zeros((0, 0, 3), np.uint8),
    np.zeros((48, 64), np.uint8),
    np.zeros((48, 64, 4), np.uint8),
    np.zeros((48, 64, 3), np.float32),
], ids=lambda picture: f'{picture.shape} {picture.dtype}')
def test_bad_picture_is_an_error(picture: np.ndarray, demo_encoder: OnnxEncoder) -> None:
    with pytest.raises(ImageError):
        demo_encoder.encode(picture)


def test_graph_with_another_type_of_picture_is_an_error(
    tmp_path: Path, write_encoder: WriteEncoder,
) -> None:
    path = write_encoder(tmp_path / 'encoder.onnx', input_type=1)
    with pytest.raises(ModelFileError, match='not a vision encoder: expected .* uint8') as caught:
        OnnxEncoder(path, threads=1)
    assert str(path) in str(caught.value)


def test_language_model_is_an_error(
    tmp_path: Path, write_language_model: Callable[..., Path],
) -> None:
    path = write_language_model(tmp_path / 'language_model.onnx')
    with pytest.raises(ModelFileError, match='is not a vision encoder'):
        OnnxEncoder(path, threads=1)


def test_close_may_be_repeated(demo_encoder: OnnxEncoder) -> None:
    demo_encoder.close()
    demo_encoder.close()
