# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The binary interfaces of librkllmrt.so, one for each class of versions.

The library has no function that tells its version, and it reports no mismatch: a struct with
another version's layout crashes it or is silently misread. So the class is decided from the
file (runtime.py) before any struct is passed. Layouts: Rockchip's rkllm.h of each release.
"""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import (
    c_bool,
    c_byte,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_size_t,
    c_ubyte,
    c_uint32,
    c_void_p,
    CFUNCTYPE,
    POINTER,
    Structure,
    Union,
)
from dataclasses import dataclass
from typing import Any

# enum LLMCallState
RUN_NORMAL, RUN_WAITING, RUN_FINISH, RUN_ERROR, RUN_HIDDEN = range(5)  # the last one: class A
# enum RKLLMInputType
INPUT_PROMPT, INPUT_TOKEN, INPUT_EMBED, INPUT_MULTIMODAL = range(4)
# enum RKLLMInferMode
INFER_GENERATE, INFER_HIDDEN, INFER_LOGITS = range(3)

# The functions that tell the classes apart, and the first class that exports each.
TELLING_FUNCTIONS = {
    'rkllm_load_lora': 'A',
    'rkllm_clear_kv_cache': 'B',
    'rkllm_set_chat_template': 'B',
    'rkllm_get_kv_cache_size': 'D',
    'rkllm_set_function_tools': 'D',
    'rkllm_set_cross_attn_params': 'D',
}


@dataclass(frozen=True)
class Abi:
    """
    One class of versions that share all layouts.

    name: 'A' to 'F', in the order of the releases.
    structs: ctypes types by their names in rkllm.h; the RKLLMMultiModelInput of older releases
        has its later name RKLLMMultiModalInput.
    callback: type of RKLLMResultCallback; it returns nothing up to class C, then an int.
    """

    name: str
    structs: Mapping[str, Any]
    callback: Any

    @property
    def has_chat_template(self) -> bool:
        """Whether the runtime frames the question itself, and can clear its cache."""
        return self.name >= 'B'

    @property
    def has_image_size(self) -> bool:
        """Whether a request says how many images there are and how large."""
        return self.name >= 'C'

    @property
    def has_figures(self) -> bool:
        """Whether the runtime reports what a run cost, and a request has a role."""
        return self.name >= 'D'

    @property
    def has_request_limits(self) -> bool:
        """Whether image tags, sampling and max_new_tokens belong to each request."""
        return self.name >= 'E'


Field = tuple[Any, ...]


class _Layouts:
    """Builds the structs of one class; a field is (name, type, first class, last class)."""

    def __init__(self, level: str) -> None:
        self.level = level
        self.structs: dict[str, Any] = {}

    def struct(
        self, name: str, *fields: Field, since: str = 'A', anonymous: tuple[str, ...] = ()
    ) -> Any:
        """Make the struct with the fields that this class has; None in classes before `since`."""
        if self.level < since:
            return None
        members = {'_anonymous_': anonymous, '_fields_': self._present(fields)}
        self.structs[name] = type(name, (Structure,), members)
        return self.structs[name]

    def union(self, *fields: Field) -> Any:
        """Make a union without a name."""
        return type('_Union', (Union,), {'_fields_': self._present(fields)})

    def _present(self, fields: tuple[Field, ...]) -> list[tuple[str, Any]]:
        return [
            (name, kind) for name, kind, *span in fields
            if (span[0] if span else 'A') <= self.level <= (span[1] if len(span) > 1 else 'F')
        ]


def _each(kind: Any, names: str, *span: str) -> list[Field]:
    """Make several fields of one type in a row."""
    return [(name, kind, *span) for name in names.split()]


_DRAWING = (
    *_each(c_float, 'top_p temperature repeat_penalty frequency_penalty presence_penalty'),
    ('mirostat', c_int32),
    *_each(c_float, 'mirostat_tau mirostat_eta'),
)


def _param(layouts: _Layouts) -> None:
    reserved = {'A': 112, 'B': 106, 'C': 106}.get(layouts.level, 104)
    extend = layouts.struct(
        'RKLLMExtendParam',
        ('base_domain_id', c_int32),
        *_each(c_byte, 'embed_flash enabled_cpus_num', 'B'),
        ('enabled_cpus_mask', c_uint32, 'B'),
        ('n_batch', c_ubyte, 'D'),
        ('use_cross_attn', c_byte, 'D'),
        ('reserved', c_ubyte * reserved),
    )
    layouts.struct(
        'RKLLMParam',
        ('model_path', c_char_p),
        *_each(c_int32, 'max_context_len max_new_tokens top_k'),
        ('n_keep', c_int32, 'B'),
        *_DRAWING,
        ('skip_special_token', c_bool),
        ('ignore_eos_token', c_bool, 'E'),
        ('is_async', c_bool),
        *_each(c_char_p, 'img_start img_end img_content', 'A', 'D'),
        ('extend_param', extend),
    )


def _media(layouts: _Layouts, kind: str, counts: str, sizes: str = '') -> Any:
    """Make the part of a request for images, videos or sounds of class E and later."""
    return layouts.struct(
        f'_{kind}',
        (f'{kind}_embed', POINTER(c_float)),
        *_each(c_size_t, counts),
        *_each(c_char_p, f'{kind}_start {kind}_end {kind}_content'),
        *_each(c_size_t, sizes),
    )


def _multimodal(layouts: _Layouts) -> Any:
    if layouts.level < 'E':
        return layouts.struct(
            'RKLLMMultiModalInput',
            ('prompt', c_char_p),
            ('image_embed', POINTER(c_float)),
            ('n_image_tokens', c_size_t),
            *_each(c_size_t, 'n_image image_width image_height', 'C'),
        )
    image = _media(layouts, 'image', 'n_image_tokens n_image', 'image_width image_height')
    counts = 'n_frame_tokens n_frame_per_video n_video'
    video = _media(layouts, 'video', counts, 'frame_width frame_height')
    audio = _media(layouts, 'audio', 'n_audio_tokens n_audio')
    return layouts.struct(
        'RKLLMMultiModalInput',
        ('prompt', c_char_p),
        ('image', image),
        ('video', video),
        ('audio', audio, 'F'),
    )


def _input(layouts: _Layouts) -> None:
    embed = layouts.struct('RKLLMEmbedInput', ('embed', POINTER(c_float)), ('n_tokens', c_size_t))
    token = layouts.struct(
        'RKLLMTokenInput', ('input_ids', POINTER(c_int32)), ('n_tokens', c_size_t)
    )
    union = layouts.union(
        ('prompt_input', c_char_p),
        ('embed_input', embed),
        ('token_input', token),
        ('multimodal_input', _multimodal(layouts)),
    )
    layouts.struct(
        'RKLLMInput',
        ('role', c_char_p, 'D'),
        ('enable_thinking', c_bool, 'D'),
        ('input_type', c_int),
        ('_union', union),
        anonymous=('_union',),
    )


def _infer(layouts: _Layouts) -> None:
    layouts.struct(
        'RKLLMLoraAdapter',
        *_each(c_char_p, 'lora_adapter_path lora_adapter_name'), ('scale', c_float),
    )
    lora = layouts.struct('RKLLMLoraParam', ('lora_adapter_name', c_char_p))
    cache = layouts.struct(
        'RKLLMPromptCacheParam', ('save_prompt_cache', c_int), ('prompt_cache_path', c_char_p)
    )
    layouts.struct(
        'RKLLMCrossAttnParam',
        *_each(POINTER(c_float), 'encoder_k_cache encoder_v_cache encoder_mask'),
        ('encoder_pos', POINTER(c_int32)),
        ('num_tokens', c_int),
        since='D',
    )
    sampling = layouts.struct('RKLLMSamplingParam', ('top_k', c_int32), *_DRAWING, since='E')
    layouts.struct(
        'RKLLMInferParam',
        ('mode', c_int),
        ('lora_params', POINTER(lora)),
        ('prompt_cache_params', POINTER(cache)),
        ('sampling_params', POINTER(sampling), 'E'),
        ('keep_history', c_int, 'B'),
        ('max_new_tokens', c_int32, 'E'),
    )


def _result(layouts: _Layouts) -> Any:
    hidden = layouts.struct(
        'RKLLMResultLastHiddenLayer',
        ('hidden_states', POINTER(c_float)), *_each(c_int, 'embd_size num_tokens'),
    )
    logits = layouts.struct(
        'RKLLMResultLogits',
        ('logits', POINTER(c_float)), *_each(c_int, 'vocab_size num_tokens'), since='B',
    )
    figures = layouts.struct(
        'RKLLMPerfStat',
        ('prefill_time_ms', c_float),
        ('prefill_tokens', c_int),
        ('generate_time_ms', c_float),
        ('generate_tokens', c_int),
        ('memory_usage_mb', c_float),
        since='D',
    )
    return layouts.struct(
        'RKLLMResult',
        ('text', c_char_p),
        ('token_id', c_int32),
        ('last_hidden_layer', hidden),
        ('logits', logits, 'B'),
        ('perf', figures, 'D'),
    )


def _abi(level: str) -> Abi:
    layouts = _Layouts(level)
    _param(layouts)
    _input(layouts)
    _infer(layouts)
    # typedef int (*LLMResultCallback)(RKLLMResult* result, void* userdata, LLMCallState state);
    returned = c_int if level >= 'D' else None
    callback = CFUNCTYPE(returned, POINTER(_result(layouts)), c_void_p, c_int)
    others = 'result_userdata tokenizer_callback tokenizer_userdata embed_callback embed_userdata'
    layouts.struct(
        'RKLLMCallback', ('result_callback', callback), *_each(c_void_p, others), since='E'
    )
    return Abi(level, layouts.structs, callback)


ABIS = {level: _abi(level) for level in 'ABCDEF'}
