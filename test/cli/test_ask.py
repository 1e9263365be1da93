# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu ask, with the real node."""

from __future__ import annotations

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from asked_node import asked_node
from bars import timing, within
import pytest
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.client import VlmClient

WORDS = 'one two three four five six'
SLOW = {'scripted__answers': [WORDS], 'scripted__decode_rate': 0.5}
SCRIPT = Path(__file__).parents[2] / 'scripts' / 'ask'


def test_shows_answer_frame_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    with asked_node(scripted__answers=[WORDS], scripted__decode_rate=100.0) as (_, robot):
        stamp = robot.publish().header.stamp
        assert main(['ask', 'count']) == 0
        out, err = capsys.readouterr()
        assert out == f'{WORDS}\n'
        assert f'frame {stamp.sec}.' in err and '(camera_optical_frame)' in err and 's old' in err
        assert '6 tokens' in err
        assert main(['ask', 'count', '--quiet']) == 0
        assert capsys.readouterr() == (f'{WORDS}\n', '')


def test_json_is_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with asked_node(scripted__answers=[WORDS]) as (_, robot):
        robot.publish()
        assert main(['ask', 'count', '--json', '--new-tokens', '2']) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told['ok'], told['text'], told['finish_reason']) == (True, 'one two', 'length')
        assert told['stats']['new_tokens'] == 2
        assert main(['ask', ' ', '--json']) == 5
        told = json.loads(capsys.readouterr().out)
        assert not told['ok'] and 'empty' in told['error']


def test_prints_the_choice(capsys: pytest.CaptureFixture[str]) -> None:
    answers = ['Red.', 'No.', '12 V', 'It may be red.', 'B) Red']
    with asked_node(scripted__answers=answers) as (_, robot):
        robot.publish()
        assert main(['ask', 'what colour?', '--choices', 'blue, Red']) == 0
        out, err = capsys.readouterr()
        assert out == 'Red\n'
        assert 'the model said: Red., decided by its first words' in err
        assert main(['ask', 'is it red?', '--yes-no', '--quiet']) == 0
        assert capsys.readouterr() == ('no\n', '')
        assert main(['ask', 'how much?', '--number', '--unit', 'V', '--quiet']) == 0
        assert capsys.readouterr() == ('12\n', '')
        assert main(['ask', 'what colour?', '--choices', 'blue, Red']) == 0
        out, err = capsys.readouterr()
        assert out == 'Red\n' and 'decided by asking back' in err
        assert main(['ask', 'what?', '--choices', 'one']) == 5
        assert '2 to 64' in capsys.readouterr().err


def test_dialogue(capsys: pytest.CaptureFixture[str]) -> None:
    with asked_node() as (_, robot), VlmClient() as client:
        robot.publish()
        assert main(['ask', 'what?', '--conversation', 'patrol']) == 0
        assert main(['ask', 'and?', '--conversation', 'patrol']) == 0
        assert [kept.turns for kept in client.conversations()] == [2]
        capsys.readouterr()
        assert main(['ask', 'what?', '--conversation', 'patrol', '--new-conversation']) == 0
        assert [kept.turns for kept in client.conversations()] == [1]
        assert 'turns forgotten: 2' in capsys.readouterr().err


def test_several_frames_of_a_window(capsys: pytest.CaptureFixture[str]) -> None:
    with asked_node(encode_rate=100.0) as (_, robot), VlmClient() as client:
        started = time.monotonic()
        for age in (4.0, 2.0, 0.0):
            frame = robot.publish(age=age + time.monotonic() - started)
            client.ask('seen?', not_before=frame.header.stamp)
        window = ['ask', 'what happened?', '--window', '4', '--num-frames']
        assert main([*window, '3']) == 0
        assert 'the last of 3' in capsys.readouterr().err
        assert main([*window, '5']) == 0
        assert 'note: 3 of 5 frames' in capsys.readouterr().err
        assert main([*window, '3', '--json']) == 0
        assert len(json.loads(capsys.readouterr().out)['frame_stamps']) == 3


@pytest.mark.parametrize(
    ('arguments', 'status', 'words'),
    [
        (['what?', '--camera', 'rear'], 5, 'rear'),
        (['what?', '--new-tokens', '99999'], 5, 'context'),
        (['what?', '--max-age', '1e-9', '--timeout', '0.2'], 4, ' old'),
        (['what?', '--not-before', 'now', '--timeout', '0.2'], 4, 'image_raw'),
        (['count', '--timeout', '0.5'], 7, '500 ms'),
        (['what?', '--timeout', '-1'], 2, 'timeout'),
        (['what?', '--node', 'no node'], 2, 'no node'),
        (['what?', '--node', 'eyes', '--namespace', 'robot', '--wait', '0.2'], 3, '/robot/eyes'),
    ],
)
def test_exit_code_tells_what_went_wrong(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    with asked_node(**SLOW) as (_, robot):
        robot.publish()
        assert main(['ask', *arguments]) == status
        assert words in capsys.readouterr().err
        assert main(['ask', *arguments, '--json']) == status
        told = json.loads(capsys.readouterr().out)
        assert not told['ok'] and words in told['error']


def test_busy_and_inactive_node(capsys: pytest.CaptureFixture[str]) -> None:
    with asked_node(queue_size=0, **SLOW) as (node, robot), VlmClient() as client:
        robot.publish()
        with client.stream('count') as stream:
            next(stream)
            assert main(['ask', 'what?']) == 6
        node.trigger_deactivate()
        assert main(['ask', 'what?']) == 3
        assert 'ros2 lifecycle' in capsys.readouterr().err


@pytest.mark.parametrize('arguments', [[], ['what?', '--not-before', 'soon'], ['a', 'b']])
def test_wrong_use(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(['ask', *arguments])
    assert raised.value.code == 2


def test_without_ros_says_what_to_source() -> None:
    program = (
        'import sys; sys.modules["rclpy"] = sys.modules["builtin_interfaces"] = None\n'
        'from vlm_npu_ros.cli.main import main; sys.exit(main(["ask", sys.argv[1]]))'
    )
    for argument, status, words in (
        ('what?', 1, 'source /opt/ros/jazzy/setup.bash'), ('--help', 0, '--max-age SECONDS'),
    ):
        outcome = subprocess.run(
            [sys.executable, '-c', program, argument], capture_output=True, text=True
        )
        assert outcome.returncode == status
        assert words in outcome.stdout + outcome.stderr


@timing
def test_ctrl_c_cancels_the_question() -> None:
    with asked_node(queue_size=0, **SLOW) as (_, robot), VlmClient() as client:
        robot.publish()
        with subprocess.Popen(
            [sys.executable, SCRIPT, 'count'], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            assert child.stdout and child.stderr
            assert os.read(child.stdout.fileno(), 100).startswith(b'one')
            interrupted = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.wait(30) == 130
            assert time.monotonic() - interrupted < within(1.9)  # the next word would take 2 s
            assert b'cancelled' in child.stderr.read()
        # Nothing may wait here: the node has only room for one.
        assert client.ask('count', max_new_tokens=1).text == 'one'
