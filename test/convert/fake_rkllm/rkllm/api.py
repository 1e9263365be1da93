# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
A stand-in for rkllm-toolkit, which is not to be had from PyPI.

Its functions have the signatures of the real 1.3.0 and refuse what its manual does not allow:
they print why and return -1, as the real ones do. The file that it writes says what it was told,
and is not a language model.
"""

from __future__ import annotations

import json
import os
import pickle

DTYPES = {
    'rk3588': {'w8a8', 'w8a8_g128', 'w8a8_g256', 'w8a8_g512'},
    'rk3576': {'w4a16', 'w4a16_g32', 'w4a16_g64', 'w4a16_g128', 'w8a8'},
    'rk3562': {'w8a8', 'w4a16_g32', 'w4a16_g64', 'w4a16_g128', 'w4a8_g32'},
    'rv1126b': {'w4a16', 'w4a16_g32', 'w4a16_g64', 'w4a16_g128', 'w8a8'},
}
CORES = {'rk3588': 3, 'rk3576': 2, 'rk3562': 1, 'rv1126b': 1}


class Refused(Exception):
    """What the toolkit would print before it returns -1."""


class RKLLM:
    """Takes a model through its three steps, in their order."""

    def __init__(self) -> None:
        self._loaded: dict[str, object] = {}
        self._built: dict[str, object] = {}

    def load_huggingface(
        self, model, model_lora=None, device='cpu', dtype='float32', custom_config=None,
        load_weight=True,
    ) -> int:
        def load() -> None:
            expect(os.path.isfile(os.path.join(model, 'config.json')), f'no model in {model}')
            expect(device in ('cpu', 'cuda'), f'device {device}')
            expect(dtype in ('float32', 'float16', 'bfloat16'), f'dtype {dtype}')
            self._loaded = {'model': model, 'device': device, 'dtype': dtype}

        return code_of(load)

    def build(
        self, do_quantization=True, optimization_level=1, quantized_dtype='w8a8',
        quantized_algorithm='normal', target_platform='rk3588', num_npu_core=3, extra_qparams=None,
        dataset=None, hybrid_rate=0, max_context=4096,
    ) -> int:
        def build() -> None:
            expect(bool(self._loaded), 'no model is loaded')
            expect(do_quantization is True, 'no quantisation')
            expect(optimization_level in (0, 1), f'optimization_level {optimization_level}')
            expect(target_platform in DTYPES, f'target_platform {target_platform}')
            expect(
                quantized_dtype in DTYPES[target_platform],
                f'quantized_dtype {quantized_dtype} on {target_platform}',
            )
            fours = quantized_dtype.startswith('w4a16')
            expect(
                quantized_algorithm in ('normal', 'grq') and (
                    quantized_algorithm == 'normal' or fours
                ),
                f'quantized_algorithm {quantized_algorithm} with {quantized_dtype}',
            )
            expect(
                type(num_npu_core) is int and 1 <= num_npu_core <= CORES[target_platform],
                f'num_npu_core {num_npu_core}',
            )
            expect(
                type(max_context) is int and 32 <= max_context <= 16384 and max_context % 32 == 0,
                f'max_context {max_context}',
            )
            expect(0 <= hybrid_rate <= 1 and extra_qparams is None, 'hybrid_rate, extra_qparams')
            self._built = {
                'dtype': quantized_dtype,
                'algorithm': quantized_algorithm,
                'platform': target_platform,
                'cores': num_npu_core,
                'context': max_context,
                'samples': None if dataset is None else check_dataset(dataset),
            }

        return code_of(build)

    def export_rkllm(self, export_path, export_tokenizer=True, export_embedding=True) -> int:
        def export() -> None:
            expect(bool(self._built), 'nothing is built')
            expect(export_path.endswith('.rkllm'), f'export_path {export_path}')
            # As the real one does with large models.
            with open('left_behind.bin', 'wb') as file:
                file.write(b'intermediate')
            with open(export_path, 'w', encoding='utf-8') as file:
                json.dump({**self._loaded, **self._built}, file)

        return code_of(export)


def check_dataset(path: str) -> list[str]:
    """Return what each sample of a data set is; raise Refused if it is of no form that is read."""
    with open(path, encoding='utf-8') as file:
        entries = json.load(file)
    expect(isinstance(entries, list) and bool(entries), 'the data set is empty')
    return [kind_of(entry, os.path.dirname(path)) for entry in entries]


def kind_of(entry: dict[str, object], folder: str) -> str:
    if set(entry) == {'input', 'target'}:
        expect(all(isinstance(t, str) and t for t in entry.values()), f'texts: {entry}')
        return 'text'
    if set(entry) == {'input_embed', 'target'}:
        (rows,) = entry['input_embed']  # type: ignore[misc]
        expect(len({len(row) for row in rows}) == 1, 'input_embed must be (1, tokens, dim)')
        expect(all(isinstance(x, float) for x in sum(rows, [])), 'input_embed must be floats')
        return 'embedding'
    expect(set(entry) == {'sample', 'token_nums'}, f'unknown sample {sorted(entry)}')
    with open(os.path.join(folder, str(entry['sample'])), 'rb') as file:
        keywords = pickle.load(file)
    expect(keywords['inputs_embeds'].shape[:2] == (1, entry['token_nums']), 'token_nums is wrong')
    return 'keywords'


def expect(right: bool, what: str) -> None:
    """Raise Refused unless something is right."""
    if not right:
        raise Refused(what)


def code_of(step) -> int:
    """Run a step; return 0, or -1 after printing what is wrong."""
    try:
        step()
    except (Refused, OSError) as error:
        print(f'ERROR: {error}')
        return -1
    return 0
