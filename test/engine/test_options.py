# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a setting objects to."""

from __future__ import annotations

from array import array

from vlm_npu_ros.engine.options import Option


def test_values_of_a_wrong_type_are_refused_with_what_to_write() -> None:
    for default, value, objection in (
        (1.5, 3, 'must be a number with a point, not 3: write 3.0'),
        (1.5, '3', "must be a number with a point, not '3': write 3.0"),
        (1.5, 'some', "must be a number with a point, not 'some'"),
        (1.5, True, 'must be a number with a point, not true'),
        (1.5, 10**400, 'must be a number with a point'),
        (3, 4.0, 'must be a whole number, not 4.0: write 4'),
        (3, 4.5, 'must be a whole number, not 4.5'),
        (3, float('inf'), 'must be a whole number, not .inf'),
        (3, False, 'must be a whole number, not false'),
        (True, 'off', "must be true or false, not 'off': write false"),
        (True, 1, 'must be true or false, not 1: write true'),
        (True, 7, 'must be true or false, not 7'),
        ('', 8, "must be text, not 8: put it in quotes, such as '8'"),
        ('', True, "must be text, not true: put it in quotes, such as 'yes'"),
        ('', ['a'], "must be text, not ['a']"),
        ('', None, 'must be text, not nothing'),
        (('',), 'left, right', "must be a list of texts, not 'left, right': "
                               "write ['left', 'right']"),
        (('',), array('q', [7]), "must be a list of texts, not [7]: write ['7']"),
        (('',), [False, True], "must be a list of texts, not [false, true]: write ['no', 'yes']"),
        (('',), None, 'must be a list of texts, not nothing'),
    ):
        assert Option(default, 'x').objection(value).startswith(objection), (default, value)
    long = 'x' * 1000
    assert len(Option(3, 'x').objection([long] * 1000)) < 300


def test_right_values_are_taken() -> None:
    for default, value in (
        (1.5, 3.0), (3, 4), (True, False), ('', 'a'), (('',), ['a', 'b']), (['a'], ('b',)),
        (('',), []), (('',), array('d')),
    ):
        assert Option(default, 'x').objection(value) == ''


def test_limits_and_choices() -> None:
    seconds = Option(1.0, 'x', 0.0, 60.0, least=0.01, unit='s')
    assert seconds.objection(61.0) == 'must be from 0 to 60 s, not 61.0'
    assert seconds.objection(0.001) == 'must be 0 or at least 0.01 s, not 0.001'
    assert seconds.objection(float('nan')) == 'must be a finite number, not .nan'
    assert seconds.objection(0.0) == seconds.objection(0.01) == seconds.objection(60.0) == ''
    side = Option('left', 'x', choices=('left', 'right', 'both'))
    assert side.objection('LEFT') == "must be left, right or both, not 'LEFT'"
    assert side.objection(False) == 'must be left, right or both, not false'
    switch = Option('auto', 'x', choices=('auto', 'off', 'on'))
    assert switch.objection(False) == "must be auto, off or on, not false: put it in quotes, 'off'"
    sides = Option(('left',), 'x', choices=('left', 'right'))
    assert sides.objection(['right', 'up']) == "must be left or right, not 'up'"
    assert sides.objection(['', 'right']) == ''
    angle = Option(0, 'x', choices=(0, 45))
    assert angle.objection(45) == ''
    assert angle.objection(30) == 'must be 0 or 45, not 30'
    span = Option('all', 'x', choices=('all', 'none'), pair=True)
    for value in 'none', [1, 2], array('d', [-1.0, 2.5]):
        assert span.objection(value) == ''
    for value in 'some', [2, 1], [1], [1, 2, 3], ['a', 'b'], [], [float('nan'), 1.0]:
        assert span.objection(value).startswith('must be all, none or [low, high], not ')
