# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Simulated RKNNLite for tests: rknnlite.api of rknn-toolkit-lite2 2.3.2, without an NPU.

It behaves as the real class was seen to do on aarch64 with a stand-in for librknnrt.so: what is
printed, returned and raised, and what is not checked. The board is the tree that VLM_NPU_SYSROOT
names. Graphs that it knows by their custom_string are run by onnxruntime; other files yield
numbers that depend on the picture.

    SIMRKNN_RUN_FAILS=1    each run fails, which RKNNLite hides: outputs stay as they were
    SIMRKNN_NAN=1          outputs are not finite
    SIMRKNN_ZERO=1         outputs are zeros
    SIMRKNN_NONE=1         outputs cannot be fetched
    SIMRKNN_INIT_RAISES=1  librknnrt.so is too old
    SIMRKNN_NO_QUERY=1     the private queries are gone
    SIMRKNN_SEGV=1         a run is a SIGSEGV
    SIMRKNN_HANG=1         a run hangs
    SIMRKNN_SECONDS=x      a run takes so much longer
    SIMRKNN_INIT_SECONDS=x init_runtime takes so much longer

Read at each call. SIMNPU_FAULTS names a file of such lines: see ../librkllmrt/README.md.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from contextlib import suppress
import fcntl
import json
import os
from pathlib import Path
import re
import signal
import struct
import time
from types import SimpleNamespace
from typing import Any
import zlib

import numpy as np
import onnxruntime

DATA = Path(__file__).resolve().parents[2] / 'data'
GRAPHS = {
    'demo': DATA.parents[1] / 'resource' / 'demo_model' / 'vision_encoder.onnx',
    'tiny': DATA / 'tiny.onnx',
    'tiny_four': DATA / 'tiny_four.onnx',
}
# What the one encrypted file of test/data is made from.
DECRYPTED = DATA / 'tiny_folded_2.3.2.rknn'
CHIPS = ('rk3588', 'rk3576', 'rk3568', 'rk3566', 'rk3562', 'rv1126b')
VERSION = """\
==============================================
RKNN VERSION:
  API: 2.3.2 (429f97ae6b@2025-04-09T09:09:27)
  DRV: 0.9.8
==============================================
"""


class RKNNLite:
    """Simulated; see the module."""

    NPU_CORE_AUTO = 0
    NPU_CORE_0 = 1
    NPU_CORE_1 = 2
    NPU_CORE_2 = 4
    NPU_CORE_0_1 = 3
    NPU_CORE_0_1_2 = 7
    NPU_CORE_ALL = 0xffff

    def __init__(self, verbose: bool = False, verbose_file: str | None = None) -> None:
        self.rknn_data: bytes | None = None
        self.rknn_runtime: Runtime | None = None

    def load_rknn(self, path: str) -> int:
        """Keep the bytes of any file that can be read."""
        if not os.path.exists(path):
            say(f'E Invalid RKNN model path: {path or None}')
            return -1
        try:
            self.rknn_data = Path(path).read_bytes()
        except OSError as error:
            say(f'E Catch exception when loading RKNN model [{path}]!', f'E {error}')
            return -1
        return 0

    def init_runtime(
        self,
        target: str | None = None,
        device_id: str | None = None,
        async_mode: bool = False,
        core_mask: int = NPU_CORE_AUTO,
    ) -> int:
        """Read the model; the rules about the board are those of the real class."""
        time.sleep(fault_seconds('SIMRKNN_INIT_SECONDS'))
        if self.rknn_data is None:
            say('E Model is not loaded yet, this interface should be called after load_rknn!')
            return -1
        self.release()
        try:
            chip = find_board()
            model = Model.of(self.rknn_data, chip)
        except RuntimeFault as fault:
            say('E Catch exception when init runtime!', 'E Traceback (most recent call last):',
                '  File "rknnlite/api/rknn_runtime.py", line 1', f'Exception: {fault}', '')
            return -1
        if is_asked('SIMRKNN_INIT_RAISES'):
            raise AttributeError('/usr/lib/librknnrt.so: undefined symbol: rknn_set_input_shapes')
        try:
            cores = allowed_cores(core_mask, chip)
        except RuntimeFault as fault:
            say(f'E {fault}', 'E Catch exception when set npu core mode.')
            return -1
        self.rknn_runtime = Runtime(model, cores)
        say('W Query dynamic range failed. Ret code: RKNN_ERR_PARAM_INVALID. (If it is a static '
            'shape RKNN model, please ignore the above warning message.)')
        return 0

    def inference(
        self,
        inputs: Sequence[np.ndarray],
        data_type: str | None = None,
        data_format: Sequence[str] | str | None = None,
        inputs_pass_through: Sequence[int] | None = None,
        get_frame_id: bool = False,
    ) -> list[np.ndarray] | None:
        """Return the outputs as float32, or None."""
        if self.rknn_runtime is None:
            say('E Runtime environment is not inited, please call init_runtime to init it first!')
            return None
        ((layout,), (values,)) = data_format or ['nhwc'], inputs
        if values.ndim != 4:
            say('E Catch exception when setting inputs.', 'E Traceback (most recent call last):',
                f'Exception: The input[0] need 4dims input, but {values.ndim}dims input buffer '
                'feed.', '')
            return None
        if layout == 'nchw':
            say('W The input[0] need NHWC data format, but NCHW set, the data format and data '
                'buffer will be changed to NHWC.')
            values = values.transpose(0, 2, 3, 1)
        outputs = self.rknn_runtime.run(values)
        if is_asked('SIMRKNN_NONE'):
            say('E Catch exception when getting outputs.')
            return None
        return outputs

    def get_sdk_version(self) -> str | None:
        """Return the versions of librknnrt.so and driver once a model is loaded."""
        return VERSION if self.rknn_runtime is not None else None

    def release(self) -> None:
        """Free the model, not the bytes of the file; may be called twice."""
        self.rknn_runtime = None


class RuntimeFault(Exception):
    """What the real class raises and catches inside."""


class Model:
    """What librknnrt.so would know of a file: shapes, normalisation, graph."""

    def __init__(self, attributes: dict[str, Any], graph: Path | None) -> None:
        (picture,) = (a for a in attributes.values() if not a['is_output'])
        outputs = sorted(
            (a for a in attributes.values() if a['is_output']), key=lambda a: a['idx']
        )
        _, channels, height, width = picture['shape']
        self.input = (1, height, width, channels)
        self.outputs = [tuple(a['shape']) for a in outputs]
        self._mean, self._std = (np.array(picture[k], np.float32) for k in ('mean', 'std'))
        self._session = None
        if graph is not None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(
                str(graph), options, providers=['CPUExecutionProvider']
            )

    @classmethod
    def of(cls, data: bytes, chip: str) -> Model:
        """Read a file's bytes as librknnrt.so would; no more than it must."""
        if data.startswith(b'CYPTRKNN'):
            data = DECRYPTED.read_bytes()
        if not data.startswith(b'RKNN') or len(data) < 64 + struct.unpack_from('<Q', data, 16)[0]:
            say('E RKNN: invalid model')
            raise RuntimeFault('RKNN init failed. error code: RKNN_ERR_MODEL_INVALID')
        if f'"target_platform":["{chip}"]'.encode() not in data:
            raise RuntimeFault('RKNN init failed. error code: RKNN_ERR_TARGET_PLATFORM_UNMATCH')
        start = data.index(b"{'attrs'")
        (length,) = struct.unpack_from('<I', data, start - 4)
        known = re.search(rb'\{"model": "\w+"\}', data[:start])
        name = json.loads(known[0])['model'] if known else ''
        attributes = ast.literal_eval(data[start:start + length].decode())['attrs']
        return cls(attributes, GRAPHS.get(name))

    def run(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for NHWC pixels; of another size, whatever is in their bytes."""
        pixels = np.resize(values, self.input)
        if self._session is None:
            rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(pixels)))
            return [rng.normal(size=shape).astype(np.float32) for shape in self.outputs]
        (fed,) = self._session.get_inputs()
        if fed.type == 'tensor(float)':  # else the graph itself normalises and takes NHWC
            pixels = ((pixels - self._mean) / self._std).astype(np.float32).transpose(0, 3, 1, 2)
        results = self._session.run(None, {fed.name: pixels})
        return [r.reshape(shape) for r, shape in zip(results, self.outputs, strict=True)]


class Runtime:
    """The real one is a compiled class that others use for its queries."""

    def __init__(self, model: Model, cores: int) -> None:
        self._model, self.cores = model, cores
        self._runs = 0
        self._outputs = [np.zeros(shape, np.float32) for shape in model.outputs]

    def run(self, values: np.ndarray) -> list[np.ndarray]:
        """Run, or leave the outputs as they were; two runs at once spoil each other."""
        self._runs += 1
        misbehave()
        if is_asked('SIMRKNN_RUN_FAILS'):
            say('E RKNN: failed to submit!')
        else:
            self._outputs = self._model.run(values)
        self._runs -= 1
        if self._runs or is_asked('SIMRKNN_NAN'):
            return [np.full_like(o, np.nan) for o in self._outputs]
        if is_asked('SIMRKNN_ZERO'):
            return [np.zeros_like(o) for o in self._outputs]
        return [o.copy() for o in self._outputs]

    def get_in_out_num(self) -> tuple[int, int]:
        check_queries()
        return 1, len(self._model.outputs)

    def get_tensor_attr(self, index: int, is_output: bool = False) -> SimpleNamespace:
        check_queries()
        shape = self._model.outputs[index] if is_output else self._model.input
        return SimpleNamespace(
            dims=[*shape, *[0] * (16 - len(shape))], n_dims=len(shape), fmt=2 if is_output else 1,
            type=1, name=b'pixel',
        )

    def get_output_shape(self, index: int) -> list[int]:
        check_queries()
        return list(self._model.outputs[index])


def say(*lines: str) -> None:
    """Print past Python's own streams, as native code does."""
    os.write(2, ''.join(f'{line}\n' for line in lines).encode())


def fault_text(name: str) -> str:
    """Return what the file SIMNPU_FAULTS or else the environment says; '' where it is not set."""
    with suppress(FileNotFoundError), open(os.environ.get('SIMNPU_FAULTS', ''), 'r+b') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        at = 0
        for line in file.read().decode().splitlines(keepends=True):
            key, _, value = line.rstrip('\n').partition('=')
            if key == f'{name}@once':
                os.pwrite(file.fileno(), b'#', at)
            if key in (name, f'{name}@once'):
                return value
            at += len(line.encode())
    return os.environ.get(name, '')


def is_asked(name: str) -> bool:
    return fault_text(name) not in ('', '0')


def fault_seconds(name: str) -> float:
    return float(fault_text(name) or 0)


def misbehave() -> None:
    if is_asked('SIMRKNN_SEGV'):
        os.kill(os.getpid(), signal.SIGSEGV)
    if is_asked('SIMRKNN_HANG'):
        while True:
            signal.pause()
    time.sleep(fault_seconds('SIMRKNN_SECONDS'))


def check_queries() -> None:
    """Raise AttributeError if the private queries shall be gone."""
    if is_asked('SIMRKNN_NO_QUERY'):
        raise AttributeError('RKNNRuntime has no such attribute')


def find_board() -> str:
    """Return the chip of the board; raise RuntimeFault if the real class would see none."""
    root = Path(os.environ.get('VLM_NPU_SYSROOT', '/'))
    tree, library = root / 'proc/device-tree/compatible', root / 'usr/lib/librknnrt.so'
    if (root / '.dockerenv').exists():
        if not tree.exists() or not (root / 'dev/dri/renderD129').exists():
            say('!!! It is detected that some necessary files are missing in the container.')
            raise RuntimeFault('')
    if not tree.exists():
        raise RuntimeFault('Please specify the target in init_runtime!')
    compatible = tree.read_bytes().decode()
    chip = next((chip for chip in CHIPS if chip in compatible), '')
    if not library.exists():
        raise RuntimeFault(f'Can not find dynamic library on {chip.upper()}!')
    return chip


def allowed_cores(mask: int, chip: str) -> int:
    """Return the mask that the real class sets; raise RuntimeFault if it refuses it."""
    if mask == RKNNLite.NPU_CORE_AUTO:
        return mask
    if chip not in ('rk3588', 'rk3576'):
        raise RuntimeFault("The core_mask is only supported by ['RK3588', 'RK3576']. Please do "
                           'not set this parameter on other platforms.')
    if mask not in (1, 2, 4, 3, 7, 0xffff):
        raise RuntimeFault(f'The core mode {mask} is not supported currently.')
    if chip == 'rk3576' and mask in (4, 7):
        say('W The RK3576 platform has only two NPU cores.')
        return {4: 1, 7: 3}[mask]
    return mask
