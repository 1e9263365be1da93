# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures that were recorded: bags, videos, folders of pictures; and questions about them."""
