# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What other programs rely on: a change of an interface is a conscious one."""

from __future__ import annotations

from pathlib import Path
import re

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).parent / 'data' / 'interfaces.txt'
FILES = sorted(p for kind in ('action', 'msg', 'srv') for p in (ROOT / kind).iterdir())


def test_fields_types_and_constants_are_the_known_ones() -> None:
    """
    Compare the interface files, without comments, with those that were released.

    After a change that is meant: write `found` into test/data/interfaces.txt, and tell users in
    CHANGELOG.rst: older programs cannot talk to a node with other types.
    """
    found = ''
    for path in FILES:
        text = re.sub(' *#.*', '', path.read_text())
        lines = (' '.join(line.split()) for line in text.splitlines())
        found += f'[{path.relative_to(ROOT)}]\n' + ''.join(f'{line}\n' for line in lines if line)
    assert found == KNOWN.read_text()


def test_a_comment_is_in_the_line_of_its_field() -> None:
    """`ros2 interface show` leaves comments out, but shows the later lines of long ones."""
    for path in FILES:
        assert not re.findall('^ +#.*', path.read_text(), re.MULTILINE), path.name


def test_service_and_action_agree_in_all_but_feedback() -> None:
    service = (ROOT / 'srv' / 'Ask.srv').read_text().split('\n', 1)[1]
    action, _, feedback = (ROOT / 'action' / 'Ask.action').read_text().rpartition('---\n')
    assert action.split('\n', 1)[1] == service
    assert 'partial_answer' in feedback
