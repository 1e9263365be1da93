"""Clients that go away while their questions are open: real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest
from robot import Robot, wait_until
from vlm_npu_ros.engine.types import GenerationRequest
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.clients import Clients, gid_of
from vlm_npu_ros.node.frames import Freshness
from vlm_npu_ros.node.vlm_node import VlmNode

MakeNode = Callable[..., VlmNode]
SLOW = {'scripted__answers': ['one' + 200 * ' more'], 'scripted__decode_rate': 2.0}

# Asks by action, and once it is being answered by service, says so, and goes on what it is told.
CLIENT = """
    import sys
    import rclpy
    from rclpy.action import ActionClient
    from vlm_npu_ros.action import Ask as Action
    from vlm_npu_ros.srv import Ask as Service

    rclpy.init()
    node = rclpy.create_node('client')
    action = ActionClient(node, Action, '/vlm/ask')
    service = node.create_client(Service, '/vlm/ask')
    assert action.wait_for_server(30) and service.wait_for_service(30)
    written = rclpy.Future()
    action.send_goal_async(
        Action.Goal(question='goal'),
        lambda m: m.feedback.partial_answer and written.set_result(None),
    )
    rclpy.spin_until_future_complete(node, written, timeout_sec=30)
    service.call_async(Service.Request(question='request'))
    print('asked', flush=True)
    sys.stdin.readline()
    rclpy.shutdown()
"""
# So that a process that was killed is missed after 1 s and not after 20 s.
LEASE = """\
<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <participant profile_name="short_lease" is_default_profile="true"><rtps><builtin>
    <discovery_config>
      <leaseDuration><sec>1</sec></leaseDuration>
      <leaseAnnouncement><sec>0</sec><nanosec>200000000</nanosec></leaseAnnouncement>
    </discovery_config>
  </builtin></rtps></participant>
</profiles>
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a process that will have asked when it prints a line."""
    profiles = tmp_path / 'lease.xml'
    profiles.write_text(LEASE)
    process = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(CLIENT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'FASTRTPS_DEFAULT_PROFILES_FILE': str(profiles)},
    )
    with process:
        yield process
        process.kill()


def shut_down(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write('\n')
    process.stdin.flush()


@pytest.mark.parametrize('leave', [subprocess.Popen.kill, shut_down])
def test_client_that_went_away_frees_its_places(
    active_node: MakeNode,
    robot: Robot,
    client: subprocess.Popen[str],
    leave: Callable[[subprocess.Popen[str]], None],
) -> None:
    node = active_node(max_age=600.0, **SLOW)
    robot.publish()
    assert client.stdout and client.stdout.readline() == 'asked\n'
    wait_until(lambda: node._queue.depth == 1)
    running = next(p.request_id for p in robot.partials)
    by_service = robot.ask_later(question='mine', max_new_tokens=1)
    by_action = robot.result_of(robot.send_goal(question='mine', max_new_tokens=1))
    wait_until(lambda: node._queue.depth == 3)
    started = time.monotonic()
    leave(client)
    last = robot.partials_of(running)[-1]
    print(f'{leave.__name__}: freed after {time.monotonic() - started:.1f} s')
    assert last.finish_reason == 'cancelled'
    assert by_service().answer == 'one'
    assert by_action().result.answer == 'one'
    ends = [p.finish_reason for p in robot.partials if p.done]
    assert sorted(ends) == ['cancelled', 'cancelled', 'length', 'length']


def test_gid_is_unknown_where_rclpy_has_other_headers() -> None:
    assert gid_of(None) is None
    assert gid_of(SimpleNamespace(request_id=SimpleNamespace(sequence_number=1))) is None


def test_client_that_was_never_seen_is_not_missed(robot: Robot) -> None:
    gone: list[Ask] = []
    clients = Clients(robot.node, '/vlm/ask', gone.append)
    options = AskOptions(GenerationRequest('what?', ()), ('camera',), Freshness(0), 60.0)
    ask = Ask(options, print, print, clients.forget)
    clients.watch(ask, b'sixteen bytes ..')
    for _ in range(3):
        clients._look()
    assert not gone
    clients.close()
