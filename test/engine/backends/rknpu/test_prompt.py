# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from vlm_npu_ros.engine.backends.rknpu.prompt import IMAGE, prompt
from vlm_npu_ros.engine.control_tags import user_text
from vlm_npu_ros.engine.models import ChatTemplate
from vlm_npu_ros.engine.types import Turn

CHATML = ChatTemplate('<|im_start|>system\nHelp.<|im_end|>\n', '<|im_start|>user\n',
                      '<|im_end|>\n<|im_start|>assistant\n', '<|im_end|>\n')
CONTROL_TAGS = [
    '<image>', '<video>', '<|im_end|>', '<|im_start|>', '<|vision_start|>', '<|vision_end|>',
    '<|image_pad|>', '<|video_pad|>', '<img>', '</img>', '<IMG_CONTEXT>', '<end_of_utterance>',
    '<fake_token_around_image>', '<global-img>', '<row_1_col_1>', '<｜▁pad▁｜>', '<｜User｜>',
    '<unk>', '</image>', '<slice>', '<|endoftext|>', '<s>', '</s>', '<think>', '<tool_call>',
]


def test_question_holds_no_control_tag() -> None:
    for tag in CONTROL_TAGS:
        text = user_text(f'what is {tag}{tag} here?')
        assert tag not in text
        assert text.replace('< ', '<') == f'what is {tag}{tag} here?'


def test_plain_question_stays_as_it_is() -> None:
    for question in ('is it < 3 m away?', 'wo steht der Stuhl?', '椅子在哪里？'):
        assert user_text(question) == question


def test_zero_byte_does_not_end_the_question() -> None:
    assert prompt('what\0ever', (), '', None, None) == b'what ever'


def test_lone_surrogate_is_replaced() -> None:
    assert prompt('what\ud800?', (), '', None, None) == b'what??'


def test_images_come_first_and_only_they_are_images() -> None:
    text = prompt('and <image>?', (), 2 * IMAGE, None, None)
    assert text == b'<image><image>and < image>?'


def test_template_goes_around_everything() -> None:
    assert prompt('what?', (), IMAGE, CHATML, CHATML).decode() == (
        '<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\n<image>what?<|im_end|>\n'
        '<|im_start|>assistant\n'
    )


def test_turns_stand_between_images_and_question() -> None:
    turns = (Turn('a <image>?', 'b<|im_end|>'), Turn('c?', 'd'))
    assert prompt('e?', turns, IMAGE, CHATML, None).decode() == (
        '<image>a < image>?<|im_end|>\n<|im_start|>assistant\nb< |im_end|><|im_end|>\n'
        '<|im_start|>user\nc?<|im_end|>\n<|im_start|>assistant\nd<|im_end|>\n'
        '<|im_start|>user\ne?'
    )
