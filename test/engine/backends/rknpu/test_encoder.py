# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
import re
import sys

from made_pictures import noise
import numpy as np
import onnxruntime
import pytest
from simulated import board
from simulated.encoders import DATA, DEMO, ENCRYPTED, FLOAT, FOLDED, FOUR
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
from vlm_npu_ros.engine.backends.rknpu.encoder import RknnEncoder
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    BackendError,
    BackendUnavailableError,
    ImageError,
    ModelFileError,
    UnsupportedRuntimeError,
)
from vlm_npu_ros.engine.images import letterbox
from vlm_npu_ros.engine.models import ImageFormat, load_profile, ModelProfile

HALF = (0.5, 0.5, 0.5)
TINY = ImageFormat(
    tokens={32: 16},
    outputs=1,
    dim=8,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run each test on a simulated RK3588; return the folder of its files."""
    folder = board.rknn_tree(tmp_path / 'board')
    board.use(monkeypatch, folder)
    return folder


def profile(image: ImageFormat | None = TINY, **changes: object) -> ModelProfile:
    if image is not None:
        image = replace(image, **changes)
    return replace(load_profile('demo'), image=image)


def run_onnx(name: str, picture: np.ndarray, image: ImageFormat) -> list[np.ndarray]:
    pixels = (letterbox(picture, 32) / 255 - np.array(image.mean)) / np.array(image.std)
    session = onnxruntime.InferenceSession(DATA / name, providers=['CPUExecutionProvider'])
    return session.run(None, {'pixel': pixels.transpose(2, 0, 1)[None].astype(np.float32)})


def changed(path: Path, folder: Path, old: bytes, new: bytes) -> Path:
    """Write a copy of a file with a text replaced by one of the same length."""
    data, copy = path.read_bytes(), folder / path.name
    assert old in data and len(old) == len(new)
    copy.write_bytes(data.replace(old, new))
    return copy


def test_demo_encoder_does_what_its_onnx_graph_does() -> None:
    demo = load_profile('demo')
    graph = OnnxEncoder(demo.folder / demo.encoder, threads=1)
    encoder = RknnEncoder(DEMO, profile(None))
    assert (encoder.size, encoder.tokens, encoder.outputs, encoder.dim) == (128, 64, 1, graph.dim)
    rng = np.random.default_rng(0)
    for height, width in [(240, 320), (480, 640), (64, 48), (1, 1)]:
        picture = render(random_scene(rng), width, height)
        embedding = encoder.encode(picture)
        np.testing.assert_array_equal(embedding, graph.encode(picture))
        assert embedding.dtype == np.float32
        assert embedding.flags.c_contiguous


@pytest.mark.parametrize('name', [FOLDED.name, FLOAT.name, 'tiny_folded_2.5.0.rknn'])
@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
def test_normalises_where_the_file_does_not(name: str, layout: str, tmp_path: Path) -> None:
    path = changed(DATA / name, tmp_path, b'"layout": "NHWC"', f'"layout": "{layout}"'.encode())
    encoder = RknnEncoder(path, profile())
    for seed in range(3):
        (wanted,) = run_onnx('tiny.onnx', noise(seed), TINY)
        embedding = encoder.encode(noise(seed))
        assert embedding.shape == (16, 1, 8)
        np.testing.assert_allclose(embedding[:, 0], wanted, atol=1e-5)


def test_outputs_are_interleaved_for_each_token() -> None:
    encoder = RknnEncoder(FOUR, profile(outputs=4, mean=HALF, std=HALF))
    wanted = run_onnx('tiny_four.onnx', noise(1), replace(TINY, mean=HALF, std=HALF))
    embedding = encoder.encode(noise(1))
    assert encoder.outputs == 4
    assert embedding.shape == (16, 4, 8)
    assert embedding.flags.c_contiguous
    for level in range(4):
        np.testing.assert_allclose(embedding[:, level], wanted[level], atol=1e-5)


def test_encrypted_file_is_described_by_the_runtime() -> None:
    encoder = RknnEncoder(ENCRYPTED, profile(tokens={}))
    assert (encoder.size, encoder.tokens, encoder.outputs, encoder.dim) == (32, 16, 1, 8)
    np.testing.assert_array_equal(
        encoder.encode(noise(1)), RknnEncoder(FOLDED, profile()).encode(noise(1))
    )


@pytest.mark.parametrize('tokens, size', [({32: 16}, 0), ({32: 16}, 32), ({32: 16, 64: 64}, 32)])
def test_encrypted_file_is_described_by_the_profile(
    tokens: dict[int, int], size: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('SIMRKNN_NO_QUERY', '1')
    encoder = RknnEncoder(ENCRYPTED, profile(tokens=tokens), size=size)
    assert (encoder.size, encoder.tokens, encoder.outputs, encoder.dim) == (32, 16, 1, 8)
    assert encoder.encode(noise(1)).shape == (16, 1, 8)


@pytest.mark.parametrize('described, size', [
    (profile(None), 0),
    (profile(None), 32),
    (profile(tokens={}), 32),
    (profile(tokens={32: 16, 64: 64}), 0),
    (profile(tokens={64: 64}), 32),
])
def test_encrypted_file_that_nobody_describes_is_an_error(
    described: ModelProfile, size: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('SIMRKNN_NO_QUERY', '1')
    with pytest.raises(ModelFileError, match='image.tokens') as caught:
        RknnEncoder(ENCRYPTED, described, size=size)
    assert str(ENCRYPTED) in str(caught.value)


def test_profile_that_describes_another_encoder_is_noticed_at_the_first_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('SIMRKNN_NO_QUERY', '1')
    encoder = RknnEncoder(ENCRYPTED, profile(tokens={32: 8}, dim=16))
    with pytest.raises(BackendCrashedError, match=r'\[\(16, 8\)\], expected 1 of \(8, 16\)'):
        encoder.encode(noise(1))


@pytest.mark.parametrize('path', [FOLDED, ENCRYPTED], ids=['file', 'runtime'])
@pytest.mark.parametrize('changes, size, message', [
    ({'dim': 9}, 0, 'embedding width is 8 by the {}, but 9 by the profile demo'),
    ({'outputs': 4}, 0, 'number of outputs is 1 by the {}, but 4 by the profile demo'),
    ({'tokens': {32: 4}}, 0, 'tokens at 32 pixels is 16 by the {}, but 4 by the profile demo'),
    ({}, 448, 'size of the picture is 32 by the {}, but 448 by the parameters'),
])
def test_sources_that_contradict_each_other_are_an_error(
    path: Path, changes: dict[str, object], size: int, message: str,
) -> None:
    source = 'file' if path == FOLDED else 'runtime'
    with pytest.raises(ModelFileError, match=message.format(source)) as caught:
        RknnEncoder(path, profile(**changes), size=size)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('changes, message', [
    ({'mean': HALF}, r'mean of the pixels is \(122\.7.* by the file, but \(127\.5.* by the prof'),
    ({'std': (0.229, 0.224, 0.225)}, r'std of the pixels is \(68\.5.* by the file, but \(58'),
])
def test_file_with_the_colours_of_another_family_is_an_error(
    changes: dict[str, object], message: str,
) -> None:
    with pytest.raises(ModelFileError, match=message):
        RknnEncoder(FOLDED, profile(**changes))


def test_tokens_of_a_size_that_the_profile_does_not_know_are_those_of_the_file() -> None:
    assert RknnEncoder(FOLDED, profile(tokens={448: 196})).tokens == 16


def test_file_for_another_chip_is_an_error() -> None:
    with pytest.raises(ModelFileError, match='chip is rk3588 by the file, but rk3562 by the boa'):
        RknnEncoder(FOLDED, profile(), platform='rk3562')


def test_float_file_needs_a_profile_that_tells_how_to_normalise() -> None:
    with pytest.raises(ModelFileError, match='Add image.mean and image.std'):
        RknnEncoder(FLOAT, profile(None))


@pytest.mark.parametrize('chip, mask, cores', [
    ('rk3588', None, 7),
    ('rk3588', 1, 1),
    ('rk3588', 0, 0),
    ('rk3576', None, 3),
    ('rk3576', 7, 3),
    ('rk3562', None, 0),
    ('rk3562', 0, 0),
])
def test_runs_on_the_cores_that_the_chip_has(
    chip: str, mask: int | None, cores: int, tmp_path: Path,
) -> None:
    board.rknn_tree(tmp_path / 'board', chip)
    path = changed(FOLDED, tmp_path, b'rk3588', chip.encode())
    encoder = RknnEncoder(path, profile(), platform=chip, core_mask=mask)
    assert encoder._session._rknn.rknn_runtime.cores == cores


@pytest.mark.parametrize('chip, mask', [('rk3562', 7), ('rk3588', 5)])
def test_core_mask_that_rknnlite_refuses_is_an_error(chip: str, mask: int, tmp_path: Path) -> None:
    board.rknn_tree(tmp_path / 'board', chip)
    path = changed(FOLDED, tmp_path, b'rk3588', chip.encode())
    with pytest.raises(UnsupportedRuntimeError, match='(core_mask|core mode 5).*at its default'):
        RknnEncoder(path, profile(), platform=chip, core_mask=mask)


@pytest.mark.parametrize('variable', ['SIMRKNN_NAN', 'SIMRKNN_ZERO', 'SIMRKNN_RUN_FAILS'])
def test_first_run_that_fails_is_an_error(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = RknnEncoder(FOUR, profile(outputs=4, mean=HALF, std=HALF))
    monkeypatch.setenv(variable, '1')
    with pytest.raises(BackendCrashedError, match='Output 0 .* all zeros or not finite'):
        encoder.encode(noise(1))
    monkeypatch.delenv(variable)
    assert np.isfinite(encoder.encode(noise(1))).all()


def test_embedding_of_an_earlier_picture_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = RknnEncoder(FOLDED, profile())
    first = encoder.encode(noise(1))
    monkeypatch.setenv('SIMRKNN_RUN_FAILS', '1')
    for _ in range(2):
        with pytest.raises(BackendCrashedError, match='embedding of an earlier, different pict'):
            encoder.encode(noise(2))
    monkeypatch.delenv('SIMRKNN_RUN_FAILS')
    assert not np.array_equal(encoder.encode(noise(2)), first)
    np.testing.assert_array_equal(encoder.encode(noise(1)), first)


def test_embedding_is_that_of_the_picture_whatever_the_caller_does_with_an_earlier_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = RknnEncoder(FOLDED, profile())
    encoder.encode(noise(1))[:] = 0
    monkeypatch.setenv('SIMRKNN_RUN_FAILS', '1')
    with pytest.raises(BackendCrashedError, match='earlier, different picture'):
        encoder.encode(noise(2))


def test_camera_that_shows_the_same_picture_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, picture = RknnEncoder(FOLDED, profile()), noise(1, 32, 32)
    first = encoder.encode(picture)
    # The runtime cannot be told from one that rounds a faint change away.
    monkeypatch.setenv('SIMRKNN_RUN_FAILS', '1')
    np.testing.assert_array_equal(encoder.encode(picture), first)
    faint = picture.copy()
    faint[0, 0] ^= 1
    np.testing.assert_array_equal(encoder.encode(faint), first)


def test_no_result_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = RknnEncoder(FOLDED, profile())
    monkeypatch.setenv('SIMRKNN_NONE', '1')
    with pytest.raises(BackendCrashedError, match='returned no result'):
        encoder.encode(noise(1))


def without_library(tree: Path) -> None:
    (tree / 'usr/lib/librknnrt.so').unlink()


def without_device_tree(tree: Path) -> None:
    (tree / 'proc/device-tree/compatible').unlink()


def as_container(tree: Path) -> None:
    (tree / '.dockerenv').touch()


@pytest.mark.parametrize('spoil, message', [
    (without_library, 'Can not find dynamic library on RK3588!.*Put librknnrt.so into /usr/lib'),
    (without_device_tree, 'Please specify the target.*mount /proc/device-tree/compatible'),
    (as_container, 'files are missing in the container.*/dev/dri/renderD129'),
], ids=lambda value: getattr(value, '__name__', ''))
def test_board_that_lacks_something_is_an_error(
    spoil: Callable[[Path], None], message: str, tree: Path,
) -> None:
    spoil(tree)
    with pytest.raises(BackendUnavailableError, match=message):
        RknnEncoder(FOLDED, profile())


def test_runtime_that_refuses_the_file_is_an_error(tmp_path: Path) -> None:
    path = changed(FOLDED, tmp_path, b'["rk3588"]', b'["rk3562"]')
    with pytest.raises(ModelFileError, match='UNMATCH.*not older than rknn-toolkit2 2.3.2'):
        RknnEncoder(path, profile())


def test_encrypted_file_that_the_runtime_can_not_read_is_an_error(tmp_path: Path) -> None:
    path = changed(ENCRYPTED, tmp_path, b'CYPTRKNN', b'RKCERKNN')
    with pytest.raises(ModelFileError, match='MODEL_INVALID.*not older than the rknn-toolkit2'):
        RknnEncoder(path, profile())


def test_runtime_that_is_too_old_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SIMRKNN_INIT_RAISES', '1')
    with pytest.raises(UnsupportedRuntimeError, match='rknn_set_input_shapes.*An old'):
        RknnEncoder(FOLDED, profile())


def test_missing_rknnlite_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'rknnlite', None)
    with pytest.raises(BackendUnavailableError, match='aarch64.*pip install rknn-toolkit-lite2'):
        RknnEncoder(FOLDED, profile(), runtime='rknnlite')


def test_broken_file_is_an_error_before_anything_is_loaded(tmp_path: Path, tree: Path) -> None:
    without_library(tree)
    path = tmp_path / 'broken.rknn'
    path.write_bytes(FOLDED.read_bytes()[:20000])
    with pytest.raises(ModelFileError, match='cut short'):
        RknnEncoder(path, profile())


@pytest.mark.parametrize('picture', [
    np.zeros((0, 0, 3), np.uint8), np.zeros((48, 64), np.uint8), np.zeros((4, 4, 3), np.float32),
], ids=lambda picture: f'{picture.shape} {picture.dtype}')
def test_bad_picture_is_an_error(picture: np.ndarray) -> None:
    with pytest.raises(ImageError):
        RknnEncoder(FOLDED, profile()).encode(picture)


def test_file_is_not_kept_in_memory() -> None:
    assert RknnEncoder(FOLDED, profile())._session._rknn.rknn_data is None


def test_close_may_be_repeated() -> None:
    encoder = RknnEncoder(FOLDED, profile())
    encoder.close()
    encoder.close()
    with pytest.raises(BackendError):
        encoder.encode(noise(1))


def test_threads_take_turns() -> None:
    encoder = RknnEncoder(DEMO, profile(None))
    pictures = [noise(seed, 128, 128) for seed in range(4)]
    wanted = [encoder.encode(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            results = pool.map(encoder.encode, pictures)
            for result, right in zip(results, wanted, strict=True):
                np.testing.assert_array_equal(result, right)


def resident_kib() -> int:
    return int(re.search(r'VmRSS:\s*(\d+)', Path('/proc/self/status').read_text())[1])


def test_many_pictures_take_no_more_memory() -> None:
    encoder, pictures = RknnEncoder(DEMO, profile(None)), [noise(s, 480, 640) for s in range(2)]
    sizes = []
    for _ in range(4):
        for index in range(100):
            encoder.encode(pictures[index % 2])
        sizes.append(resident_kib())
    # An embedding that is kept each time would take 3200 KiB for each hundred, 9600 in all.
    assert sizes[-1] - sizes[0] < 8000


def test_many_encoders_take_no_more_memory() -> None:
    sizes = []
    for _ in range(4):
        for _ in range(8):
            encoder = RknnEncoder(DEMO, profile(None))
            encoder.encode(noise(1))
            encoder.close()
        sizes.append(resident_kib())
    # A file that is kept each time would take 15000 KiB for each eight, 45000 in all.
    assert sizes[-1] - sizes[0] < 35000
