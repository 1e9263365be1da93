# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The command `ros2 vlm`, found by ros2cli through resource/ros2cli/entry_points.txt."""
