# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The one schema of a question: into requests, from command lines, in the docs."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Duration, Time
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from vlm_npu_ros.action import Ask
from vlm_npu_ros.client import Answer, AskFields
from vlm_npu_ros.client.fields import add_arguments, FIELDS, fill, given
from vlm_npu_ros.client.messages import make_goal
from vlm_npu_ros.srv import Ask as AskService

DOCS = Path(__file__).parents[2] / 'docs' / 'client.md'


def test_every_field_of_a_request_can_be_told() -> None:
    told = {*FIELDS, 'conversation_id', 'question', 'answer_type', 'not_before_now'}
    told -= {'conversation', 'yes_no', 'number', 'locate'}
    told |= {'images', 'compressed_images'}
    told -= {'image'}
    assert told == Ask.Goal.get_fields_and_field_types().keys()


def test_fields_become_a_request() -> None:
    expected: dict[str, Any] = {
        'camera': 'front,rear', 'conversation_id': 'tour', 'new_conversation': True,
        'max_age': Duration(sec=1, nanosec=500_000_000), 'not_before': Time(sec=7),
        'num_frames': 4, 'window': Duration(sec=10), 'timeout': Duration(sec=20),
        'max_new_tokens': 8, 'answer_type': Ask.Goal.CHOICE, 'choices': ['a', 'b'],
        'min_confidence': 0.5, 'never_ask_back': True, 'backend': 'onnx',
    }
    fields: AskFields = {
        'camera': 'front,rear', 'conversation': 'tour', 'new_conversation': True, 'max_age': 1.5,
        'not_before': 7.0, 'num_frames': 4, 'window': 10, 'timeout': 20.0, 'max_new_tokens': 8,
        'choices': ('a', 'b'), 'min_confidence': 0.5, 'never_ask_back': True, 'backend': 'onnx',
    }
    assert make_goal('what?', **fields) == Ask.Goal(question='what?', **expected)
    request = AskService.Request(question='what?')
    fill(request, {**fields, 'not_before': Time(sec=7)})
    assert request == AskService.Request(question='what?', **expected)
    assert make_goal('what?', not_before='now') == Ask.Goal(question='what?', not_before_now=True)
    assert make_goal('what?', yes_no=True) == Ask.Goal(question='what?', answer_type=1)
    assert make_goal('the box', locate=True) == Ask.Goal(question='the box', answer_type=4)
    assert make_goal('what?', yes_no=False, choices=()) == Ask.Goal(question='what?')
    # A whole number is a number, too.
    asked = make_goal('how warm?', number=True, unit='°C', minimum=-20, maximum=100)
    assert asked == Ask.Goal(
        question='how warm?', answer_type=Ask.Goal.NUMBER, unit='°C', minimum=-20.0, maximum=100.0
    )
    assert make_goal('what?', min_confidence=1).min_confidence == 1.0


def test_pictures_and_regions_become_messages(tmp_path: Path) -> None:
    rgb = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    path = tmp_path / 'a.png'
    path.write_bytes(b'some picture')
    raw, file = Image(encoding='mono8'), CompressedImage(format='png')
    goal = make_goal('what?', image=[rgb, str(path), raw, file, path], roi=(1, 2, 3, 4))
    made, same = goal.images
    assert same is raw
    assert (made.encoding, made.height, made.width, made.step) == ('rgb8', 2, 3, 9)
    assert bytes(made.data) == rgb.tobytes()
    assert [bytes(c.data) for c in goal.compressed_images] == [
        b'some picture', b'', b'some picture']
    assert goal.roi == RegionOfInterest(x_offset=1, y_offset=2, width=3, height=4)
    assert make_goal('what?', image=rgb[:, ::-1], roi=goal.roi).images[0].data[0] == 6
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert given(parser.parse_args(['--image', 'a', '--image', 'b', '--roi', '1,2,3,4'])) == {
        'image': ['a', 'b'], 'roi': [1, 2, 3, 4]}


def test_values_that_no_request_can_hold() -> None:
    bad: list[tuple[Any, str]] = [
        ({'timeout': -1.0}, 'timeout must be from 0 to'),
        ({'max_age': float('nan')}, 'max_age'),
        ({'window': 2.0**31}, 'window'),
        ({'not_before': -1}, 'not_before'),
        ({'max_new_tokens': 2**32}, 'max_new_tokens must be from 0 to 4294967295'),
        ({'num_frames': -1}, 'num_frames'),
        ({'min_confidence': 2}, 'min_confidence must be from 0 to 1, not 2'),
        ({'yes_no': True, 'choices': ['a', 'b']}, 'yes_no and choices are both'),
        ({'yes_no': True, 'number': True}, 'yes_no and number are both'),
        ({'choices': 'left,middle'}, 'a list'),
        ({'json_schema': {}, 'number': True}, 'number and json_schema are both'),
        ({'image': '/no/such/picture'}, 'cannot be read'),
        ({'image': 5}, 'an RGB array'),
        ({'image': np.zeros((2, 2))}, 'height x width x 3'),
        ({'roi': (1, 2, 3)}, 'x, y, width and height'),
        ({'roi': (1, 2, 3, -4)}, 'x, y, width and height'),
        ({'choices': [1, 2]}, 'choices must be a list of texts'),
        ({'choices': 5}, 'choices cannot be 5'),
        ({'choices': ['a', '\ud800']}, 'choices has half of a character'),
        ({'num_frames': 2.5}, 'num_frames cannot be 2.5'),
        ({'camera': 5}, 'camera cannot be 5'),
        ({'yes_no': 'no'}, "yes_no cannot be 'no'"),
        ({'locate': 1}, 'locate cannot be 1'),
        ({'minimum': 10**400}, 'minimum is too large'),
        ({'json_schema': {'default': date(2026, 1, 1)}}, 'json_schema cannot be written as JSON'),
        ({'json_schema': {'maximum': float('inf')}}, 'json_schema cannot be written as JSON'),
        ({'new_conversation': 1}, 'new_conversation cannot be 1'),
        ({'min_confidence': True}, 'min_confidence cannot be True'),
        ({'max_age': '5'}, "max_age cannot be '5'"),
        ({'max_age': None}, 'max_age cannot be None'),
        ({'not_before': 'later'}, "not_before cannot be 'later'"),
    ]
    for fields, words in bad:
        with pytest.raises(ValueError, match=words):
            make_goal('what?', **fields)
    with pytest.raises(ValueError, match='must be text, not 5'):
        make_goal(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'max_agee' is not one of the fields camera, "):
        make_goal('what?', max_agee=1.0)  # type: ignore[call-arg]


def test_options_of_a_command_line() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('question')
    add_arguments(parser)
    assert given(parser.parse_args(['what?'])) == {}
    arguments = (
        '--camera front --conversation tour --new-conversation --max-age 1.5 --not-before 7 '
        '--num-frames 4 --window 10 --timeout 20 --new-tokens 8 --yes-no --min-confidence 0.5 '
        '--backend onnx'
    )
    fields = given(parser.parse_args(['what?', *arguments.split()]))
    assert fields == {
        'camera': 'front', 'conversation': 'tour', 'new_conversation': True, 'max_age': 1.5,
        'not_before': 7.0, 'num_frames': 4, 'window': 10.0, 'timeout': 20.0, 'max_new_tokens': 8,
        'yes_no': True, 'min_confidence': 0.5, 'backend': 'onnx',
    }
    assert given(parser.parse_args(['what?', '--not-before', 'now'])) == {'not_before': 'now'}
    assert given(parser.parse_args(['what?', '--choices', 'a, b'])) == {'choices': ['a', 'b']}
    for name, (_, option) in FIELDS.items():
        assert option.about in ' '.join(parser.format_help().split()), name


def test_docs_name_every_field() -> None:
    text = DOCS.read_text()
    missing = [name for name in (*FIELDS, *Answer.__annotations__) if f'`{name}`' not in text]
    assert not missing
