# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
An application: drive to waypoints, ask what is there, and report.

    with MissionCamera() as camera, VlmClient() as vlm:
        report = Patrol(load_mission(path), BasicNavigator(), vlm, camera).run()
    save(report, Path('report'))
"""

from vlm_npu_ros.nav.patrol.files import save
from vlm_npu_ros.nav.patrol.patrol import Patrol, Progress
from vlm_npu_ros.nav.patrol.report import Report

__all__ = ['Patrol', 'Progress', 'Report', 'save']
