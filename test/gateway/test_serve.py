# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu serve as a person starts it: its address, its token, its end."""

from __future__ import annotations

import json
from pathlib import Path
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from served import asks, jpeg, PATIENCE
from vlm_npu_ros.cli.main import main

PROGRAM = [sys.executable, '-m', 'vlm_npu_ros.cli.main', 'serve', '--port', '0', '--quiet']


def status(url: str, key: str = '', body: object = None) -> int:
    request = urllib.request.Request(url, headers={'Content-Type': 'application/json'})
    if key:
        request.add_header('Authorization', f'Bearer {key}')
    data = json.dumps(body).encode() if body else None
    try:
        with urllib.request.urlopen(request, data, PATIENCE) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_serves_until_sigterm() -> None:
    with subprocess.Popen([*PROGRAM, '--host', '0.0.0.0'], stdout=subprocess.PIPE,
                          text=True) as program:
        assert program.stdout
        base, _, token = program.stdout.readline().strip().partition('?token=')
        base = base.replace('0.0.0.0', '127.0.0.1')
        assert len(token) > 20
        assert [status(f'{base}v1/models', key) for key in ('', token)] == [401, 200]
        body = {'model': 'demo', 'messages': asks('what do you see?', jpeg(side=128))}
        assert status(f'{base}v1/chat/completions', token, body) == 200
        program.send_signal(signal.SIGTERM)
        ending = time.monotonic()
        assert program.wait(PATIENCE) == 0
        assert time.monotonic() - ending < 10 * 3.0


def test_it_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = tmp_path / 'token'
    for text, mode, arguments, words in (
        (b'secret\n', 0o644, ['--token-file', str(token)], 'can be read by others'),
        (b'secret\n', 0o600, ['--token-file', str(token), '--host', '192.0.2.1'],
         'cannot be listened on'),
        (b'\xff\xfe', 0o600, ['--token-file', str(token)], 'one line of letters and digits'),
        (b'', 0o600, ['--token-file', str(tmp_path / 'none')], 'No such file'),
    ):
        token.write_bytes(text)
        token.chmod(mode)
        assert main(['serve', *arguments]) == 1
        assert words in capsys.readouterr().err
    for option, value in (
        ('--max-body-mb', '0'), ('--waiting', '-1'), ('--allow-origin', 'https://a.example/'),
        ('--allow-origin', '*'), ('--allow-origin', 'a.example'),
    ):
        with pytest.raises(SystemExit):
            main(['serve', option, value])
        assert f'argument {option}' in capsys.readouterr().err
