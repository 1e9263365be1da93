# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Questions that nobody should ask, and requests with odd fields."""

from __future__ import annotations

from collections import Counter
import re
from typing import Any

from asked_node import asked_node
from builtin_interfaces.msg import Duration, Time
from fuzz.fuzzing import examples, Outcomes, Peak
from hypothesis import example, given
from hypothesis import strategies as st
import numpy as np
import pytest
from robot import Robot, wait_until
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.engine.backends.rknpu.prompt import IMAGE, prompt
from vlm_npu_ros.engine.errors import RequestError, VlmError
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.models import known_models, load_profile
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest, Turn

PEAK = 300  # MiB
LONGEST_MESSAGE = 1000  # characters of an error
ENDS = ('eos', 'length', 'error', 'timeout')


def errors_below(kind: type[VlmError]) -> dict[int, str]:
    return {
        code: name for sub in kind.__subclasses__()
        for code, name in {sub.code: sub.__name__, **errors_below(sub)}.items()
    }


TYPED = errors_below(VlmError)
del TYPED[VlmError.code]
PROFILES = [profile for profile in map(load_profile, known_models()) if profile.tags]


def control_tags() -> list[str]:
    found = {'<image>', '<video>', '<clear>', '<exit>', '<user>', '<assistant>', '<eos>', '[INST]'}
    for profile in PROFILES:
        texts = repr((profile.tags, profile.template, profile.stop))
        found |= set(re.findall(r'<[^<>\s]+>', texts))
    return sorted(found)


TAGS = control_tags()
SPECIAL = [
    '', ' \n\t', '\0', 'what\0ever', '\u202eright to left', 'مرحبا، ماذا ترى؟', '\u2067שלום\u2069',
    '👩‍👩‍👧‍👦🏳️‍🌈' * 50, 'a' + '\u0301' * 5000, '\ufeff', '\ufffe\uffff',
    '\x1b[2J\x1b]0;x\a', '\r\n' * 99, '\u2028\u2029\x85', '𝔴𝔥𝔞𝔱', 'x' * 20_000, 'x' * 20_001,
    '椅子' * 10_000, '<' * 20_000, '<image' * 99, 'x ' * 9_999, '%s%n{0}$(id)`id`', '\\u0000',
    'x' * 1_000_000, '<image>' * 140_000 + 'what?', '🤖' * 250_000,
]
QUESTION = (
    st.text(max_size=100)
    | st.lists(st.sampled_from(TAGS) | st.text(max_size=3), max_size=8).map(''.join)
    | st.sampled_from(SPECIAL)
)
UINT32 = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2, 8, 4000, 2**31, 2**32 - 1])
TIME = {
    'sec': st.integers(0, 2**31 - 1) | st.sampled_from([-2**31, -1, 0, 1, 2**31 - 1]),
    'nanosec': st.integers(0, 10**9 - 1) | st.sampled_from([0, 1, 10**9, 2**32 - 1]),
}
DURATION = st.builds(Duration, **TIME)
SHORT = st.sampled_from([
    Duration(), Duration(nanosec=1), Duration(nanosec=20_000_000), Duration(sec=-1),
    Duration(sec=-1, nanosec=999_999_999), Duration(nanosec=10**9), Duration(nanosec=2**32 - 1),
])
NAME = st.sampled_from(['', 'camera', 'rear', 'camera,camera', ',' * 99, 'a' * 100_000]) | st.text(
    max_size=9
)
FIELDS = {
    'camera': NAME,
    'conversation_id': (
        st.sampled_from(['a', 'b', 'c' * 101, 'c' * 1_000_000]) | st.text(max_size=9)
    ),
    'new_conversation': st.booleans(),
    'answer_type': st.sampled_from([0, 1, 2, 3, 255]),
    'choices': st.lists(st.text(max_size=3), max_size=3) | st.just(['no'] * 9999),
    # What a message of rclpy takes; a float at its limits is refused there.
    'min_confidence': st.floats(-2, 2, width=32) | st.sampled_from([1e38, -1e38, float('nan')]),
    'backend': st.sampled_from(['', 'scripted', 'onnx', 'x' * 100_000]) | st.text(max_size=9),
    'num_frames': UINT32,
    'window': DURATION,
    'max_new_tokens': UINT32,
}
ONE_FIELD = st.sampled_from([*FIELDS]).flatmap(
    lambda name: st.fixed_dictionaries({name: FIELDS[name]})
)
REQUEST = st.tuples(
    st.fixed_dictionaries({'question': QUESTION}),
    st.just({}) | ONE_FIELD | st.fixed_dictionaries({}, optional=FIELDS),
    st.just({})
    | st.fixed_dictionaries({'timeout': DURATION})
    # A question that waits for a frame waits for its whole timeout.
    | st.fixed_dictionaries({'timeout': SHORT}, optional={
        'max_age': DURATION, 'not_before': st.builds(Time, **TIME),
    }),
).map(lambda parts: parts[0] | parts[1] | parts[2])


def test_node_answers_every_question_or_says_why_not(outcomes: Outcomes, peak_of: Peak) -> None:
    counts, ended = outcomes['questions over ROS'], Counter[str]()
    with asked_node(timeout=0.05) as (_, robot):
        robot.publish()
        assert robot.ask(question='what?', timeout=Duration(sec=20)).success

        @examples(150, 5000)
        @given(request=REQUEST, as_goal=st.booleans())
        def ask(request: dict[str, Any], as_goal: bool) -> None:
            response = asked(robot, request, as_goal)
            assert response.success == (not response.error_code)
            assert response.success or response.error_code in TYPED, response.error_msg
            assert response.success or response.error_msg
            assert len(response.error_msg) < LONGEST_MESSAGE
            assert response.finish_reason in ENDS
            counts[TYPED.get(response.error_code, 'answered')] += 1
            if response.request_id:
                ended[response.request_id] += 1

        assert peak_of(ask) < PEAK
        assert robot.ask(question='still there?', timeout=Duration(sec=20)).success
        # Each question that was taken has ended once, also for those that only listen.
        wait_until(lambda: ended <= Counter(p.request_id for p in robot.partials if p.done))
        done = Counter(p.request_id for p in robot.partials if p.done)
        assert set(done.values()) == {1}


def asked(robot: Robot, request: dict[str, Any], as_goal: bool) -> Any:
    """Ask by action or by service; return what came back."""
    if not as_goal:
        return robot.ask(**request)
    return robot.result_of(robot.send_goal(**request))().result


UNSENDABLE: list[dict[str, Any]] = [
    {'question': '\ud800'},
    {'question': 'what \udcff is this?'},
    {'question': 'what?', 'camera': '\udfff'},
    {'question': 'what?', 'conversation': '\ud83d'},
    {'question': 'what?', 'timeout': float('nan')},
    {'question': 'what?', 'max_age': -1.0},
    {'question': 'what?', 'window': float('inf')},
    {'question': 'what?', 'num_frames': -1},
    {'question': 'what?', 'max_new_tokens': 2**32},
]


def test_client_refuses_what_no_request_can_hold() -> None:
    with asked_node() as (_, robot), VlmClient() as client:
        robot.publish()
        for fields in UNSENDABLE:
            with pytest.raises(ValueError):
                client.ask(**fields)
            assert client.ask('still there?').ok


# --- what the backends make of it ---

ANY_QUESTION = QUESTION | st.text(st.characters(), max_size=30)  # unpaired surrogates too


@examples(40, 2000)
@given(
    profile=st.sampled_from([p for p in PROFILES if p.template]),
    question=ANY_QUESTION,
    turns=st.lists(st.builds(Turn, ANY_QUESTION, ANY_QUESTION), max_size=2),
)
def test_no_question_becomes_a_control_tag(profile: Any, question: str, turns: list[Turn]) -> None:
    def framed(question: str, turns: list[Turn]) -> Counter[str]:
        text = prompt(question, turns, IMAGE, profile.template, profile.template).decode()
        assert '\0' not in text
        return Counter({tag: text.count(tag) for tag in TAGS})

    assert framed(question, turns) == framed('x', [Turn('x', 'x')] * len(turns))


def test_embedded_model_answers_any_question_or_says_why_not(
    outcomes: Outcomes, peak_of: Peak
) -> None:
    engine = load_engine(EngineSettings(threads=1))
    picture = engine.encode(np.zeros((9, 9, 3), np.uint8))

    @examples(10, 400)
    @given(
        question=ANY_QUESTION,
        turns=st.lists(st.builds(Turn, ANY_QUESTION, ANY_QUESTION), max_size=1),
    )
    @example('\ud800', [])
    def ask(question: str, turns: list[Turn]) -> None:
        request = GenerationRequest(question, (picture,), 2, turns=tuple(turns))
        try:
            engine.answer(engine.fit(request).request).encode()
        except RequestError as error:
            assert len(str(error)) < LONGEST_MESSAGE
            outcomes['questions to the embedded model'][type(error).__name__] += 1
        else:
            outcomes['questions to the embedded model']['answered'] += 1

    assert peak_of(ask) < PEAK
