# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import signal
import subprocess
import time

from hub_server import Hub, serving
import pytest
import simulated
from terminal import Run, VLM_NPU
import yaml

SIMULATED = Path(simulated.__path__[0])
NAME, FOLDER = 'hf:test/demo-rk3588', 'hf--test--demo-rk3588/rknpu-rk3588'
PATIENCE = 60.0  # seconds


@pytest.fixture
def hub(board_files: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Hub]:
    """Serve the demo model as a board would have it."""
    pytest.importorskip('huggingface_hub')
    files = {
        'vision_rk3588.rknn': (SIMULATED.parent / 'data' / 'demo_encoder.rknn').read_bytes(),
        'llm_w8a8_rk3588.rkllm': (board_files / 'demo.rkllm').read_bytes(),
    }
    environment |= {
        'VLM_NPU_MODELS': str(tmp_path / 'models'), 'HF_HOME': str(tmp_path / 'hf'),
    }
    with serving(Hub({'test/demo-rk3588': files})) as hub:
        environment['HF_ENDPOINT'] = hub.address
        yield hub


def command(*more: str) -> list[str]:
    return [*VLM_NPU, 'pull', NAME, '--profile', str(SIMULATED / 'demo_rknpu.yaml'), *more]


def test_pull_that_is_killed_goes_on_where_it_was(
    hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    content = hub.repositories['test/demo-rk3588']['llm_w8a8_rk3588.rkllm']
    hub.halt['llm_w8a8_rk3588.rkllm'] = len(content) * 4 // 10
    with subprocess.Popen(command('--for', 'rk3588'), env=environment) as first:
        assert hub.halted.wait(PATIENCE)
        parts = tmp_path / 'models' / '.unfinished'
        until = time.monotonic() + PATIENCE  # what was sent is on its way to the disk
        while not [p for p in parts.rglob('llm*') if p.stat().st_size > len(content) // 3]:
            assert first.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
    hub.released.set()
    assert not list((tmp_path / 'models').glob('*/*/pulled.yaml'))
    hub.asked.clear()
    done = subprocess.run(
        command('--for', 'rk3588'), env=environment, capture_output=True, text=True,
        timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / 'models' / FOLDER
    assert done.stdout.strip() == str(folder)
    assert (folder / 'llm_w8a8_rk3588.rkllm').read_bytes() == content
    ((path, wanted),) = hub.asked
    assert path == 'llm_w8a8_rk3588.rkllm'
    assert len(content) // 3 < int(wanted.removeprefix('bytes=').rstrip('-')) < len(content)


def test_pulled_model_answers_without_a_server(
    hub: Hub, environment: dict[str, str], board_files: Path, board: list[str], picture: Path,
    vlm_npu: Run, tmp_path: Path,
) -> None:
    done = subprocess.run(
        command('--force'), env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((tmp_path / 'models' / FOLDER / 'pulled.yaml').read_text())['chip']
    hub.repositories.clear()
    asked = [*VLM_NPU, 'chat', str(picture), '-q', 'what do you see?', '--quiet', *board[-2:]]
    for model in ([], ['--model', NAME]):
        answer = subprocess.run(
            [*asked, *model], env=environment, capture_output=True, text=True, timeout=PATIENCE)
        assert answer.stdout.startswith('I see'), answer.stderr
    listed = subprocess.run(
        [*VLM_NPU, 'models'], env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert NAME in listed.stdout.splitlines()[-1]
    llm = tmp_path / 'models' / FOLDER / 'llm_w8a8_rk3588.rkllm'
    llm.write_bytes(llm.read_bytes()[:-1] + b'x')
    answer = subprocess.run(
        asked, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert answer.returncode == 1 and 'vlm-npu pull' in answer.stderr


def test_errors_are_sentences(hub: Hub, environment: dict[str, str]) -> None:
    for arguments, code, words in (
        (['unheard-of'], 1, 'not in the catalogue'), (['hf:test/nothing'], 1, 'not there'),
        (['hf:test/demo-rk3588', '--for', 'rk3576'], 1, 'vision_rk3588.rknn'), ([], 2, 'NAME'),
    ):
        done = subprocess.run(
            [*VLM_NPU, 'pull', *arguments], env=environment, capture_output=True, text=True,
            timeout=PATIENCE)
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr
        assert 'Traceback' not in done.stderr
