# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Ask a robot what its camera sees."""
from pkgutil import extend_path

# In the source tree Python finds this folder before the installed one, which alone holds the
# generated interfaces: look in both.
__path__ = extend_path(__path__, __name__)
