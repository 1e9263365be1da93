# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Look at each new frame until the answer is yes: watch_door.py 'is the door open?'."""

import sys

import rclpy
from rclpy.action import ActionClient
from vlm_npu_ros.action import Watch

question = sys.argv[1] if len(sys.argv) > 1 else 'is the door open?'
rclpy.init()
node = rclpy.create_node('watch_door')
watch = ActionClient(node, Watch, '/vlm/watch')
watch.wait_for_server()
goal = Watch.Goal(question=question, answer_type=Watch.Goal.YES_NO, until='yes')
goal.agreeing = 2  # one frame alone opens no door
goal.timeout.sec = 60


def changed(message: Watch.Impl.FeedbackMessage) -> None:
    print(message.feedback.choice, '-', message.feedback.answer, flush=True)


sent = watch.send_goal_async(goal, feedback_callback=changed)
rclpy.spin_until_future_complete(node, sent)
result = sent.result().get_result_async()
rclpy.spin_until_future_complete(node, result)
end = result.result().result
print(f'{end.choice} after {end.looks} looks {end.error_msg}')
node.destroy_node()
rclpy.shutdown()
sys.exit(not end.success)
