"""ros2 vlm: what ros2cli finds, and what it does where ros2cli is installed."""

from __future__ import annotations

from importlib.metadata import entry_points

from asked_node import asked_node
import pytest

GROUPS = {
    'ros2cli.command': {'vlm': 'VlmCommand'},
    'ros2cli.extension_point': {'vlm_npu_ros.verb': 'VerbExtension'},
    'vlm_npu_ros.verb': {'ask': 'AskVerb', 'models': 'ModelsVerb', 'status': 'StatusVerb'},
}


@pytest.mark.parametrize('group', GROUPS)
def test_entry_points_are_installed(group: str) -> None:
    ours = {
        point.name: point.value for point in entry_points(group=group) if 'vlm' in point.value
    }
    assert ours == {
        name: f'vlm_npu_ros.ros2cli.vlm:{kind}' for name, kind in GROUPS[group].items()
    }


def test_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    cli = pytest.importorskip('ros2cli.cli', reason='ros2cli is not installed')
    assert cli.main(argv=['vlm']) == 0
    assert 'Ask a running vlm node' in capsys.readouterr().out
    assert cli.main(argv=['vlm', 'models']) == 0
    assert 'demo' in capsys.readouterr().out
    assert cli.main(argv=['vlm', 'status', '--wait', '0.2']) == 3
    assert capsys.readouterr().out == '/vlm: not there\n'
    with asked_node(scripted__answers=['a red ball']) as (_, robot):
        robot.publish()
        assert cli.main(argv=['vlm', 'status']) == 0
        assert capsys.readouterr().out == '/vlm: active\n'
        assert cli.main(argv=['vlm', 'ask', 'what?', '--quiet']) == 0
        assert capsys.readouterr().out == 'a red ball\n'
        assert cli.main(argv=['vlm', 'ask', ' ']) == 5
