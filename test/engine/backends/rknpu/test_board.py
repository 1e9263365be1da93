from __future__ import annotations

from pathlib import Path

import pytest
from simulated.board import board_tree, write
from vlm_npu_ros.engine.backends.rknpu.board import Board
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings


@pytest.mark.parametrize('compatible, soc', [
    (b'radxa,rock-5b\0rockchip,rk3588\0', 'rk3588'),
    (b'xunlong,orangepi-5\0rockchip,rk3588s\0rockchip,rk3588\0', 'rk3588'),
    (b'xunlong,orangepi-5\0rockchip,rk3588s\0', 'rk3588'),
    (b'rockchip,rk3576-evb1-v10\0rockchip,rk3576\0', 'rk3576'),
    (b'rockchip,rv1126b\0', 'rv1126b'),
    (b'raspberrypi,5-model-b\0brcm,bcm2712\0', None),
    (b'', None),
])
def test_chip(compatible: bytes, soc: str | None, tmp_path: Path) -> None:
    write(tmp_path / 'proc/device-tree/compatible', compatible)
    assert Board(tmp_path).soc == soc


def test_facts_of_a_board(tmp_path: Path) -> None:
    board = Board(board_tree(tmp_path, free_gb=4.0))
    assert board.model == 'Radxa ROCK 5B'
    assert board.driver == '0.9.8'
    assert board.librknnrt == '2.3.2'
    assert board.available_memory == 4_096_000_000
    assert board.governors == dict.fromkeys(
        ('CPU 0', 'CPU 4', 'NPU', 'memory'), 'performance'
    )
    assert [device.name for device in board.devices] == ['renderD129']


def test_facts_of_an_empty_tree(tmp_path: Path) -> None:
    board = Board(tmp_path)
    assert board.soc is board.driver is board.librknnrt is board.available_memory is None
    assert not board.governors and not board.devices and not board.python_packages
    assert board.model == ''


@pytest.mark.parametrize('soc, domain, mask', [
    ('rk3588', 1, 0xF0), ('rk3576', 1, 0xF0), ('rk3562', 0, 0x0F), ('rv1126b', 0, 0x0F),
])
def test_defaults_of_the_platform(soc: str, domain: int, mask: int, tmp_path: Path) -> None:
    board = Board(board_tree(tmp_path, soc=soc))
    settings = board.complete(RknpuSettings())
    assert (settings.base_domain_id, settings.cpu_mask) == (domain, mask)
    chosen = RknpuSettings(base_domain_id=0, cpu_mask=0x3)
    assert board.complete(chosen) == chosen


def test_another_tree_may_stand_for_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('VLM_NPU_SYSROOT', str(board_tree(tmp_path)))
    assert (Board().soc, Board().is_foreign) == ('rk3588', False)
    assert Board().path('/models/a.rknn') == Path('/models/a.rknn')
    assert Board(tmp_path).path('/models/a.rknn') == tmp_path / 'models/a.rknn'
