# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest
import simulated
from simulated.board import board_tree, write
from vlm_npu_ros.engine.backends.backend import Check, require
from vlm_npu_ros.engine.backends.rknpu.abi import TELLING_FUNCTIONS
from vlm_npu_ros.engine.backends.rknpu.board import Board
from vlm_npu_ros.engine.backends.rknpu.doctor import examine
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.errors import (
    BackendUnavailableError,
    ModelFileError,
    UnsupportedRuntimeError,
)
from vlm_npu_ros.engine.settings import EngineSettings

DATA = Path(simulated.__path__[0]).parent / 'data'
PROFILE = Path(simulated.__path__[0]) / 'demo_rknpu.yaml'
ENCODER, LANGUAGE_MODEL = '/models/demo.rknn', '/models/demo.rkllm'

Tree = Callable[..., Board]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def make(**facts: object) -> Board:
        board_tree(tmp_path, **facts)  # type: ignore[arg-type]
        (tmp_path / 'models').mkdir()
        shutil.copy(DATA / 'demo_encoder.rknn', tmp_path / 'models/demo.rknn')
        write(tmp_path / 'models/demo.rkllm', b'SIMRKLLM'.ljust(2_000_000, b'\1'))
        return Board(tmp_path)
    return make


def settings(
    model: str = str(PROFILE), encoder: str = ENCODER, language_model: str = LANGUAGE_MODEL,
    context: int = 0, library: str = 'librkllmrt.so', encoder_runtime: str = 'auto',
) -> EngineSettings:
    options = RknpuSettings(library, encoder_runtime=encoder_runtime)
    return EngineSettings('rknpu', model, encoder, language_model, context, options=options)


def failures(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if check.level == 'fail'}


def named(board: Board, name: str) -> Check:
    (check,) = (check for check in examine(board, settings()) if check.name == name)
    return check


def only_failure(board: Board, wanted: EngineSettings) -> Check:
    checks = examine(board, wanted)
    (failed,) = failures(checks).values()
    with pytest.raises(failed.error) as caught:
        require(checks, print)
    assert failed.found in str(caught.value) and failed.remedy in str(caught.value)
    return failed


def test_board_that_is_ready_passes(tree: Tree) -> None:
    checks = examine(tree(), settings())
    assert {check.level for check in checks} == {'ok'}
    assert {check.name for check in checks} >= {
        'board', 'NPU driver', 'librkllmrt.so', 'librknnrt.so', 'rknn-toolkit-lite2',
        'vision encoder', 'language model', 'model', 'context', 'memory', 'clocks', 'device files',
    }
    require(checks, print)


def test_this_machine_is_no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('VLM_NPU_SYSROOT', raising=False)
    if os.path.exists('/proc/device-tree/compatible'):
        pytest.skip('This machine may be a board')
    checks = failures(examine(Board(), settings()))
    assert 'no Rockchip board' in checks['board'].found
    assert 'backend: onnx' in checks['board'].remedy
    assert checks['librkllmrt.so'].error is BackendUnavailableError


def test_other_chip_is_refused(tree: Tree) -> None:
    failed = failures(examine(tree(soc='rk3566'), settings()))
    assert 'rk3566' in failed['board'].found
    # The encoder was made for another chip than this one.
    assert 'made for rk3588' in failed['vision encoder'].found


@pytest.mark.parametrize('driver, level', [
    ('0.8.2', 'fail'), ('0.9.5', 'fail'), ('0.9.6', 'warn'), ('0.9.8', 'ok'), ('0.10.1', 'ok'),
])
def test_old_driver(driver: str, level: str, tree: Tree) -> None:
    checks = {check.name: check for check in examine(tree(driver=driver), settings())}
    assert checks['NPU driver'].level == level
    assert driver in checks['NPU driver'].found
    assert ('kernel' in checks['NPU driver'].remedy) == (level != 'ok')


def test_driver_that_can_not_be_read_is_a_warning(tree: Tree) -> None:
    board = tree()
    (board.root / 'sys/kernel/debug/rknpu/version').unlink()
    driver = named(board, 'NPU driver')
    assert (driver.level, driver.found) == (
        'warn', 'no file tells its version (kernel 6.1.84-vendor)'
    )
    assert 'sudo mount -t debugfs' in driver.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason='Nothing is hidden from root.')
def test_driver_that_only_root_sees_is_a_warning(tree: Tree) -> None:
    board = tree()
    (board.root / 'sys/kernel/debug').chmod(0)
    driver = named(board, 'NPU driver')
    (board.root / 'sys/kernel/debug').chmod(0o700)
    assert (driver.level, driver.found) == (
        'warn', 'only root can read its version (kernel 6.1.84-vendor)'
    )
    assert '`sudo cat /sys/kernel/debug/rknpu/version`' in driver.remedy


def test_unknown_runtime(tree: Tree) -> None:
    failed = only_failure(tree(runtime='1.4.0'), settings())
    assert failed.name == 'librkllmrt.so'
    assert 'version 1.4.0' in failed.found
    assert 'rknpu.runtime_version' in failed.remedy


def test_runtime_that_contradicts_itself(tree: Tree) -> None:
    oldest = list(TELLING_FUNCTIONS)[:1]
    failed = only_failure(tree(runtime='1.2.3', functions=oldest), settings())
    assert 'contradicts itself' in f'{failed.found}{failed.remedy}'


def test_runtime_cut_short(tree: Tree) -> None:
    board = tree()
    write(board.root / 'usr/lib/librkllmrt.so', b'\x7fELF')
    assert 'too short' in only_failure(board, settings()).found


def test_missing_runtimes_are_told_with_where_to_get_them(tree: Tree) -> None:
    board = tree()
    (board.root / 'usr/lib/librkllmrt.so').unlink()
    (board.root / 'usr/local/lib').mkdir(parents=True)
    (board.root / 'usr/lib/librknnrt.so').rename(board.root / 'usr/local/lib/librknnrt.so')
    failed = failures(examine(board, settings()))
    assert 'airockchip/rknn-llm' in failed['librkllmrt.so'].remedy
    assert 'usr/local/lib/librknnrt.so' in failed['librknnrt.so'].found
    assert 'sudo cp' in failed['librknnrt.so'].remedy


def test_model_too_big_for_the_memory(tree: Tree) -> None:
    board = tree(free_gb=0.001)
    failed = only_failure(board, settings())
    assert failed.name == 'memory'
    assert 'smaller model' in failed.remedy and 'close other programs' in failed.remedy


def test_model_bigger_than_all_memory_is_not_helped_by_closing_programs(tree: Tree) -> None:
    board = tree(free_gb=6.0)
    with open(board.root / 'models/demo.rkllm', 'r+b') as file:
        file.truncate(9_000_000_000)  # sparse, takes no room
    failed = only_failure(board, settings())
    assert '6.1 GB free' in failed.found and '9.0 GB' in failed.found
    assert 'smaller model' in failed.remedy and 'close other programs' not in failed.remedy
    assert failed.error is BackendUnavailableError


def test_published_need_is_a_warning(tree: Tree, tmp_path: Path) -> None:
    board = tree(free_gb=1.99)
    text = PROFILE.read_text() + "published: {ram_gb: 3.1, source: 'a test'}\n"
    write(tmp_path / 'big.yaml', text.encode())
    checks = {c.name: c for c in examine(board, settings(str(tmp_path / 'big.yaml')))}
    assert checks['memory'].level == 'warn'
    assert checks['memory'].found == '2.0 GB free, demo-rknpu needs about 3.1 GB'


def test_runtime_older_than_the_model(tree: Tree, tmp_path: Path) -> None:
    text = PROFILE.read_text().replace("min_runtime: '1.1.0'", "min_runtime: '1.3.0'")
    write(tmp_path / 'new.yaml', text.encode())
    failed = only_failure(tree(), settings(str(tmp_path / 'new.yaml')))
    assert '1.2.3' in failed.found and 'needs 1.3.0' in failed.found
    assert failed.error is UnsupportedRuntimeError


@pytest.mark.parametrize('context, found', [(1024, '1024 tokens, demo-rknpu holds 512'),
                                            (500, '500 tokens'), (-32, '-32 tokens')])
def test_context(context: int, found: str, tree: Tree) -> None:
    failed = only_failure(tree(), settings(context=context))
    assert (failed.name, failed.found, failed.error) == ('context', found, ModelFileError)


@pytest.mark.parametrize('old, new, facts', [
    ('dim: 128', 'dim: 2048', ('128', '2048')),
    ('outputs: 1', 'outputs: 4', ('is 1', '4')),
    ('{128: 64}', '{128: 36}', ('64', '36')),
    ('mean: [0.5, 0.5, 0.5]', 'mean: [0.48, 0.46, 0.41]', ('127.5', '122.4')),
])
def test_encoder_of_another_model(
    old: str, new: str, facts: tuple[str, str], tree: Tree, tmp_path: Path,
) -> None:
    write(tmp_path / 'other.yaml', PROFILE.read_text().replace(old, new).encode())
    failed = only_failure(tree(), settings(str(tmp_path / 'other.yaml')))
    for fact in facts:
        assert fact in failed.found
    assert 'vlm-npu models' in failed.remedy


@pytest.mark.parametrize('name, path', [
    ('vision encoder', ENCODER), ('language model', LANGUAGE_MODEL),
])
def test_file_that_is_not_there(name: str, path: str, tree: Tree) -> None:
    board = tree()
    board.path(path).unlink()
    failed = only_failure(board, settings())
    assert (failed.name, failed.error) == (name, ModelFileError)
    assert str(board.path(path)) in failed.found
    assert failed.remedy.startswith('Copy the file there')


@pytest.mark.skipif(os.geteuid() == 0, reason='Nothing is hidden from root.')
def test_file_of_somebody_else(tree: Tree) -> None:
    board = tree()
    board.path(LANGUAGE_MODEL).chmod(0)
    failed = only_failure(board, settings())
    assert 'this user may not' in failed.found and 'chmod a+r' in failed.remedy


@pytest.mark.parametrize('data, found, remedy', [
    (b'version https://git-lfs.github.com/spec/v1\n', 'git-LFS pointer', 'Run `git lfs pull`'),
    (b'<!DOCTYPE html>', 'web page', 'Download the file itself'),
    (b'GGUF\3\0\0\0', 'GGUF', 'Convert the'),
    (b'', 'empty', 'Copy or download it again'),
])
def test_files_that_are_something_else(data: bytes, found: str, remedy: str, tree: Tree) -> None:
    board = tree()
    for path in (ENCODER, LANGUAGE_MODEL):
        board.path(path).write_bytes(data)
    failed = failures(examine(board, settings()))
    assert set(failed) == {'vision encoder', 'language model'}
    for check in failed.values():
        assert found in check.found and check.remedy.startswith(remedy)


def test_language_model_cut_short_is_a_warning(tree: Tree) -> None:
    board = tree()
    board.path(LANGUAGE_MODEL).write_bytes(b'SIMRKLLM')
    check = named(board, 'language model')
    assert check.level == 'warn' and 'compare the sizes' in check.remedy


def test_swapped_files(tree: Tree) -> None:
    failed = failures(examine(tree(), settings(encoder=LANGUAGE_MODEL, language_model=ENCODER)))
    assert 'swapped' in failed['vision encoder'].found + failed['vision encoder'].remedy
    assert 'swapped' in failed['language model'].found + failed['language model'].remedy


def test_profile_of_another_backend(tree: Tree) -> None:
    assert 'made for the backend onnx' in only_failure(tree(), settings('demo')).found


def test_missing_python_package(tree: Tree) -> None:
    board = tree()
    (board.root / 'usr/lib/python3/dist-packages/rknnlite').rmdir()
    failed = only_failure(board, settings(encoder_runtime='rknnlite'))
    assert 'pip install rknn-toolkit-lite2' in failed.remedy and 'at auto' in failed.remedy
    lite = named(board, 'rknn-toolkit-lite2')
    assert (lite.level, lite.found) == (
        'ok', 'not installed, not used: the encoder runs on librknnrt.so itself'
    )


def test_library_of_the_encoder_may_be_elsewhere_without_rknnlite(tree: Tree) -> None:
    board = tree()
    (board.root / 'vendor/lib64').mkdir(parents=True)
    moved = board.root / 'vendor/lib64/librknnrt.so'
    (board.root / 'usr/lib/librknnrt.so').rename(moved)
    failed = only_failure(board, settings())
    assert failed.name == 'librknnrt.so' and 'rknpu.encoder_runtime to librknnrt' in failed.remedy
    own = settings(encoder_runtime='librknnrt')
    checks = {check.name: check for check in examine(board, own)}
    assert checks['librknnrt.so'].found == f'2.3.2 ({moved})'
    assert checks['runtime for the encoder'].found.startswith('librknnrt.so 2.3.2')
    require(checks.values(), print)
    moved.unlink()
    assert 'in none of the folders' in only_failure(board, own).found


def test_slow_clocks_are_a_warning(tree: Tree) -> None:
    board = tree()
    write(board.root / 'sys/class/devfreq/fdab0000.npu/governor', b'rknpu_ondemand\n')
    clocks = named(board, 'clocks')
    assert (clocks.level, clocks.found) == ('warn', 'NPU: rknpu_ondemand (1000 of 1000 MHz)')


def test_closed_npu_device_is_a_failure(tree: Tree) -> None:
    board = tree()
    device = board.root / 'dev/dri/renderD129'
    device.unlink()
    device.symlink_to('gone')  # which root cannot open either
    failed = only_failure(board, settings())
    assert str(device) in failed.found
    assert 'usermod -aG render,video' in failed.remedy


def test_closed_heap_or_gpu_is_a_warning(tree: Tree) -> None:
    board = tree()
    (board.root / 'dev/dma_heap').mkdir()
    for name in ('dma_heap/system', 'dri/renderD128'):
        (board.root / 'dev' / name).symlink_to('gone')
    check = named(board, 'device files')
    assert check.level == 'warn'
    assert 'dma_heap/system' in check.found and 'renderD129' not in check.found


def test_machine_without_npu_device_is_a_warning(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree().root
    (root / 'dev/dri/renderD129').unlink()
    monkeypatch.setenv('VLM_NPU_SYSROOT', str(root))
    check = named(Board(), 'device files')
    assert check.level == 'warn' and 'container' in check.remedy


def test_few_open_files_are_a_warning() -> None:
    assert named(Board(), 'open files').level == 'ok'
    code = (
        'import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500)); '
        'from vlm_npu_ros.cli.main import main; main(["doctor"])'
    )
    table = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    ).stdout
    assert 'warn  open files          at most 500' in table
    assert 'LimitNOFILE=102400' in table


def test_board_is_looked_at_without_models(tree: Tree) -> None:
    checks = examine(tree(), settings(encoder='', language_model=''))
    assert not failures(checks)
    assert next(c for c in checks if c.name == 'model files').level == 'warn'


def _mainline(root: Path, kernel: str = '6.18.3-edge', rknpu: str = '') -> None:
    """Turn a tree into one with a mainline kernel; rknpu: version of a module built for it."""
    shutil.rmtree(root / 'sys/kernel/debug/rknpu')
    shutil.rmtree(root / 'sys/class/devfreq')
    write(root / 'proc/sys/kernel/osrelease', f'{kernel}\n'.encode())
    write(root / 'sys/bus/platform/drivers/rocket/bind', b'')
    write(root / 'dev/accel/accel0', b'')
    (root / 'dev/dri/renderD129').rename(root / 'dev/dri/renderD128')
    if rknpu:
        write(root / 'sys/module/rknpu/version', f'{rknpu}\n'.encode())


def _linked(root: Path) -> None:
    _mainline(root)
    (root / 'dev/rknpu').symlink_to('accel/accel0')


def _hidden_driver(root: Path) -> None:
    shutil.rmtree(root / 'sys/kernel')
    write(root / 'sys/bus/platform/drivers/RKNPU/bind', b'')


def _librknnrt(version: str) -> Callable[[Path], None]:
    data = f'\x7fELF\0librknnrt version: {version} (abc@2024)\0'.encode()
    return lambda root: write(root / 'usr/lib/librknnrt.so', data)


def _lite(version: str) -> Callable[[Path], None]:
    name = f'usr/lib/python3/dist-packages/rknn_toolkit_lite2-{version}.dist-info'
    return lambda root: (root / name).mkdir()


def _made_by(toolkit: str) -> Callable[[Path], None]:
    """Let the language model end as rkllm-toolkit lets its files end."""
    data = b'\1' * 2_000_000 + f'\0rkllm-toolkit version: {toolkit}\0\0'.encode()
    return lambda root: write(root / 'models/demo.rkllm', data)


def _rkllm(version: str, toolkit: str = '') -> Callable[[Path], None]:
    def change(root: Path) -> None:
        board_tree(root, runtime=version)
        if toolkit:
            _made_by(toolkit)(root)
    return change


def _beside(name: str) -> Callable[[Path], None]:
    return lambda root: write(root / 'models' / name, b'\0')


def _nothing(root: Path) -> None:
    pass


# The tree: facts about the board, what is changed in it. What the doctor says: the check, its
# level, words of what it found and of what it advises.
TREES = {
    'rock 5b': ({}, _nothing, 'NPU driver', 'ok', '0.9.8 (kernel 6.1.84-vendor)', ''),
    'rock 5b, cpus': ({}, _nothing, 'CPUs', 'ok', '4 5 6 7 for 3 NPU cores', ''),
    'rk3576': ({'soc': 'rk3576'}, _nothing, 'board', 'ok', '(rk3576)', ''),
    'rk3576, file of rk3588': (
        {'soc': 'rk3576'}, _nothing, 'vision encoder', 'fail', 'made for rk3588', 'convert',
    ),
    'rk3566': ({'soc': 'rk3566'}, _nothing, 'board', 'fail', 'runs no language model', 'openai'),
    'rk3568': ({'soc': 'rk3568'}, _nothing, 'board', 'fail', 'runs no language model', 'openai'),
    'rk3572': ({'soc': 'rk3572'}, _nothing, 'board', 'fail', 'RKNN3', 'rkllm3-server'),
    'rk3399': ({'soc': 'rk3399'}, _nothing, 'board', 'fail', '(rk3399)', 'another board'),
    'mainline kernel': (
        {}, _mainline, 'NPU driver', 'fail', 'rocket, that of the mainline', 'vendor kernel',
    ),
    'mainline kernel, link': (
        {}, _linked, 'NPU driver', 'fail', 'dev/rknpu is only a link', 'vendor kernel',
    ),
    'mainline kernel, own module': (
        {}, lambda root: _mainline(root, '7.0.2', '0.9.8'), 'NPU driver', 'ok', '0.9.8', '',
    ),
    'mainline kernel, old module': (
        {}, lambda root: _mainline(root, '7.0.2', '0.9.3'), 'NPU driver', 'fail', '0.9.3', '0.9.8',
    ),
    'not root': ({}, _hidden_driver, 'NPU driver', 'warn', 'no file tells', 'debugfs'),
    'no librknnrt': (
        {}, lambda root: (root / 'usr/lib/librknnrt.so').unlink(), 'librknnrt.so', 'fail',
        'the driver 0.9.8 is there', 'rknn-toolkit2',
    ),
    'librknnrt of 1.x': (
        {}, _librknnrt('1.5.2'), 'runtime for the encoder', 'fail',
        'librknnrt.so 1.5.2', 'Install librknnrt.so 2.3.2 or later',
    ),
    'librknnrt of 1.x, its words': (
        {}, _librknnrt('1.5.2'), 'runtime for the encoder', 'fail',
        'encoder of rknn-toolkit2 2.3.2: it refuses', 'with rknn-toolkit2 1.5.2',
    ),
    'librknnrt a little older': (
        {}, _librknnrt('2.1.0'), 'runtime for the encoder', 'warn', 'is newer', '2.3.2',
    ),
    'librknnrt newer': ({}, _librknnrt('2.5.0'), 'runtime for the encoder', 'ok', '2.5.0', ''),
    'lite newer than librknnrt': (
        {}, _lite('2.5.0'), 'rknn-toolkit-lite2', 'warn', 'newer than librknnrt.so 2.3.2', 'same',
    ),
    'lite as librknnrt': ({}, _lite('2.3.2'), 'rknn-toolkit-lite2', 'ok', '2.3.2', ''),
    'model newer than librkllmrt': (
        {}, _made_by('1.3.1'), 'runtime for the model', 'fail',
        'file of rkllm-toolkit 1.3.1) needs', 'Install librkllmrt.so 1.3.1 (',
    ),
    '1.3.0 with an old model': (
        {}, _rkllm('1.3.0', '1.2.2'), 'runtime for the model', 'warn', 'misses the end of answers',
        '1.2.3, the careful choice, or 1.3.1',
    ),
    '1.3.0 with its own model': (
        {}, _rkllm('1.3.0', '1.3.0'), 'runtime for the model', 'warn', 'did not load', '1.3.1',
    ),
    '1.3.1 with an old model': (
        {}, _rkllm('1.3.1', '1.2.3'), 'runtime for the model', 'ok', 'suited: 1.2.3, the', '',
    ),
    '1.3.1 with its own model': (
        {}, _rkllm('1.3.1', '1.3.1'), 'runtime for the model', 'ok', 'suited: 1.3.1', '',
    ),
    'weights beside the encoder': (
        {}, _beside('demo.weight'), 'vision encoder', 'fail', 'RKNN3', 'rkllm3-server',
    ),
    'embeddings beside the model': (
        {}, _beside('demo.embed.bin'), 'vision encoder', 'fail', 'demo.embed.bin', 'openai',
    ),
}


@pytest.mark.parametrize('tree_name', TREES)
def test_prepared_tree(tree_name: str, tree: Tree) -> None:
    facts, change, name, level, found, remedy = TREES[tree_name]
    board = tree(**facts)
    change(board.root)
    check = named(board, name)
    told = check.level, found in check.found, remedy in check.remedy
    assert told == (level, True, True), check
    assert check.remedy.strip('.') or level == 'ok'
    if check.name == 'NPU driver' and level == 'fail' and 'link' not in tree_name:
        assert board.driver or 'device files' not in {c.name for c in examine(board, settings())}


@pytest.mark.parametrize('soc, mask, level, found', [
    ('rk3588', 0x30, 'warn', '4 5 for 3 NPU cores'), ('rk3588', 0x0F, 'warn', 'slow ones'),
    ('rk3588', 0x70, 'ok', '4 5 6'), ('rk3576', 0x30, 'ok', '4 5 for 2'),
    ('rk3562', 1, 'ok', '0 for 1'),
])
def test_cpus_of_the_runtime(soc: str, mask: int, level: str, found: str, tree: Tree) -> None:
    wanted = EngineSettings('rknpu', options=RknpuSettings(cpu_mask=mask))
    (check,) = (c for c in examine(tree(soc=soc), wanted) if c.name == 'CPUs')
    assert check.level == level and found in check.found
    assert ('rknpu.cpu_mask' in check.remedy) == (level == 'warn')


@pytest.mark.parametrize('name', [
    'vision-RK1828.rknn', 'model_rk3572.rkllm', 'qwen.weight', 'qwen.tokenizer.gguf',
])
def test_files_of_other_npus_are_refused_by_name(name: str, tree: Tree) -> None:
    board = tree()
    write(board.root / 'models' / name, b'RKNN'.ljust(2_000_000, b'\0'))
    for check in (
        failures(examine(board, settings(encoder=f'/models/{name}')))['vision encoder'],
        failures(examine(board, settings(language_model=f'/models/{name}')))['language model'],
    ):
        assert 'RK1820, RK1828 and RK3572' in check.found and 'rkllm3-server' in check.remedy


def test_known_fault_of_a_toolkit_is_told(tree: Tree, tmp_path: Path) -> None:
    board = tree()
    _made_by('1.2.1')(board.root)
    text = PROFILE.read_text() + "faults: [{toolkit: '1.2.1', what: fails, remedy: Try it.}]\n"
    write(tmp_path / 'faulty.yaml', text.encode())
    faulty = settings(str(tmp_path / 'faulty.yaml'))
    (check,) = (c for c in examine(board, faulty) if c.name == 'known fault')
    assert (check.level, check.remedy) == ('warn', 'Try it.')
    assert check.found == 'demo-rknpu (file of rkllm-toolkit 1.2.1) fails'
    _made_by('1.2.2')(board.root)
    assert 'known fault' not in {c.name for c in examine(board, faulty)}
