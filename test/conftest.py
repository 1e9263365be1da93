"""What all tests share: a ROS domain of their own, kept on this machine."""

from __future__ import annotations

import os

_WORKER = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))

# Before any test imports rclpy. Domains 60 to 75 are for in-process tests.
os.environ['ROS_DOMAIN_ID'] = str(60 + _WORKER % 16)
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
