# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Stands in for rknn.api of rknn-toolkit2 2.5.0, which is too large for every test run.

Steps raise or return -1, print and leave files as the real ones were seen to do (test/convert/real
tries those). Graphs are run by onnxruntime. FAKE_RKNN in the environment names what goes wrong.
"""

from __future__ import annotations

import os
from pathlib import Path
import struct
import sys

import numpy as np
import onnx
import onnxruntime

# The real one needs onnx 1.18, which has this; the tests run with a later one.
if os.environ.get('FAKE_RKNN') != 'no onnx.mapping':
    onnx.mapping = None
BANNER = '\033[1;31mE\033[0m \033[1;31mrknn-toolkit2 version: 2.5.0\033[0m'


def fail(step: str, reason: str) -> None:
    print(f'\033[1;31mE\033[0m \033[1;31m{step}: {reason}\033[0m\n{BANNER}', file=sys.stderr)
    raise ValueError(f'Traceback (most recent call last):\n  File "rknn_log.py"\n{reason}\n')


class RKNN:
    """Simulated; see the module."""

    def __init__(self) -> None:
        self.fault = os.environ.get('FAKE_RKNN', '')
        if self.fault == 'no pkg_resources':
            raise ModuleNotFoundError("No module named 'pkg_resources'")

    def config(self, target_platform, mean_values, std_values, op_target, disable_rules,
               custom_string) -> int:
        if len(custom_string) > 1023:
            fail('config', 'The length of custom_string must be less than 1024!')
        self.platform, self.custom_string, self.op_target = (
            target_platform, custom_string, op_target)
        self.mean, self.std = mean_values[0], std_values[0]
        return 0

    def load_onnx(self, model, inputs=None, input_size_list=None) -> int:
        graph = onnx.load(model).graph
        types = {node.op_type for node in graph.node}
        for name in self.op_target:
            if name not in types:
                fail('build', f"Invalid key of '{name}' in 'op_target'!")
        if inputs is None and graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8:
            os.abort()
        if inputs is not None:
            cropped = 'cropped.onnx'
            onnx.utils.extract_model(model, cropped, inputs, [o.name for o in graph.output])
            model = cropped
        self.session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
        return 0

    def build(self, do_quantization) -> int:
        assert not do_quantization
        os.write(1, b'compress=0, global_fuse=1\n')
        os.write(2, b'E RKNN: [02:45:04.231] Unkown op target: 0\n')
        # As of models of more than 2 GB.
        Path('weights.left').write_bytes(bytes(100))
        if self.fault == 'abort':
            os.write(2, b'E RKNN: [02:45:04.231] Not Support Dtype: 2. please check precision!\n')
            os.abort()
        if self.fault == 'build':
            os.write(2, b'\033[1;31mE\033[0m \033[1;31mbuild: The graph is odd!\033[0m\n')
            return -1
        return 0

    def init_runtime(self) -> int:
        return 0

    def inference(self, inputs, data_format):
        (picture,), (layout,) = inputs, data_format
        assert picture.dtype == np.uint8 and layout == 'nhwc'
        if self.fault == 'none':
            return None
        if self.fault == 'bgr':
            picture = picture[..., ::-1]
        values = (picture - np.array(self.mean)) / np.array(self.std)
        if self.fault == 'twice':
            values = (values - np.array(self.mean) / 255) / (np.array(self.std) / 255)
        (pixels,) = self.session.get_inputs()
        fed = values.transpose(0, 3, 1, 2).astype(np.float32)
        outputs = self.session.run(None, {pixels.name: fed})
        if self.fault == 'nan':
            outputs[-1][0] = np.nan
        if self.fault == 'half':
            outputs = [o[:1] for o in outputs]
        return outputs

    def export_rknn(self, path) -> int:
        (pixels,) = self.session.get_inputs()
        colours = {'mean': self.mean, 'std': self.std}
        if self.fault == 'not folded':
            colours = {'mean': [0], 'std': [1]}
        attributes = {
            pixels.name: {'shape': pixels.shape, 'layout': 'nchw', **colours},
            **{
                o.name: {'is_output': True, 'idx': i, 'shape': o.shape}
                for i, o in enumerate(self.session.get_outputs())
            },
        }
        labels = '' if self.fault == 'no labels' else self.custom_string
        platform = 'rk3562' if self.fault == 'platform' else self.platform
        Path(path).write_bytes(rknn_file(
            {3: repr({'attrs': attributes}), 7: '2.5.0(fake)', 8: platform, 11: labels,
             12: '{"p": {"layout": "NHWC"}}'}
        ))
        return 0


def rknn_file(texts: dict[int, str]) -> bytes:
    """Return a .rknn of nothing but the texts of its root table, by their places there."""
    places = range(13)
    fields = struct.pack('<HH', 4 + 2 * len(places), 4 + 4 * len(places)) + b''.join(
        struct.pack('<H', 4 + 4 * place if place in texts else 0) for place in places
    )
    fields += bytes(-len(fields) % 4)
    root = 4 + len(fields)
    end = root + 4 + 4 * len(places)
    table, strings = struct.pack('<i', len(fields)), b''
    for place in places:
        at = end + len(strings)
        table += struct.pack('<I', at - (root + 4 + 4 * place))
        data = texts.get(place, '').encode()
        strings += struct.pack('<I', len(data)) + data + bytes(-len(data) % 4 or 4)
    body = struct.pack('<I', root) + fields + table + strings
    return b'RKNN' + bytes(4) + struct.pack('<QQ', 6, len(body)) + bytes(40) + body + bytes(8)
