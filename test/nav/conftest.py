# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The client and the mission's camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from built_package import provide
import pytest
import rclpy
from robot import PATIENCE
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.nav.camera import MissionCamera


@pytest.fixture
def vlm(context: rclpy.Context) -> Iterator[VlmClient]:
    with VlmClient(context=context, discovery_timeout=PATIENCE) as vlm:
        yield vlm


@pytest.fixture
def camera(context: rclpy.Context) -> Iterator[MissionCamera]:
    with MissionCamera(reliability='reliable', context=context) as camera:
        yield camera


@pytest.fixture(scope='session')
def nav2_msgs() -> None:
    provide('nav2_msgs', Path(__file__).parent / 'nav2_interfaces')
