# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What rknn-toolkit2 must be told about each family of vision towers."""

from __future__ import annotations

from dataclasses import dataclass, field
import re

from vlm_npu_ros.convert.errors import UsageError


@dataclass(frozen=True)
class Recipe:
    """
    A family: its name is the `model_type` of its checkpoints' config.json.

    profiles: expression that the names of its profiles begin with.
    op_target: operators, by type or name, and where they run instead of the NPU.
    disable_rules: fusions of the toolkit that break the graph.
    needs_fix: its graph is invalid as exported, see graph.py.
    source: where this is known from.
    """

    family: str
    profiles: str
    op_target: dict[str, str] = field(default_factory=dict)
    disable_rules: tuple[str, ...] = ()
    needs_fix: bool = False
    source: str = ''


RECIPES = (
    Recipe('qwen2_vl', r'qwen2-vl\b', source='airockchip/rknn-llm export_vision_rknn.py'),
    Recipe(
        'qwen2_5_vl', r'qwen2\.5-vl\b',
        # Indices above 2048 are not exact as 16-bit floats (rknn-toolkit2 #425). Rockchip's own
        # script names another operator, of its exporter's graph, with which the toolkit prints
        # 'REGTASK: The bit width of field value exceeds the limit'.
        op_target={'Gather': 'cpu'},
        source='happyme531/Qwen2.5-VL-3B-Instruct-RKLLM convert_vision_encoder.py',
    ),
    Recipe('qwen3_vl', r'qwen3-vl\b', source='airockchip/rknn-llm export_vision_rknn.py'),
    Recipe('qwen3_5', r'qwen3\.5\b', source='airockchip/rknn-llm export_vision_rknn.py'),
    Recipe(
        'gemma4', r'gemma4',
        source='airockchip/rknn-llm README of 1.3.1 (transformers 5.8.0); transformers Gemma4',
    ),
    Recipe('lfm2_vl', r'lfm2\.5-vl\b', source='transformers Lfm2Vl: no export is published'),
    Recipe('internvl', r'internvl', source='airockchip/rknn-llm export_vision_rknn.py'),
    Recipe('smolvlm', r'smolvlm', needs_fix=True, source='transformers SmolVLM'),
    Recipe(
        'deepseek_ocr', r'deepseek-ocr',
        disable_rules=('convert_rs_add_rs_to_rs_gather_elements',),
        source='airockchip/rknn-llm export_vision_rknn.py',
    ),
)
# For an encoder of an unknown family.
PLAIN = Recipe('', '')


def recipe_of(profile: str, family: str = '') -> Recipe:
    """
    Find the recipe of a profile by its name; PLAIN for a profile of an unknown family.

    family: of the checkpoint; it decides where the profile's name says nothing. Raises UsageError
    where the two contradict each other.
    """
    named = next((r for r in RECIPES if re.match(r.profiles, profile)), None)
    if named and family and not family.startswith(named.family):
        raise UsageError(
            f'The checkpoint is of the family {family}, the profile {profile} is for '
            f'{named.family}',
            'Choose the profile of this model',
        )
    return named or next((r for r in RECIPES if r.family == family), PLAIN)
