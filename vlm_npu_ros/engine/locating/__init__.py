# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Where things are: how models are asked, what they write, and where that is in a picture."""
