# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Names of nodes, as people write them."""

from __future__ import annotations

import pytest
from vlm_npu_ros.client.names import full_name


def test_a_node_is_named_with_or_without_its_namespace() -> None:
    for node, namespace, name in (
        ('eye', '', '/eye'),
        ('/eye', '', '/eye'),
        ('/eye', '/', '/eye'),
        ('eye', 'left', '/left/eye'),
        ('eye', '/fleet/left/', '/fleet/left/eye'),
        ('left/eye', '', '/left/eye'),
        ('left/eye', 'fleet', '/fleet/left/eye'),
        ('/left/eye', '', '/left/eye'),
        ('_Eye2', '', '/_Eye2'),
    ):
        assert full_name(node, namespace) == name


def test_other_names_are_refused_in_a_sentence() -> None:
    for node, namespace in (
        ('', ''), ('', 'left'), ('/', ''), ('//eye', ''), ('eye/', ''), ('an eye', ''),
        ('1eye', ''), ('eye', 'bad space'), ('left//eye', ''),
        ('~/eye', ''), ('auge\n', ''), ('\u00e9ye', ''),
        ('x' * 10_000, ''), ('/eye', 'left'), ('/left/eye', 'left'),
    ):
        with pytest.raises(ValueError) as caught:
            full_name(node, namespace)
        assert len(str(caught.value)) < 400 and '\n' not in str(caught.value)
