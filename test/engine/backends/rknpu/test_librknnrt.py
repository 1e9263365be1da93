# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator
import ctypes
from dataclasses import replace
import os
from pathlib import Path
import re
import shutil
import struct
import sys
import threading
from typing import Any

from made_pictures import noise
import numpy as np
import psutil
import pytest
from simulated import board, runtime
from simulated.encoders import DEMO, ENCRYPTED, FLOAT, FOLDED, FOUR
from vlm_npu_ros.engine.backends.rknpu.encoder import RknnEncoder
from vlm_npu_ros.engine.backends.rknpu.rknn_api import CODES
from vlm_npu_ros.engine.backends.rknpu.runtime import RuntimeLibrary
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    BackendError,
    BackendUnavailableError,
    ModelFileError,
    UnsupportedRuntimeError,
)
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.models import ImageFormat, load_profile, ModelProfile
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest

CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
TINY = ImageFormat({32: 16}, 1, 8, *CLIP)
# 100,000 in the long form.
ENCODINGS = 100_000 if os.environ.get('VLM_FUZZ') == 'full' else 2000
GRAPH = ctypes.CFUNCTYPE(
    None, ctypes.POINTER(ctypes.c_uint8), ctypes.c_int, ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(ctypes.c_float)),
)


class Npu:
    """The variables of a simulated librknnrt.so: `npu.fail_run = -2` sets npu_fail_run."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.__dict__.update(library=library, graph=None)

    def __getattr__(self, name: str) -> int:
        return ctypes.c_int.in_dll(self.library, f'npu_{name}').value

    def __setattr__(self, name: str, value: int) -> None:
        ctypes.c_int.in_dll(self.library, f'npu_{name}').value = value

    def run_graph_of(self, path: Path) -> None:
        """Compute what the simulated RKNNLite computes for that file."""
        from simulated.rknnlite.api import Model

        model = Model.of(path.read_bytes(), 'rk3588')
        self.size, self.outputs = model.input[1], len(model.outputs)
        self.tokens, self.dim = model.outputs[0][-2:]

        def graph(pixels: Any, size: int, kind: int, outputs: Any) -> None:
            given = np.ctypeslib.as_array(pixels, (size,))
            fed = given if kind else given.view(np.float32)
            for output, values in zip(range(self.outputs), model.run(fed), strict=True):
                np.ctypeslib.as_array(outputs[output], values.shape)[:] = values

        self.__dict__['graph'] = GRAPH(graph)  # as long as the library may call it
        ctypes.c_void_p.in_dll(self.library, 'npu_graph').value = ctypes.cast(
            self.graph, ctypes.c_void_p
        ).value


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runtime.build_librknnrt(tmp_path_factory.mktemp('built') / 'librknnrt.so')


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = board.board_tree(tmp_path / 'board')
    board.use(monkeypatch, folder)
    return folder


@pytest.fixture
def npu(tree: Path, built: Path) -> Npu:
    """Put a simulated librknnrt.so on a simulated RK3588."""
    path = Path(shutil.copy(built, tree / 'usr/lib/librknnrt.so'))
    return Npu(ctypes.CDLL(str(path)))


Open = Callable[..., RknnEncoder]


@pytest.fixture
def load(npu: Npu) -> Iterator[Open]:
    """Return a function that loads a file; afterwards nothing may be left in the library."""
    opened = []

    def load(path: Path = FOLDED, image: ImageFormat = TINY, **options: Any) -> RknnEncoder:
        options = {'runtime': 'librknnrt', **options}
        opened.append(RknnEncoder(path, profile(image), **options))
        return opened[-1]

    yield load
    for encoder in opened:
        encoder.close()
    assert (npu.contexts, npu.held) == (0, 0)


def profile(image: ImageFormat | None = TINY) -> ModelProfile:
    demo = load_profile('demo')
    return demo if image is None else replace(demo, image=image)


@pytest.mark.parametrize('path, image', [
    (DEMO, None), (FOLDED, TINY), (FLOAT, TINY), (ENCRYPTED, TINY),
    (FOUR, ImageFormat({32: 16}, 4, 8, *HALF)),
], ids=lambda value: getattr(value, 'name', ''))
@pytest.mark.parametrize('layout', [b'NHWC', b'NCHW'])
def test_embeddings_are_the_same_with_both_runtimes(
    path: Path, image: ImageFormat | None, layout: bytes, npu: Npu, load: Open, tmp_path: Path,
) -> None:
    npu.run_graph_of(path)
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes().replace(b'"layout": "NHWC"', b'"layout": "%b"' % layout))
    own, lite = load(copy, image), load(copy, image, runtime='rknnlite')
    for name in ('size', 'tokens', 'outputs', 'dim'):
        assert getattr(own, name) == getattr(lite, name)
    for seed in range(5):
        np.testing.assert_array_equal(own.encode(noise(seed)), lite.encode(noise(seed)))


# One release of each class of interfaces of librkllmrt.so.
@pytest.mark.parametrize('version', ['1.1.4', '1.2.0', '1.2.1b1', '1.2.3', '1.3.0', '1.3.1'])
def test_answers_of_each_class_are_the_same_with_both_runtimes(
    version: str, npu: Npu, identified: Callable[[str], RuntimeLibrary], model_file: Path,
) -> None:
    npu.run_graph_of(DEMO)
    library, answers = str(identified(version).path), []
    for kind in ('rknnlite', 'librknnrt'):
        engine = load_engine(EngineSettings(
            'rknpu', str(Path(board.__file__).with_name('demo_rknpu.yaml')), str(DEMO),
            str(model_file),
            options=RknpuSettings(library, encoder_runtime=kind, probabilities='off'),
        ))
        assert npu.contexts == (kind == 'librknnrt')
        answers.append([
            engine.answer(GenerationRequest('what do you see?', (engine.encode(noise(i)),), 12))
            for i in range(2)
        ])
        engine.close()
    assert answers[0] == answers[1] and all(answers[0])


def test_library_is_given_the_path_and_what_rknnlite_gives(npu: Npu, load: Open) -> None:
    encoder = load()
    encoder.encode(noise(1))
    assert (npu.model_size, npu.flag, npu.core_mask, npu.extended) == (0, 1, 7, 0)
    uint8, float32, nhwc = 3, 0, 1
    given = npu.input_size, npu.input_type, npu.input_fmt, npu.pass_through, npu.want_float
    assert given == (32 * 32 * 3, uint8, nhwc, 0, 1)
    load(FLOAT).encode(noise(1))
    assert (npu.input_size, npu.input_type) == (32 * 32 * 3 * 4, float32)
    assert re.fullmatch(
        r'librknnrt.so 2.3.2 \(simulated\) \(.*/usr/lib/librknnrt.so\), NPU driver 0.9.8',
        encoder.versions,
    )


@pytest.mark.parametrize('without_lite', [True, False])
def test_auto_takes_rknnlite_where_it_imports(
    without_lite: bool, npu: Npu, load: Open, monkeypatch: pytest.MonkeyPatch,
) -> None:
    if without_lite:
        monkeypatch.setitem(sys.modules, 'rknnlite', None)
    encoder = load(runtime='auto')
    assert (npu.contexts == 1) is without_lite
    assert encoder.encode(noise(1)).shape == (16, 1, 8)


@pytest.mark.parametrize('place', [
    'usr/lib/aarch64-linux-gnu', 'usr/local/lib', 'lib64', 'usr/lib64', 'vendor/lib64',
])
def test_library_may_be_where_rknnlite_does_not_look(place: str, tree: Path, built: Path) -> None:
    (tree / 'usr/lib/librknnrt.so').unlink()
    with pytest.raises(BackendUnavailableError, match='no librknnrt.so.*rknn-toolkit2'):
        RknnEncoder(FOLDED, profile(), runtime='librknnrt')
    (tree / place).mkdir(parents=True)
    shutil.copy(built, tree / place)
    encoder = RknnEncoder(FOLDED, profile(), runtime='librknnrt')
    assert f'{tree / place}/librknnrt.so' in encoder.versions
    encoder.close()


LOADING = {
    -1: BackendUnavailableError, -2: BackendUnavailableError, -3: BackendUnavailableError,
    -4: BackendUnavailableError, -5: UnsupportedRuntimeError, -6: ModelFileError,
    -7: BackendUnavailableError, -8: ModelFileError, -9: ModelFileError,
    -10: UnsupportedRuntimeError, -11: ModelFileError, -12: ModelFileError, -13: ModelFileError,
    -99: BackendUnavailableError, 3: BackendUnavailableError,
}
# Variables of the simulated library, and what returns their codes at work.
WORKING = {
    'fail_inputs': 'rknn_inputs_set',
    'fail_run': 'rknn_run',
    'fail_outputs': 'rknn_outputs_get',
    'fail_release': 'rknn_outputs_release',
}


@pytest.mark.parametrize('code', LOADING)
def test_each_code_is_its_error(code: int, npu: Npu, load: Open) -> None:
    name = re.escape(CODES[code][0] if code in CODES else f'unknown code {code}')
    for step in ('init', 'query'):
        setattr(npu, f'fail_{step}', code)
        with pytest.raises(LOADING[code], match=f'rknn_{step}.* returned .*{name}') as caught:
            load()
        assert type(caught.value) is LOADING[code] and caught.value.remedy
        setattr(npu, f'fail_{step}', 0)
    npu.fail_core_mask = code
    with pytest.raises(UnsupportedRuntimeError, match=f'core_mask returned .*{name}.*7.*default'):
        load()
    npu.fail_core_mask = 0
    encoder = load()
    wanted = encoder.encode(noise(1))
    for variable, function in WORKING.items():
        setattr(npu, variable, code)
        with pytest.raises(BackendCrashedError, match=f'{function} returned .*{name}'):
            encoder.encode(noise(2))
        setattr(npu, variable, 0)
        np.testing.assert_array_equal(encoder.encode(noise(1)), wanted)


def test_file_that_is_no_model_is_an_error(load: Open, tmp_path: Path) -> None:
    path = tmp_path / 'a file.rknn'
    path.write_bytes(ENCRYPTED.read_bytes().replace(b'CYPTRKNN', b'RKCERKNN'))
    with pytest.raises(ModelFileError, match=r'RKNN_ERR_MODEL_INVALID \(-6\).*invalid model'):
        load(path)


def test_cores_that_the_chip_does_not_have(npu: Npu, load: Open) -> None:
    npu.cores = 2
    with pytest.raises(UnsupportedRuntimeError, match='core_mask 4.*at its default'):
        load(core_mask=4)
    load(core_mask=3)
    assert npu.core_mask == 3
    npu.cores = 1
    load(core_mask=0)


def test_graph_with_several_inputs_is_an_error(npu: Npu, load: Open) -> None:
    npu.inputs = 2
    with pytest.raises(ModelFileError, match='takes 2 inputs'):
        load()


def test_graph_that_wants_another_picture_than_the_file_says(npu: Npu, load: Open) -> None:
    npu.size = 64
    with pytest.raises(BackendCrashedError, match='12288 numbers.*not 3072'):
        load().encode(noise(1))


def test_library_that_is_cut_short_is_not_loaded(load: Open, tree: Path) -> None:
    library = tree / 'usr/lib/librknnrt.so'
    whole = library.read_bytes()
    for size in (10, 100, 4096, len(whole) - 1):
        library.unlink()  # the one that is loaded keeps its file
        library.write_bytes(whole[:size])
        with pytest.raises(UnsupportedRuntimeError, match='cut short|too short'):
            load()


def test_lock_that_cannot_be_opened_leaves_nothing_behind(load: Open, tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match='lock of the NPU'):
        load(lock=str(tmp_path / 'none/lock'))


def test_package_that_does_not_fit_numpy_is_passed_over(
    load: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:

        def find_spec(self, name: str, *_: object) -> None:
            if name.startswith('rknnlite'):
                raise ValueError('numpy.dtype size changed')

    for name in [name for name in sys.modules if name.startswith('rknnlite')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, 'meta_path', [Broken(), *sys.meta_path])
    assert 'librknnrt.so' in load(runtime='auto').versions


def test_hanging_run_stops_no_other_thread(npu: Npu, load: Open) -> None:
    encoder, results = load(), []
    npu.running, npu.hang = 0, 1
    hanging = threading.Thread(target=lambda: results.append(encoder.encode(noise(1))))
    hanging.start()
    while not npu.running:
        assert hanging.is_alive()
    assert not results
    npu.hang = 0
    hanging.join(60)
    assert results[0].shape == (16, 1, 8)


def test_closed_encoder_is_an_error(npu: Npu, load: Open) -> None:
    encoder = load()
    encoder.close()
    encoder.close()
    with pytest.raises(BackendError, match='is closed'):
        encoder.encode(noise(1))
    assert npu.destroyed == 1


@pytest.mark.parametrize('kind', ['librknnrt', 'rknnlite'])
def test_many_encodings_leave_nothing_behind(kind: str, load: Open) -> None:
    encoder, process, found = load(runtime=kind), psutil.Process(), []
    pictures = [noise(seed, 32, 32) for seed in range(2)]
    for _ in range(5):
        # The first part is what Python and the allocator keep once.
        for index in range(ENCODINGS // 5):
            encoder.encode(pictures[index % 2])
        found.append((
            process.memory_info().rss, process.num_fds(), process.num_threads(),
        ))
    memory, files, threads = zip(*found, strict=True)
    # What earlier tests have left may end meanwhile.
    assert files[-1] <= files[0] and threads[-1] <= threads[0]
    # Of the last three parts; an output that is kept each time would take 307 for each encoding.
    assert memory[-1] - memory[1] < 50 * ENCODINGS + 300_000


def test_large_file_takes_no_memory(npu: Npu, load: Open, tmp_path: Path) -> None:
    # Zeros between body and trailer, a hole in the file, which the library reads.
    data, path = FOLDED.read_bytes(), tmp_path / 'large.rknn'
    size, (body,) = 300_000_000, struct.unpack_from('<Q', data, 16)
    with open(path, 'wb') as file:
        file.write(data[:16] + struct.pack('<Q', size) + data[24:64 + body])
        file.seek(64 + size)
        file.write(data[64 + body:])
    load().encode(noise(1))
    Path('/proc/self/clear_refs').write_text('5')  # the peak begins anew
    before = kib('VmRSS')
    load(path).encode(noise(1))
    assert kib('VmHWM') - before < 20_000
    assert npu.model_size == 0


def kib(name: str) -> int:
    found = re.search(rf'{name}:\s+(\d+)', Path('/proc/self/status').read_text())
    assert found
    return int(found[1])
