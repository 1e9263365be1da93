# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from pathlib import Path

import pytest
from simulated.board import board_tree, write
from vlm_npu_ros.engine.backends.rknpu.board import Board, Clock
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
    assert not board.hides_driver
    assert board.kernel == '6.1.84-vendor'
    assert (board.available_memory, board.total_memory) == (4_096_000_000, 8_192_000_000)
    assert board.clocks == {
        'CPU 0': Clock('performance', 0, 0), 'CPU 4': Clock('performance', 0, 0),
        'NPU': Clock('performance', 1000, 1000), 'memory': Clock('performance', 0, 0),
    }
    assert [device.name for device in board.npu_devices] == ['renderD129']
    assert board.dma_heaps == []


@pytest.mark.parametrize('governor, current, fixed', [
    ('performance', 0, True),
    ('userspace', 2_352_000, True),  # what Rockchip's script sets; the highest is 2 400 000
    ('userspace', 1_200_000, False),
    ('ondemand', 2_400_000, False),
])
def test_clock_that_stays_high(governor: str, current: int, fixed: bool, tmp_path: Path) -> None:
    policy = board_tree(tmp_path) / 'sys/devices/system/cpu/cpufreq/policy6'
    write(policy / 'scaling_governor', f'{governor}\n'.encode())
    write(policy / 'scaling_cur_freq', f'{current}\n'.encode())
    write(policy / 'cpuinfo_max_freq', b'2400000\n')
    clock = Board(tmp_path).clocks['CPU 6']
    assert clock == Clock(governor, current // 1000, 2400)
    assert clock.is_fixed == fixed


def test_governor_that_can_not_be_read_is_left_out(tmp_path: Path) -> None:
    governor = board_tree(tmp_path) / 'sys/class/devfreq/dmc/governor'
    governor.unlink()
    governor.mkdir()
    assert list(Board(tmp_path).clocks) == ['CPU 0', 'CPU 4', 'NPU']


@pytest.mark.skipif(os.geteuid() == 0, reason='Nothing is hidden from root.')
def test_driver_that_only_root_sees(tmp_path: Path) -> None:
    debug = board_tree(tmp_path) / 'sys/kernel/debug'
    debug.chmod(0)
    board = Board(tmp_path)
    assert (board.driver, board.hides_driver) == (None, True)
    debug.chmod(0o700)
    assert (board.driver, board.hides_driver) == ('0.9.8', False)


def test_librknnrt_at_places_of_no_use(tmp_path: Path) -> None:
    board = Board(board_tree(tmp_path))
    elsewhere = tmp_path / 'usr/lib/aarch64-linux-gnu/librknnrt.so'
    write(elsewhere, b'')
    (tmp_path / 'usr/lib/librknnrt.so').unlink()
    assert (board.librknnrt, board.librknnrt_elsewhere) == (None, [elsewhere])
    write(tmp_path / 'usr/lib/librknnrt.so', b'')
    assert board.librknnrt == ''


def test_facts_of_an_empty_tree(tmp_path: Path) -> None:
    board = Board(tmp_path)
    assert board.soc is board.driver is board.librknnrt is board.available_memory is None
    assert not board.clocks and not board.npu_devices and not board.python_packages
    assert board.model == board.kernel == ''


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
    assert Board(tmp_path).path('models/a.rknn') == Path('models/a.rknn')
