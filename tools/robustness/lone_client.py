# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Ask a question by the way that is the argument, and wait for the end: to be killed."""

import sys

from asking import Client
from pictures import QUESTIONS

with Client('lone_client') as client:
    client.find_node()
    now = client.node.get_clock().now().to_msg()
    ask = client.send(sys.argv[1], QUESTIONS[0], not_before=now)
    client.wait(lambda: ask.done, 600.0)
