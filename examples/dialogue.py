# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Talk about one view: the second question is about the frame of the first."""

from vlm_npu_ros.client import VlmClient

with VlmClient() as vlm:
    vlm.wait_until_ready()
    first = vlm.ask('what do you see?', conversation='tour', new_conversation=True)
    print(first.text)
    second = vlm.ask('what colour is it?', conversation='tour')
    print(second.text)
    assert second.stamp == first.stamp  # whatever the camera has seen since
    vlm.conversations(clear=['tour'])
