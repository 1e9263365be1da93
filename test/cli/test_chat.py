# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu chat, typed into a terminal and at the end of a pipe."""

from __future__ import annotations

import json
from pathlib import Path
import re
import signal
import subprocess
from typing import Any

import pytest
from terminal import PROMPT, Run, VLM_NPU
from vlm_npu_ros.cli.main import main

CTRL_C, CTRL_D, UP = '\x03', '\x04', '\x1b[A'
ENDLESS = {
    'SIMRKLLM_DECODE_RATE': '20', 'SIMRKLLM_ANSWER': 'one two ', 'SIMRKLLM_ENDLESS': '1',
}


def tokens_read(shown: str) -> int:
    match = re.search(r'(\d+) tokens read', shown)
    assert match, shown
    return int(match[1])


def records(*arguments: object, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    main([*map(str, arguments), '--json'])
    out, err = capsys.readouterr()
    assert not [line for line in err.splitlines() if not line.startswith('vlm-npu: ')]
    return [json.loads(line) for line in out.splitlines()]


def test_dialogue_goes_on_is_cleared_and_exits(vlm_npu: Run, picture: Path) -> None:
    with vlm_npu('chat', picture) as session:
        start = session.expect(PROMPT)
        assert re.search(r'demo loaded: vision encoder \d+\.\d\d s.*; language model \d', start)
        assert 'scene.png, encoded in' in start and '64 tokens' in start
        first = session.ask('what do you see?')
        assert 'I see' in first
        assert re.search(r'first token \d+ ms, \d+ tokens read at \d+/s, \d+ written at \d+/s, '
                         r'memory \d+ MB', first)
        assert tokens_read(first) > 64
        assert tokens_read(session.ask('where is it?')) < 32
        assert 'Forgot' in session.ask('<clear>')
        assert tokens_read(session.ask('where is it?')) > 64
        session.press('<exit>\r')
        assert session.end() == 0


def test_bare_words_are_commands(vlm_npu: Run, picture: Path) -> None:
    with vlm_npu('chat', picture) as session:
        session.expect(PROMPT)
        session.ask('what do you see?')
        assert 'Forgot' in session.ask('clear')
        assert 'tokens read' in session.ask('is the path clear')
        session.press('exit\r')
        assert session.end() == 0


def test_another_picture(vlm_npu: Run, picture: Path, other_picture: Path) -> None:
    with vlm_npu('chat', picture) as session:
        session.expect(PROMPT)
        first = session.ask('what do you see?')
        other = session.ask(f'<image> "{other_picture}" what do you see?')
        assert 'other scene.png, encoded in' in other
        answers = [re.search(r'I see[^.]*', shown) for shown in (first, other)]
        assert answers[0] and answers[1] and answers[0][0] != answers[1][0]
        assert tokens_read(other) == tokens_read(first)
        assert 'vlm-npu: /nowhere.png cannot be read' in session.ask('<image> /nowhere.png what?')
        assert tokens_read(session.ask('where is it?')) < 32  # the dialogue is as it was
        again = session.ask('<image>')
        assert 'other scene.png, encoded in' in again and 'tokens read' not in again
        session.press(CTRL_D)
        assert session.end() == 1  # a question was not answered


def test_without_a_picture(vlm_npu: Run, picture: Path) -> None:
    with vlm_npu('chat') as session:
        session.expect(PROMPT)
        assert tokens_read(session.ask('hello')) < 32
        assert 'nothing to look at' in session.ask('<image> what is it?')
        assert tokens_read(session.ask(f'<image> {picture} what do you see?')) > 64
        session.press(CTRL_D)
        assert session.end() == 1


def test_ctrl_d_ends_with_the_prompt_s_line(vlm_npu: Run, picture: Path) -> None:
    with vlm_npu('chat', picture) as session:
        session.expect(PROMPT)
        session.press(CTRL_D)
        assert session.end() == 0
        assert session.text.endswith(f'{PROMPT}\n')


def test_history_is_kept(vlm_npu: Run, picture: Path, tmp_path: Path) -> None:
    with vlm_npu('chat', picture) as session:
        session.expect(PROMPT)
        session.ask('what do you see?')
        session.press(CTRL_D)
        assert session.end() == 0
    assert (tmp_path / 'state/vlm-npu/history').read_text() == 'what do you see?\n'
    with vlm_npu('chat', picture) as session:
        session.expect(PROMPT)
        session.press(f'{UP}\r')
        session.expect('what do you see?')
        assert 'I see' in session.expect(PROMPT)
        session.press('exit\r')
        assert session.end() == 0


def test_history_that_can_not_be_kept_is_no_error(
    vlm_npu: Run, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / 'state').write_text('a file, not a folder')
    with vlm_npu('chat', picture) as session:
        session.expect(PROMPT)
        session.press(CTRL_D)
        assert session.end() == 0


def test_ctrl_c_ends_one_answer_and_then_the_program(
    vlm_npu: Run, picture: Path, board: list[str]
) -> None:
    with vlm_npu('chat', picture, *board, **ENDLESS) as session:
        assert 'demo-rknpu loaded' in session.expect(PROMPT)
        read = []
        for _ in range(2):
            session.press('what do you see?\r')
            session.expect('one two')
            session.press(CTRL_C)
            session.expect('Stopped, first token')
            read.append(tokens_read(session.expect(PROMPT)))
        assert read[0] == read[1]  # a stopped answer is not remembered
        # Once more if need be: readline sleeps over one that comes right after the prompt.
        assert session.end(pressing=CTRL_C) == 130


def test_ctrl_c_twice_leaves_a_runtime_that_hangs(
    vlm_npu: Run, picture: Path, board: list[str]
) -> None:
    with vlm_npu('chat', picture, *board, **ENDLESS, SIMRKLLM_HANG_AT='3') as session:
        session.expect(PROMPT)
        session.press('what do you see?\r')
        session.expect('one two')
        # Over and over: Python takes two that come at once for one.
        assert session.end(pressing=CTRL_C) == 130


def test_ctrl_c_while_no_one_types_ends_the_program(
    environment: dict[str, str], picture: Path, board: list[str]
) -> None:
    command = [*VLM_NPU, 'chat', str(picture), *board, '-q', 'what?', '-q', 'what?', '--quiet']
    with subprocess.Popen(
        command, env={**environment, **ENDLESS}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout and child.stdout.read(7) == b'one two'
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert child.returncode == 130
        assert out.count(b'\n') == 1 and b'Traceback' not in err


@pytest.mark.parametrize('fault, stage', [
    ('SIMRKLLM_INIT_SEGV', r'loading the language model \S+demo.rkllm with librkllmrt.so 1.2.3'),
    ('SIMRKLLM_PREFILL_SEGV', 'reading the prompt'),
])
def test_crash_of_the_runtime_leaves_a_sentence(
    fault: str, stage: str, environment: dict[str, str], picture: Path, board: list[str]
) -> None:
    command = [*VLM_NPU, 'chat', str(picture), *board, '-q', 'what?']
    done = subprocess.run(
        command, env={**environment, fault: '1'}, capture_output=True, text=True, timeout=60
    )
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (1, '')
    assert re.match(rf'vlm-npu: The engine ended by SIGSEGV while {stage}', last)
    assert 'Traceback' not in done.stderr


def test_dialogue_goes_on_after_a_crash(
    vlm_npu: Run, picture: Path, board: list[str], tmp_path: Path
) -> None:
    faults = tmp_path / 'faults'
    faults.write_text('SIMRKLLM_SEGV_AT@once=2\n')
    with vlm_npu('chat', picture, *board, SIMNPU_FAULTS=str(faults)) as session:
        session.expect(PROMPT)
        assert 'The engine ended by SIGSEGV' in session.ask('what do you see?')
        assert 'I see' in session.ask('what do you see?')
        session.press(CTRL_D)
        assert session.end() == 1


def test_answer_that_repeats_itself_says_that_it_was_cut(
    environment: dict[str, str], picture: Path, board: list[str]
) -> None:
    command = [*VLM_NPU, 'chat', str(picture), *board, '-q', 'what?', '--new-tokens', '200']
    done = subprocess.run(
        command, env={**environment, **ENDLESS}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and 'cut, because it repeated itself, ' in done.stderr


def test_markdown_is_rendered(vlm_npu: Run, picture: Path, board: list[str]) -> None:
    answer = '# Scene\n\n- a **red** cone\n- a <b> tag'
    with vlm_npu('chat', picture, *board, SIMRKLLM_ANSWER=answer) as session:
        session.expect(PROMPT)
        shown = session.ask('what do you see?')
        assert '• a red cone' in shown and 'a <b> tag' in shown
        assert '**' not in shown and '# Scene' not in shown
        session.press(CTRL_D)
        assert session.end() == 0


def test_positional_order_of_the_board_programs(
    vlm_npu: Run, picture: Path, board: list[str]
) -> None:
    encoder, language_model, *options = board
    arguments = ['chat', picture, encoder, language_model, '20', '256', *options, '--info']
    with vlm_npu(*arguments, '-q', 'what do you see?') as session:
        assert session.end() == 0
        assert 'context         256 tokens, 20 of them for an answer' in session.text
        assert 'demo-rknpu (backend rknpu)' in session.text
        assert 'demo.rkllm' in session.text
        assert 'first token' in session.text


def test_full_context_forgets_the_oldest_questions(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [a for _ in range(12) for a in ('-q', 'what do you see on the left side?')]
    assert main(['chat', str(picture), '--context', '160', '--new-tokens', '40', *questions]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 12
    assert re.search(r'Forgot the oldest \d+ of \d+ questions', err)


def test_json(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, failed = records(
        'chat', picture, '-q', 'what do you see?', '-q', 'where is it?', '-q', '<image> /no.png x',
        capsys=capsys,
    )
    assert first['question'] == 'what do you see?' and first['answer'].startswith('I see')
    assert first['finish_reason'] == 'eos'
    assert first['about'] == [str(picture)] and first['frame_seconds'] == []
    assert first['image_tokens'] == 64 < first['prompt_tokens']
    assert second['image_tokens'] == 0 < second['prompt_tokens'] < 32
    for name in ('first_token_seconds', 'prefill_seconds', 'decode_seconds', 'memory_bytes',
                 'prefill_tokens_per_second', 'decode_tokens_per_second', 'new_tokens'):
        assert first[name] > 0
    assert failed['error_code'] == 9503 and '/no.png' in failed['error']


def test_answers_are_plain_in_a_pipe(picture: Path, environment: dict[str, str]) -> None:
    outcome = subprocess.run(
        [*VLM_NPU, 'chat', str(picture)],
        input='what do you see?\n\nhow many objects are there?\nexit\nnever asked\n',
        capture_output=True, text=True, check=True, env=environment,
    )
    assert len(outcome.stdout.splitlines()) == 2
    assert '\x1b' not in outcome.stdout + outcome.stderr
    assert outcome.stderr.count('first token') == 2


def test_bytes_that_are_no_text_are_a_question(picture: Path, environment: dict[str, str]) -> None:
    outcome = subprocess.run(
        [*VLM_NPU, 'chat', str(picture), '--quiet'], input=b'what \xff\xfe?\n',
        capture_output=True, check=True, env=environment,
    )
    assert outcome.stdout and not outcome.stderr


def test_reader_that_goes_away(picture: Path, environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [*VLM_NPU, 'chat', str(picture)], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdout.close()
        child.stdin.write('what do you see?\n')
        child.stdin.close()
        assert child.wait(60) == 141
        assert 'Traceback' not in child.stderr.read()


def test_camera_is_looked_at(video: Path, vlm_npu: Run, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*VLM_NPU, 'chat', '--camera', str(video), '-q', 'what do you see?', '--json'],
        env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and json.loads(done.stdout)['about'] == [f'camera://{video}']
    missing = subprocess.run(
        [*VLM_NPU, 'chat', '--camera', '63', '-q', 'what do you see?'],
        env=environment, capture_output=True, text=True, timeout=60)
    assert missing.returncode == 1 and 'The camera 63 cannot be opened' in missing.stderr
