# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Turn until a thing is straight ahead of the camera: locate_and_turn.py 'the red box'."""

import math
import sys
import time

from geometry_msgs.msg import Twist
import rclpy
from vlm_npu_ros.client import VlmClient

SPEED = 0.5  # rad/s
thing = sys.argv[1] if len(sys.argv) > 1 else 'the red box'
rclpy.init()
node = rclpy.create_node('locate_and_turn')
velocity = node.create_publisher(Twist, 'cmd_vel', 10)
with VlmClient() as vlm:
    vlm.wait_until_ready()
    while not velocity.get_subscription_count():  # else the base misses the first turn
        time.sleep(0.1)
    while places := vlm.locate(thing, not_before='now'):  # what it sees now that it stands
        if places[0].bearing is None:
            sys.exit('where is the calibration? Set the parameter camera.camera_info')
        x, _, z = places[0].bearing  # right, down and ahead of the camera
        angle = -math.atan2(x, z)  # to the left is positive
        print(f'{places[0]}, {math.degrees(angle):+.0f} degrees', flush=True)
        if abs(angle) < 0.05:
            break
        turn = Twist()
        turn.angular.z = math.copysign(SPEED, angle)
        for _ in range(math.ceil(abs(angle) / SPEED * 10)):  # a base stops where nothing comes
            velocity.publish(turn)
            time.sleep(0.1)
        velocity.publish(Twist())
    else:
        print(f'{thing} is not in sight')
rclpy.shutdown()
