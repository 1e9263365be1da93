# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Drive if the path is clear, else say what is there: a tree of py_trees, ten ticks a second."""

import time

from py_trees.behaviours import Success
from py_trees.blackboard import Client
from py_trees.common import Access, Status
from py_trees.composites import Selector, Sequence
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.nav.behaviours import Ask, ViewIs

with VlmClient() as vlm:
    vlm.wait_until_ready()
    drive = Success('drive')  # your own behaviour
    tree = Selector('corridor', memory=True, children=[
        Sequence('go', memory=True, children=[
            ViewIs('path clear?', vlm, 'is the path clear?', max_age=1.0), drive,
        ]),
        Ask('why not', vlm, 'what do you see?', namespace='why'),
    ])
    tree.tick_once()
    while tree.status == Status.RUNNING:  # a tick never waits for an answer
        time.sleep(0.1)
        tree.tick_once()
    if drive.status == Status.SUCCESS:
        print('drive')
    else:
        seen = Client(name='example', namespace='why')
        seen.register_key('answer', access=Access.READ)
        print('stay:', seen.answer)
