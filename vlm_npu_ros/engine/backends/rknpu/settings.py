# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Settings of the backend rknpu."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_npu_ros.engine.options import option


@dataclass(frozen=True)
class RknpuSettings:
    """
    Settings of the backend rknpu; the defaults suit each platform.

    base_domain_id: a second language model on the same board needs a different one.
    keep_tokens: n_keep of the runtime.
    core_mask: RKNN_NPU_CORE_* of librknnrt.so.
    """

    library: str = option(
        'librkllmrt.so', 'Runtime of the language model: a library name or a path.',
        flag='--library',
    )
    runtime_version: str = option(
        '', 'Version of that library; empty = detected from the file.', flag='--runtime-version',
    )
    base_domain_id: int = option(-1, 'NPU address space; -1 = as the platform needs.', -1, 15)
    cpu_mask: int = option(
        0, 'CPUs of the runtime, bit 0 = CPU 0; 0 = the fast ones of the platform.', 0, 255
    )
    embed_flash: bool = option(
        True, 'Read word embeddings from storage: less memory, slightly slower.'
    )
    keep_tokens: int = option(
        0, 'Tokens at the start to keep when the context overflows.', 0, 16384, unit='tokens'
    )
    encoder_runtime: str = option(
        'auto', 'What runs the encoder: rknnlite (rknn-toolkit-lite2) or librknnrt (that library '
        'itself); auto = rknnlite where it is installed.',
        choices=('auto', 'rknnlite', 'librknnrt'),
    )
    core_mask: int = option(
        -1, 'NPU cores of the encoder, 7 = all three; -1 = all of the platform.', -1, 65535
    )
    probabilities: str = option(
        'auto', 'Probabilities of choices: auto = in the first way that proves itself when the '
        'models are loaded in a process of their own; off = none.', choices=('auto', 'off'),
    )
    lock: str = option(
        '', 'File by whose lock programs take turns on the NPU, such as /run/lock/rknpu; empty = '
        'no other program uses it.',
    )
