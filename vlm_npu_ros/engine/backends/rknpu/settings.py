"""What an operator can set about the NPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RknpuSettings:
    """
    Settings of the backend rknpu; the defaults suit each platform.

    library: librkllmrt.so, a name that the loader finds or a path.
    runtime_version: version to take the library for; '' = read it from the file.
    allow_third_party: accept a runtime whose layout is known from a third party only (1.3.1).
    base_domain_id: NPU address space to begin with; -1 = the platform's. A second language model
        on the same board needs another one.
    cpu_mask: CPUs that the runtime may use, bit 0 = CPU 0; 0 = the platform's fast ones.
    embed_flash: read word embeddings from storage, which saves memory.
    keep_tokens: tokens at the start of the context that stay when it overflows (n_keep).
    core_mask: NPU cores of the encoder (RKNN_NPU_CORE_*); -1 = the platform's.
    """

    library: str = 'librkllmrt.so'
    runtime_version: str = ''
    allow_third_party: bool = False
    base_domain_id: int = -1
    cpu_mask: int = 0
    embed_flash: bool = True
    keep_tokens: int = 0
    core_mask: int = -1
