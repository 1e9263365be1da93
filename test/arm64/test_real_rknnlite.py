# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The real rknnlite behaves as its imitation in test/simulated and the encoder take for granted.

It is the wheel that boards have, in an emulated arm64 Debian, above a simulated librknnrt.so.
"""

from __future__ import annotations

from collections.abc import Callable
import json
import os
from pathlib import Path
import subprocess
import sys
import textwrap
from typing import Any

import pytest

if 'QEMU_LD_PREFIX' not in os.environ:
    pytest.skip('needs emulated arm64: make test-arm64 runs it', allow_module_level=True)

HERE = Path(__file__).parent
SCRIPT = """
import ctypes, json, sys
import numpy as np
from rknnlite.api import RKNNLite

model, invalid = sys.argv[1:]
lite, found = RKNNLite(), {{}}
picture = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(1, 32, 32, 3)

def npu(name, set_to=None):
    variable = ctypes.c_int.in_dll(ctypes.CDLL('/usr/lib/librknnrt.so'), 'npu_' + name)
    if set_to is not None:
        variable.value = set_to
    return variable.value

def first_bytes(count):
    library = ctypes.CDLL('/usr/lib/librknnrt.so')
    return list((ctypes.c_uint8 * count).in_dll(library, 'npu_input'))

def start(**options):
    lite.load_rknn(model)
    return lite.init_runtime(**options)

{script}
print(json.dumps(found))
"""


class Board:
    """A tree that is the emulated Debian plus what an RK3588 has: links to the former."""

    def __init__(self, path: Path) -> None:
        self.path = path
        debian = Path(os.environ['QEMU_LD_PREFIX'])
        link_all(debian, path, but=('usr', 'dev', 'proc'))
        link_all(debian / 'usr', path / 'usr', but=('lib',))
        link_all(debian / 'usr' / 'lib', path / 'usr' / 'lib')
        self.library = path / 'usr' / 'lib' / 'librknnrt.so'
        self.compatible = path / 'proc' / 'device-tree' / 'compatible'
        self.compatible.parent.mkdir(parents=True)
        # In a container rknnlite looks for this one too.
        (path / 'dev' / 'dri').mkdir(parents=True)
        (path / 'dev' / 'dri' / 'renderD129').touch()
        self.set_chip('rk3588')
        self.model = path / 'model.rknn'
        self.model.write_bytes(b'RKNN' + bytes(1020))

    def set_chip(self, chip: str) -> None:
        self.compatible.write_bytes(f'rockchip,{chip}-evb\0rockchip,{chip}\0'.encode())

    def build_library(self, *options: str) -> None:
        subprocess.run(
            ['cc', '-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', *options,
             str(HERE.parent / 'simulated/librknnrt.c'), '-o', str(self.library)],
            check=True,
        )

    def run(self, script: str) -> dict[str, Any]:
        """Run the end of SCRIPT there; return what it put into `found`, and 'log'."""
        invalid = self.path / 'invalid.rknn'
        invalid.write_bytes(os.urandom(1024))
        done = subprocess.run(
            [sys.executable, '-c', SCRIPT.format(script=textwrap.dedent(script)),
             str(self.model), str(invalid)],
            env={**os.environ, 'QEMU_LD_PREFIX': str(self.path)},
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        log, _, found = done.stdout.rstrip('\n').rpartition('\n')
        return {**json.loads(found), 'log': log}


def link_all(source: Path, target: Path, but: tuple[str, ...] = ()) -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name not in but:
            (target / entry.name).symlink_to(entry)


@pytest.fixture
def bare_board(tmp_path: Path) -> Board:
    """Return a board on which librknnrt.so is not installed."""
    return Board(tmp_path / 'a board')


@pytest.fixture
def board(bare_board: Board) -> Board:
    bare_board.build_library()
    return bare_board


def test_return_codes_of_load_rknn(bare_board: Board) -> None:
    found = bare_board.run("""
        found['missing'] = lite.load_rknn('/none.rknn')
        found['invalid'] = lite.load_rknn(invalid)
        found['kept'] = len(lite.rknn_data)
    """)
    assert (found['missing'], found['invalid'], found['kept']) == (-1, 0, 1024)
    assert 'Invalid RKNN model path: /none.rknn' in found['log']


def test_what_needs_a_runtime_returns_none_without_one(bare_board: Board) -> None:
    found = bare_board.run("""
        found['before load'] = lite.init_runtime()
        found['inference'] = lite.inference([picture])
        found['version'] = lite.get_sdk_version()
        found['release'] = [lite.release(), lite.release()]
    """)
    del found['log']
    assert found == {
        'before load': -1, 'inference': None, 'version': None, 'release': [None, None],
    }


def test_init_runtime_needs_a_device_tree(board: Board) -> None:
    board.compatible.unlink()
    assert board.run("found['code'] = start()")['code'] == -1


def test_init_runtime_needs_the_library_in_usr_lib(bare_board: Board) -> None:
    bare_board.build_library()
    elsewhere = bare_board.path / 'opt'
    elsewhere.mkdir()
    bare_board.library.rename(elsewhere / 'librknnrt.so')
    found = bare_board.run("""
        import os
        os.environ['LD_LIBRARY_PATH'] = '/opt'
        found['code'] = start()
    """)
    assert found['code'] == -1


def test_init_runtime_raises_with_an_older_library(bare_board: Board) -> None:
    bare_board.build_library('-DWITHOUT_INPUT_SHAPES')
    found = bare_board.run("""
        try:
            start()
        except AttributeError as error:
            found['error'] = str(error)
    """)
    assert 'rknn_set_input_shapes' in found['error']


def test_init_runtime_refuses_an_invalid_model(board: Board) -> None:
    found = board.run("""
        lite.load_rknn(invalid)
        found['code'] = lite.init_runtime()
    """)
    assert found['code'] == -1
    assert 'RKNN_ERR_MODEL_INVALID' in found['log']


@pytest.mark.parametrize('chip, asked, code, given', [
    ('rk3588', 'AUTO', 0, -1),
    ('rk3588', '0_1_2', 0, 7),
    ('rk3576', '0_1', 0, 3),
    ('rk3576', '0_1_2', 0, 3),
    ('rk3562', '0', -1, -1),
])
def test_cores(board: Board, chip: str, asked: str, code: int, given: int) -> None:
    board.set_chip(chip)
    found = board.run(f"""
        found['code'] = start(core_mask=RKNNLite.NPU_CORE_{asked})
        found['given'] = npu('core_mask')
    """)
    assert (found['code'], found['given']) == (code, given)


def test_model_data_can_go_once_the_runtime_has_it(board: Board) -> None:
    found = board.run("""
        found['code'] = start()
        found['given'] = npu('model_size')
        found['flag'] = npu('flag')
        lite.rknn_data = None
        found['outputs'] = len(lite.inference([picture], data_format=['nhwc']))
        lite.release()
        lite.release()
        found['destroyed'] = npu('destroyed')
    """)
    assert (found['code'], found['given'], found['flag']) == (0, 1024, 1)
    assert (found['outputs'], found['destroyed']) == (1, 1)
    assert 'Query dynamic range failed' in found['log'], 'a harmless warning to keep out of logs'


def test_version_text(board: Board) -> None:
    version = board.run("start(); found['version'] = lite.get_sdk_version()")['version']
    assert 'API: 2.3.2 (simulated)' in version and 'DRV: 0.9.8' in version


def test_pictures_reach_the_npu_as_they_are(board: Board) -> None:
    found = board.run("""
        start()
        for name, array, options in (
            ('bytes', picture, {'data_format': ['nhwc']}),
            ('default', picture, {}),
            ('floats', picture.astype(np.float32),
             {'data_format': ['nhwc'], 'data_type': ['float32']}),
            ('floats, no type', picture.astype(np.float32), {'data_format': ['nhwc']}),
            ('floats by name', picture.astype(np.float32),
             {'data_format': ['nhwc'], 'data_type': 'float32'}),
            ('channels first', np.ascontiguousarray(picture.transpose(0, 3, 1, 2)),
             {'data_format': ['nchw']}),
            ('a view', np.concatenate([picture, picture], axis=2)[:, :, :32],
             {'data_format': ['nhwc']}),
            ('too small', picture[:, :4, :4], {'data_format': ['nhwc']}),
        ):
            result = lite.inference([array], **options)
            found[name] = [
                None if result is None else len(result), npu('input_size'), npu('input_type'),
                npu('input_fmt'), npu('pass_through'), first_bytes(6),
            ]
    """)
    uint8, float32, nhwc = 3, 0, 1
    as_it_is = [1, 32 * 32 * 3, uint8, nhwc, 0, [0, 1, 2, 3, 4, 5]]
    assert found['bytes'] == found['default'] == as_it_is
    assert found['channels first'] == found['a view'] == as_it_is
    assert found['floats'] == found['floats by name'] == found['floats, no type']
    assert found['floats'][:5] == [1, 32 * 32 * 3 * 4, float32, nhwc, 0]
    # Nothing checks the size: too few bytes go to the NPU.
    assert found['too small'] == [1, 4 * 4 * 3, uint8, nhwc, 0, [0, 1, 2, 3, 4, 5]]


def test_pictures_need_four_dimensions(board: Board) -> None:
    found = board.run("""
        start()
        found['outputs'] = lite.inference([picture[0]], data_format=['nhwc'])
    """)
    assert found['outputs'] is None
    assert 'need 4dims input' in found['log']


def test_outputs_are_float_arrays_in_order(board: Board) -> None:
    found = board.run("""
        npu('outputs', 4)
        start()
        outputs, again = (
            lite.inference([picture * 0], data_format=['nhwc']) for _ in range(2)
        )
        found['shapes'] = [a.shape for a in outputs]
        found['types'] = [str(a.dtype) for a in outputs]
        found['firsts'] = [float(a[0, 0]) for a in outputs]
        found['lasts'] = [float(a[-1, -1]) for a in outputs]
        found['shared'] = any(np.shares_memory(a, b) for a, b in zip(outputs, again))
        found['want_float'] = npu('want_float')
    """)
    assert found['shapes'] == [[16, 8]] * 4
    assert found['types'] == ['float32'] * 4
    assert found['firsts'] == [0, 1000, 2000, 3000]
    assert found['lasts'] == [127, 1127, 2127, 3127]
    assert (found['shared'], found['want_float']) == (False, 1)


def test_a_failed_run_goes_unnoticed(board: Board) -> None:
    found = board.run("""
        def first_number(picture):
            outputs = lite.inference([picture], data_format=['nhwc'])
            return None if outputs is None else float(outputs[0][0, 0])

        start()
        found['before'] = first_number(picture)
        for step in ('run', 'inputs', 'outputs'):
            npu('fail_' + step, -1)
            found[step] = first_number(picture * 0)
            npu('fail_' + step, 0)
        found['after'] = first_number(picture * 0)
    """)
    stale = sum(range(64))
    assert (found['before'], found['after']) == (stale, 0)
    assert (found['run'], found['inputs'], found['outputs']) == (stale, None, None)


def test_private_queries_tell_shapes(board: Board) -> None:
    found = board.run("""
        npu('outputs', 4)
        start()
        runtime = lite.rknn_runtime
        found['numbers'] = runtime.get_in_out_num()
        for name, attributes in (
            ('input', runtime.get_tensor_attr(0)),
            ('output', runtime.get_tensor_attr(2, is_output=True)),
        ):
            found[name] = [list(attributes.dims)[:attributes.n_dims], attributes.fmt]
        found['shape'] = runtime.get_output_shape(1)
    """)
    assert found['numbers'] == [1, 4]
    assert found['input'] == [[1, 32, 32, 3], 1]
    assert found['output'] == [[16, 8], 3]
    assert found['shape'] == [16, 8]


ENCODER = f"""
from dataclasses import replace
from pathlib import Path
from vlm_npu_ros.engine.backends.rknpu.encoder import RknnEncoder
from vlm_npu_ros.engine.errors import BackendError
from vlm_npu_ros.engine.models import ImageFormat, load_profile

CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
data = Path({str(HERE.parent / 'data')!r})

def encoder_of(name, normalisation, outputs=1):
    if outputs > 1:
        npu('outputs', outputs)
    image = ImageFormat({{32: 16}}, outputs, 8, *normalisation)
    return RknnEncoder(data / name, replace(load_profile('demo'), image=image))
"""


@pytest.mark.parametrize('name, normalisation, outputs, size, kind', [
    ('tiny_folded_2.3.2.rknn', 'CLIP', 1, 32 * 32 * 3, 3),
    ('tiny_four.rknn', 'HALF', 4, 32 * 32 * 3, 3),
    ('tiny_float.rknn', 'CLIP', 1, 32 * 32 * 3 * 4, 0),
])
def test_encoder_feeds_the_npu(
    board: Board, name: str, normalisation: str, outputs: int, size: int, kind: int,
) -> None:
    found = board.run(ENCODER + f"""
encoder = encoder_of('{name}', {normalisation}, {outputs})
embedding = encoder.encode(picture[0])
found['shape'] = embedding.shape
found['steps'] = np.diff(embedding[0, :, 0]).tolist()
found['given'] = [npu('input_size'), npu('input_type'), npu('input_fmt'), npu('core_mask')]
found['bytes'] = first_bytes(6)
encoder.close()
found['destroyed'] = npu('destroyed')
    """)
    assert found['shape'] == [16, outputs, 8]
    assert found['steps'] == [1000] * (outputs - 1)
    assert found['given'] == [size, kind, 1, 7]
    if kind == 3:
        assert found['bytes'] == [0, 1, 2, 3, 4, 5]
    assert found['destroyed'] == 1


def test_encoder_notices_a_failed_run(board: Board) -> None:
    found = board.run(ENCODER + """
encoder = encoder_of('tiny_folded_2.3.2.rknn', CLIP)
encoder.encode(picture[0])
npu('fail_run', -1)
try:
    encoder.encode(255 - picture[0])
except BackendError as error:
    found['error'] = str(error)
    """)
    assert 'embedding of an earlier, different picture' in found['error']


def without_library(board: Board) -> None:
    board.library.unlink()


def without_device_tree(board: Board) -> None:
    board.compatible.unlink()


def with_older_library(board: Board) -> None:
    board.build_library('-DWITHOUT_INPUT_SHAPES')


@pytest.mark.parametrize('spoil, message', [
    (without_library, 'Put librknnrt.so into /usr/lib itself'),
    (without_device_tree, 'Run it on a Rockchip board'),
    (with_older_library, 'An old /usr/lib/librknnrt.so'),
])
def test_encoder_says_what_the_board_lacks(
    board: Board, spoil: Callable[[Board], None], message: str,
) -> None:
    spoil(board)
    found = board.run(ENCODER + """
try:
    encoder_of('tiny_folded_2.3.2.rknn', CLIP)
except BackendError as error:
    found['error'] = str(error)
    """)
    assert message in found['error']
