# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""From checkpoints to the files that a board runs; no ROS in here."""
