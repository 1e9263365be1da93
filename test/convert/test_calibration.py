# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The calibration data: what is sent through a model, and the form that the toolkit reads.

What models make of it is in real/test_calibration.py.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from vlm_npu_ros.convert import calibration, rkllm
from vlm_npu_ros.convert.calibration import patches, Request, write

FAKE = Path(__file__).parent / 'fake_rkllm'


class Tensor(np.ndarray):
    """As much of a torch.Tensor as is used."""

    def float(self) -> Tensor:  # noqa: A003  # as torch calls it
        return self.astype(np.float32)


def embeddings(*shape: int) -> Tensor:
    return np.random.default_rng(0).normal(size=shape).view(Tensor)


def some_request() -> Request:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    return Request(pictures, ['<i><i>a', '<i><i>b'], '<i>', True, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])


def test_request_survives_its_way_to_the_stage(tmp_path: Path) -> None:
    request = some_request()
    request.save(tmp_path)
    found = Request.load(tmp_path)
    np.testing.assert_array_equal(found.pictures, request.pictures)
    assert found[1:] == request[1:]


def test_pixels_are_normalised_rgb_planes() -> None:
    request = some_request()
    pixels = request.pixels(1)
    assert pixels.shape == (3, 8, 8) and pixels.dtype == np.float32
    red, blue = request.pictures[1, 2, 5, 0], request.pictures[1, 2, 5, 2]
    assert pixels[0, 2, 5] == pytest.approx((red / 255 - 0.5) / 0.2, abs=1e-6)
    assert pixels[2, 2, 5] == pytest.approx((blue / 255 - 0.3) / 0.4, abs=1e-6)


def test_patches_come_in_the_order_in_which_they_merge() -> None:
    side = np.arange(8)
    pixels = np.stack([side[:, None] * np.ones(8), side * np.ones((8, 1)), np.zeros((8, 8))])
    flat = patches(pixels, patch=2, merge=2, frames=2)
    assert flat.shape == (16, 3 * 2 * 2 * 2)
    corners = [(int(row[0]), int(row[8])) for row in flat]  # y and x of each first pixel
    assert corners[:8] == [(0, 0), (0, 2), (2, 0), (2, 2), (0, 4), (0, 6), (2, 4), (2, 6)]
    (first, second) = flat[0].reshape(3, 2, 2, 2).transpose(1, 0, 2, 3)
    np.testing.assert_array_equal(first, second)  # a still picture is two equal frames


@pytest.mark.parametrize('as_keywords, kind', [(True, 'keywords'), (False, 'embedding')])
def test_toolkit_reads_what_is_written(
    as_keywords: bool, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [({'inputs_embeds': embeddings(1, n, 4)}, 'An answer.') for n in (7, 5)]
    assert write(tmp_path, iter(samples), as_keywords) == [7, 5]
    monkeypatch.syspath_prepend(FAKE)
    monkeypatch.chdir(tmp_path)
    from rkllm.api import check_dataset

    assert check_dataset('./inputs.json') == [kind, kind]


def test_embeddings_keep_their_values(tmp_path: Path) -> None:
    values = embeddings(1, 3, 4)
    write(tmp_path, iter([({'inputs_embeds': values}, 'Red.')]), as_keywords=False)
    (entry,) = json.loads((tmp_path / 'inputs.json').read_text())
    assert entry['target'] == 'Red.'
    np.testing.assert_allclose(entry['input_embed'], values, rtol=1e-3)


@pytest.mark.parametrize('module', [calibration, rkllm])
def test_stages_run_on_the_oldest_python_that_the_toolkit_has(module: object) -> None:
    source = Path(module.__file__).read_text(encoding='utf-8')  # type: ignore[attr-defined]
    ast.parse(source, feature_version=(3, 9))
    assert 'from __future__ import annotations' in source
