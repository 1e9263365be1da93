# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""No code and no path comes from outside: what the source holds, and what 50 requests open."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[1] / 'vlm_npu_ros'
SOURCES = sorted(PACKAGE.rglob('*.py'))
# Modules that run what they read, or talk in pickles.
MODULES = {
    'cloudpickle', 'code', 'dill', 'joblib', 'jsonpickle', 'marshal', 'multiprocessing', 'pickle',
    'runpy', 'shelve', 'torch',
}
CALLS = {
    'eval', 'exec', 'compile', '__import__', 'os.system', 'os.popen', 'subprocess.getoutput',
    'subprocess.getstatusoutput', 'asyncio.create_subprocess_shell', 'importlib.import_module',
    'yaml.load', 'yaml.load_all', 'yaml.full_load', 'yaml.unsafe_load',
}
ALLOWED = {
    # A socket pair that the parent makes and its child inherits: nobody else can write there.
    ('engine/process.py', 'multiprocessing'),
    ('engine/worker.py', 'multiprocessing'),
    # Modules of this package, by the names of its own backends.
    ('engine/registry.py', 'importlib.import_module'),
    # Texts only, by its BaseLoader.
    ('node/arguments.py', 'yaml.load'),
    # Conversion on a PC: computes with torch, writes the pickles that rkllm-toolkit reads, and
    # loads checkpoints through transformers, from safetensors and without their code.
    ('convert/calibration.py', 'pickle'),
    ('convert/calibration.py', 'torch'),
    ('convert/export.py', 'torch'),
    ('convert/towers.py', 'torch'),
}
# The marks of what is asked: no file that is opened may have one of them in its path.
MARKS = ('passwd', 'vlm_evil', 'evil.yaml')
HOSTILE = [
    '../../../../etc/passwd', '/etc/passwd', 'file:///etc/passwd', '~/vlm_evil', './vlm_evil.onnx',
    '$(touch vlm_evil)', '`touch vlm_evil`', '; touch vlm_evil', '| cat /etc/passwd',
    'vlm_evil.yaml', '/tmp/evil.yaml', 'vlm_evil\n/etc/passwd', '%2e%2e%2fpasswd',
    '{__import__("os")} vlm_evil', '!!python/object/apply:os.system ["touch vlm_evil"]',
    '<image>/etc/passwd', '/proc/self/vlm_evil',
]


def banned(path: Path) -> Iterator[str]:
    """Yield what a source file uses that it should not."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from MODULES.intersection(alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or '').split('.')[0]
            yield from MODULES & {module}
            yield from CALLS.intersection(f'{module}.{alias.name}' for alias in node.names)
        elif isinstance(node, ast.Call):
            yield from CALLS & {ast.unparse(node.func)}
            for keyword in node.keywords:
                if keyword.arg in ('shell', 'allow_pickle'):
                    yield keyword.arg


def test_source_runs_nothing_that_it_reads() -> None:
    found = {(str(path.relative_to(PACKAGE)), use) for path in SOURCES for use in banned(path)}
    assert len(SOURCES) > 50
    assert found <= ALLOWED


@pytest.mark.parametrize(('source', 'use'), [
    ('import pickle', 'pickle'),
    ('def f():\n    from multiprocessing.connection import Client', 'multiprocessing'),
    ('from os import system', 'os.system'),
    ('import os\nos.system("ls")', 'os.system'),
    ('eval("1")', 'eval'),
    ('yaml.load(text, yaml.Loader)', 'yaml.load'),
    ('subprocess.run("ls", shell=True)', 'shell'),
    ('np.load(path, allow_pickle=True)', 'allow_pickle'),
])
def test_banned_uses_are_found(source: str, use: str, tmp_path: Path) -> None:
    path = tmp_path / 'source.py'
    path.write_text(source)
    assert list(banned(path)) == [use]


def test_no_path_comes_from_a_request(tmp_path: Path) -> None:
    script = 'import sys, test_security; sys.exit(test_security.answer_and_record(sys.argv[1]))'
    report = tmp_path / 'report.json'
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get('PYTHONPATH')])]
    done = subprocess.run(
        [sys.executable, '-c', script, str(report)], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(report.read_text())
    assert told['asked'] >= 50 and told['answered'] >= 20 and told['kept'] >= 10
    assert any(path.endswith('tokenizer.json') for path in told['loading'])  # so the hook sees
    assert told['canary'] == ['/nothing/vlm_evil']
    # A process looks at itself for its statistics, and rclpy at its source for where it warns.
    rclpy_source = os.path.join('site-packages', 'rclpy')
    assert not [path for path in told['asking']
                if not path.startswith('/proc/') and rclpy_source not in path]
    assert not [path for path in told['asking'] if any(mark in path for mark in MARKS)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['report.json']


def answer_and_record(report: str) -> int:
    """Run the node in this process, ask it, and write which files were opened meanwhile."""
    from asked_node import asked_node
    from robot import PATIENCE, wait_for
    from vlm_npu_ros.srv import Conversations

    opened: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == 'open':
            arguments = arguments[:1]  # the others are modes
        elif not event.startswith(('os.', 'shutil.', 'subprocess.', 'ctypes.dlopen')):
            return
        opened.extend(os.fsdecode(a) for a in arguments if isinstance(a, (str, bytes)))

    sys.addaudithook(hook)
    with asked_node(backend='onnx', max_new_tokens=2) as (_, robot):
        robot.publish()
        for fields in ({}, {'camera': 'x'}, {'conversation_id': 'x'}):
            robot.ask(question='what?', **fields)
            robot.result_of(robot.send_goal(question='what?', **fields))()
        memory = robot.node.create_client(Conversations, '/vlm/conversations')
        assert memory.wait_for_service(PATIENCE)
        loading, opened[:] = list(opened), []
        answered = [robot.ask(**fields).success for fields in requests()]
        for text in HOSTILE:
            goal = robot.send_goal(question=text, conversation_id=text)
            answered.append(robot.result_of(goal)().result.success)
        kept = wait_for(memory.call_async(Conversations.Request(clear=HOSTILE))).cleared
        asking, opened[:] = list(opened), []
    try:
        open('/nothing/vlm_evil').close()
    except FileNotFoundError:
        canary = [path for path in opened if 'vlm_evil' in path]
    told = {
        'loading': loading, 'asking': asking, 'canary': canary, 'asked': len(answered),
        'answered': sum(answered), 'kept': kept,
    }
    Path(report).write_text(json.dumps(told))
    return 0


def requests() -> Iterator[dict[str, Any]]:
    for text in HOSTILE:
        yield {'question': text}
        yield {'question': f'what is in {text}?', 'conversation_id': text}
        yield {'question': 'what?', 'camera': text}
        yield {'question': 'what?', 'choices': [text], 'answer_type': 2}
