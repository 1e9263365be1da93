# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from vlm_npu_ros.convert.errors import UsageError
from vlm_npu_ros.convert.recipes import PLAIN, recipe_of, RECIPES
from vlm_npu_ros.engine.models import known_models, load_profile


@pytest.mark.parametrize(('profile', 'family'), [
    ('qwen2-vl-2b', 'qwen2_vl'), ('qwen2.5-vl-3b', 'qwen2_5_vl'), ('qwen3-vl-4b', 'qwen3_vl'),
    ('qwen3.5-2b', 'qwen3_5'), ('internvl3.5-1b', 'internvl'), ('internvl3-1b', 'internvl'),
    ('smolvlm2-2.2b', 'smolvlm'), ('deepseek-ocr', 'deepseek_ocr'), ('gemma4-e2b', 'gemma4'),
    ('lfm2.5-vl-450m', 'lfm2_vl'),
])
def test_family_of_a_profile(profile: str, family: str) -> None:
    assert recipe_of(profile).family == family
    assert recipe_of(profile, family) is recipe_of(profile)


def test_shipped_profiles_for_the_npu_without_a_recipe() -> None:
    on_npu = [p.name for p in map(load_profile, known_models()) if p.backend == 'rknpu']
    assert [name for name in on_npu if recipe_of(name) is PLAIN] == ['minicpm-v-2.6']


def test_checkpoint_tells_the_family_of_a_profile_of_your_own() -> None:
    assert recipe_of('mine', 'smolvlm').needs_fix
    assert recipe_of('mine') is recipe_of('mine', 'unheard_of') is PLAIN


def test_folder_called_qwen_says_nothing() -> None:
    # Rockchip's script takes the normalisation from the path.
    assert recipe_of('/models/qwen2-vl/smolvlm') is PLAIN


def test_checkpoint_of_another_family_than_the_profile_is_refused() -> None:
    words = 'family qwen3_vl, the profile qwen2.5-vl-3b is for qwen2_5'
    with pytest.raises(UsageError, match=words):
        recipe_of('qwen2.5-vl-3b', 'qwen3_vl')


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda recipe: recipe.family)
def test_recipe_says_where_it_is_from(recipe) -> None:
    assert recipe.source
    assert set(recipe.op_target.values()) <= {'cpu'}
