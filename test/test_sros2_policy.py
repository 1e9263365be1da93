# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""config/sros2/policy.xml allows what the running programs do, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from asked_node import asked_node
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
import pytest
from rclpy import Context
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from robot import Spinner, wait_for
from std_srvs.srv import Trigger
from vlm_npu_ros.action import Watch
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.engine.share import share_dir
from vlm_npu_ros.msg import PartialAnswer, Sentence, StandingAnswer
from vlm_npu_ros.srv import Ask, Conversations

POLICY = share_dir() / 'config' / 'sros2' / 'policy.xml'
# Names of an action's services and topics, after the action's own.
ACTION_SERVICES = ('cancel_goal', 'get_result', 'send_goal')
ACTION_TOPICS = ('feedback', 'status')
# Allowed, and not used everywhere: the packages bond and vision_msgs may not be installed.
OPTIONAL = {'rt/bond', 'rt/vlm/located'}


@dataclass
class Access:
    """Topics of DDS that are written and read, or expressions for them."""

    written: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)

    def __ior__(self, other: Access) -> Access:
        self.written |= other.written
        self.read |= other.read
        return self


def request(service: str) -> Access:
    return Access({f'rq{service}Request'}, {f'rr{service}Reply'})


def reply(service: str) -> Access:
    return Access({f'rr{service}Reply'}, {f'rq{service}Request'})


def call(action: str) -> Access:
    access = Access(read={f'rt{action}/_action/{name}' for name in ACTION_TOPICS})
    for name in ACTION_SERVICES:
        access |= request(f'{action}/_action/{name}')
    return access


def execute(action: str) -> Access:
    other = call(action)
    return Access(other.read, other.written)


RULES: dict[tuple[str, str], Callable[[str], Access]] = {
    ('topics', 'publish'): lambda topic: Access(written={f'rt{topic}'}),
    ('topics', 'subscribe'): lambda topic: Access(read={f'rt{topic}'}),
    ('services', 'request'): request,
    ('services', 'reply'): reply,
    ('actions', 'call'): call,
    ('actions', 'execute'): execute,
}


def enclaves() -> dict[str, Access]:
    policy = ElementTree.parse(POLICY).getroot()
    assert (policy.tag, policy.get('version')) == ('policy', '0.2.0')
    allowed = {}
    for enclave in policy.findall('enclaves/enclave'):
        access = allowed[enclave.attrib['path']] = Access()
        for profile in enclave.findall('profiles/profile'):
            for group in profile:
                for verb, qualifier in group.items():
                    assert qualifier == 'ALLOW'
                    for entry in group:
                        access |= RULES[group.tag, verb](resolved(entry.text, profile))
    return allowed


def resolved(name: str | None, profile: ElementTree.Element) -> str:
    namespace = profile.attrib['ns'].rstrip('/') + '/'
    assert name
    if name.startswith('~'):
        return namespace + profile.attrib['node'] + name[1:]
    return name if name.startswith('/') else namespace + name


def graph(node: Node, name: str) -> Access:
    publishers = node.get_publisher_names_and_types_by_node(name, '/', no_demangle=True)
    subscribers = node.get_subscriber_names_and_types_by_node(name, '/', no_demangle=True)
    return Access({topic for topic, _ in publishers}, {topic for topic, _ in subscribers})


def assert_fits(used: Access, allowed: Access) -> None:
    for names, expressions in ((used.written, allowed.written), (used.read, allowed.read)):
        refused = {n for n in names if not any(fnmatchcase(n, e) for e in expressions)}
        too_much = {e for e in expressions if not any(fnmatchcase(n, e) for n in names)}
        assert (refused, too_much - OPTIONAL) == (set(), set())


class Operator:
    """Does what a person does that runs the node."""

    def __init__(self, context: Context) -> None:
        self.node = Node('vlm_operator', context=context, start_parameter_services=False)
        self._services = {
            name: self.node.create_client(kind, f'/vlm/{name}') for name, kind in {
                'change_state': ChangeState,
                'get_state': GetState,
                'get_available_states': GetAvailableStates,
                'get_available_transitions': GetAvailableTransitions,
                'get_transition_graph': GetAvailableTransitions,
                'conversations': Conversations,
            }.items()
        }
        self._parameters = AsyncParameterClient(self.node, '/vlm')
        for kind, topic in (
            (DiagnosticArray, '/diagnostics'), (TransitionEvent, '/vlm/transition_event')
        ):
            self.node.create_subscription(kind, topic, lambda message: None, 10)

    def call(self, name: str, **fields: Any) -> Any:
        client = self._services[name]
        assert client.wait_for_service(30.0)
        return wait_for(client.call_async(client.srv_type.Request(**fields)))

    def change_state(self, transition: int) -> None:
        assert self.call('change_state', transition=Transition(id=transition)).success

    def set_parameter(self, name: str, value: Any) -> None:
        assert self._parameters.wait_for_services(30.0)
        response = wait_for(self._parameters.set_parameters([Parameter(name, value=value)]))
        assert response.results[0].successful


@contextmanager
def operator(context: Context) -> Iterator[Operator]:
    made = Operator(context)
    spinner = Spinner(made.node, SingleThreadedExecutor(context=context))
    try:
        yield made
    finally:
        spinner.close()


@contextmanager
def script(context: Context) -> Iterator[Node]:
    """Ask by service, watch and read along, as a program without VlmClient may."""
    node = Node(
        'vlm_client_script', context=context, enable_rosout=False, start_parameter_services=False
    )
    node.create_client(Ask, '/vlm/ask')
    node.create_client(Trigger, '/vlm/standing/path_clear')
    watch = ActionClient(node, Watch, '/vlm/watch')
    for kind, topic in (
        (PartialAnswer, 'partial_answer'),
        (Sentence, 'sentence'),
        (StandingAnswer, 'standing/path_clear'),
    ):
        node.create_subscription(kind, f'/vlm/{topic}', lambda message: None, 10)
    try:
        yield node
    finally:
        watch.destroy()
        node.destroy_node()


def test_policy_allows_what_is_used_and_nothing_else() -> None:
    allowed = enclaves()
    assert allowed.keys() == {'/vlm', '/vlm_client', '/vlm_operator'}
    with (
        asked_node(
            autostart=False,
            encode_rate=20.0,
            standing_questions=['path_clear'],
            standing__path_clear__question='is the path clear?',
        ) as (node, robot),
        operator(node.context) as boss,
        VlmClient(context=node.context) as client,
        script(node.context),
    ):
        boss.change_state(Transition.TRANSITION_CONFIGURE)
        boss.change_state(Transition.TRANSITION_ACTIVATE)
        boss.set_parameter('max_age', 60.0)
        robot.publish()
        assert client.ask('what?', conversation='tour').ok
        assert robot.ask(question='what?').success
        assert client.status().ready and client.conversations()
        assert boss.call('get_state').current_state.label == 'active'
        # All nodes are in one context: the graph knows them without a delay.
        names = [name for name, _ in node.get_node_names_and_namespaces()]
        used = {name: graph(node, name) for name in names}
        used['vlm'] |= used['_vlm_io']
        boss.change_state(Transition.TRANSITION_DEACTIVATE)
        boss.change_state(Transition.TRANSITION_CLEANUP)
    with asked_node(autostart=False, use_sim_time=True) as (node, _):
        used['vlm'] |= graph(node, 'vlm')
    assert_fits(used['vlm'], allowed['/vlm'])
    assert_fits(used['vlm_operator'], allowed['/vlm_operator'])
    asking = Access()
    for name in names:
        if name.startswith('vlm_client'):
            asking |= used[name]
    assert_fits(asking, allowed['/vlm_client'])


def test_who_asks_may_not_change_the_node() -> None:
    written = enclaves()['/vlm_client'].written
    for service in ('change_state', 'set_parameters', 'set_parameters_atomically'):
        assert not any(fnmatchcase(f'rq/vlm/{service}Request', name) for name in written)


@pytest.mark.filterwarnings('ignore')  # of what sros2 uses
def test_sros2_makes_the_same_of_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    keystore = pytest.importorskip('sros2.keystore', reason='sros2 is not installed')
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    keystore.create_keystore(tmp_path)
    for path, allowed in enclaves().items():
        keystore.create_enclave(tmp_path, path)
        keystore.create_permission(tmp_path, path, POLICY)
        file = tmp_path / 'enclaves' / path.lstrip('/') / 'permissions.xml'
        grant = ElementTree.parse(file).getroot().find('permissions/grant')
        assert grant is not None
        assert grant.findtext('subject_name') == f'CN={path}'
        assert grant.findtext('default') == 'DENY'
        assert {domain.text for domain in grant.findall('allow_rule/domains/id')} == {'7'}
        # What every participant needs to tell its nodes.
        found = {'ros_discovery_info'}
        for verb, topics in (('publish', allowed.written), ('subscribe', allowed.read)):
            entries = grant.findall(f'allow_rule/{verb}/topics/topic')
            assert {entry.text for entry in entries} == topics | found
