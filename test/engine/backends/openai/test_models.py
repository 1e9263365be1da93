# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Lists of models in all public shapes."""

from __future__ import annotations

from typing import Any

import pytest
from vlm_npu_ros.engine.backends.openai.models import read_models


@pytest.mark.parametrize(
    'value',
    [
        {'object': 'list', 'data': [{'id': 'eye'}, {'id': 'ear'}]},
        [{'id': 'eye'}, {'id': 'ear'}],
        ['eye', 'ear'],
        {'models': [{'name': 'eye'}, {'name': 'ear'}]},
        {'models': ['eye', 'ear'], 'total': 2},
        {'data': [{'id': 'eye'}, {'id': 'ear'}, {'id': None}, 7, {}, None]},
        {'models': [{'name': 'x'}], 'data': [{'id': 'eye'}, {'id': 'ear'}]},
    ],
)
def test_shapes(value: Any) -> None:
    models = read_models(value)
    assert models and [model.name for model in models] == ['eye', 'ear']


def test_no_lists() -> None:
    for value in (None, 'eye', 7, {}, {'data': 'eye'}, {'error': {}}):
        assert read_models(value) is None
    assert read_models([]) == [] and read_models({'data': []}) == []


def test_what_is_told_about_a_model() -> None:
    (model,) = read_models([{
        'id': 'org/eye-GGUF:Q4', 'aliases': ['eye', 3], 'root': '/models/eye', 'owned_by': 'me',
        'meta': {'n_ctx': 4096, 'n_ctx_train': 131072},
    }]) or ()
    assert set(model.names) == {'eye', '/models/eye'}
    assert model.context == 4096 and not model.keeps_dialogues and not model.forgets_silently
    (model,) = read_models([{'id': 'eye', 'owned_by': 'rknn', 'meta': {'n_ctx_train': 1}}]) or ()
    assert model.keeps_dialogues and not model.context
