# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu pull: fetch models from Hugging Face, or from a mirror of it."""
