# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
import json
import os
from pathlib import Path
import re

from bag_files import write_bag
import cv2
import numpy as np
import pytest
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.demo.scenes import random_scene, render, Scene

QUESTION = 'is there a person?'


def scenes(count: int) -> list[Scene]:
    return [random_scene(np.random.default_rng((7, seed))) for seed in range(count)]


def pictures(of: Sequence[Scene]) -> list[np.ndarray]:
    return [render(scene, 320, 240) for scene in of]


def truths(of: Sequence[Scene]) -> list[str]:
    return ['yes' if any(o.shape == 'person' for o in scene.objects) else 'no' for scene in of]


def records(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, object]]:
    assert main(['bag', *map(str, arguments), '--model', 'demo', '--json']) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_answers_about_bags_are_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = scenes(20)
    for storage, compressed in (
        ('mcap', False), ('mcap', True), ('sqlite3', False), ('sqlite3', True),
    ):
        path = tmp_path / f'{storage} {compressed}'
        stamps = write_bag(path, pictures(of), storage, compressed)
        found = records(capsys, path, '-q', QUESTION, '--yes-no', '--every', '500ms')
        assert [(f['stamp']['sec'], f['stamp']['nanosec']) for f in found] == stamps
        right = sum(f['choice'] == truth for f, truth in zip(found, truths(of), strict=True))
        assert right >= 0.95 * len(of)


def test_pictures_are_as_far_apart_as_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamps = write_bag(tmp_path / 'bag', pictures(scenes(9)))
    found = records(capsys, tmp_path / 'bag', '-q', QUESTION, '--yes-no', '--every', '2s')
    assert [(f['stamp']['sec'], f['stamp']['nanosec']) for f in found] == stamps[::4]
    assert [f['seconds'] for f in found] == [0.0, 2.0, 4.0]


def test_search_stops_at_the_first_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of = scenes(60)
    without = [s for s, t in zip(of, truths(of), strict=True) if t == 'no'][:30]
    with_one = next(s for s, t in zip(of, truths(of), strict=True) if t == 'yes')
    shown = pictures(without)
    shown[13] = render(with_one, 320, 240)
    write_bag(tmp_path / 'bag', shown)
    search = ('-q', QUESTION, '--yes-no', '--every', '0', '--find')
    found = records(capsys, tmp_path / 'bag', *search)
    numbers = [record['number'] for record in found]
    assert numbers[:8] == [0, 4, 8, 12, 16, 20, 24, 28] and numbers[-1] == 13
    assert found[-1]['choice'] == 'yes' and len(found) < 30
    write_bag(tmp_path / 'other', pictures(without[:9]))
    assert main(['bag', str(tmp_path / 'other'), *search, '--model', 'demo', '--quiet']) == 1
    assert len(capsys.readouterr().out.splitlines()) == 9


def test_folder_and_video_are_recordings_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = scenes(4)
    (tmp_path / 'folder').mkdir()
    writer = cv2.VideoWriter(
        str(tmp_path / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10.0, (320, 240))
    for number, rgb in enumerate(pictures(of)):
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(tmp_path / 'folder' / f'{number}.png'), bgr)
        for _ in range(10):
            writer.write(bgr)
    writer.release()
    for path, names in ((tmp_path / 'folder', ['0.png', '1.png', '2.png', '3.png']),
                        (tmp_path / 'clip.mp4', [''] * 4)):
        found = records(capsys, path, '-q', QUESTION, '--yes-no')
        assert [f['choice'] for f in found] == truths(of)
        assert [f['name'] for f in found] == names and not any(f['stamp'] for f in found)


def test_table_and_page_show_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of, page = scenes(3), tmp_path / 'page.html'
    stamps = write_bag(tmp_path / 'bag', pictures(of))
    assert main([
        'bag', str(tmp_path / 'bag'), '-q', QUESTION, '-q', '<b>what</b> do you see?', '--every',
        '0', '--html', str(page), '--model', 'demo', '--quiet',
    ]) == 0
    rows, html = capsys.readouterr().out.splitlines(), page.read_text()
    assert len(rows) == 6 and html.count('<figure') == html.count('</figure>') == 3
    for number, (sec, nanosec) in enumerate(stamps):
        assert rows[2 * number].startswith(f'{number / 2:.2f} s  {sec}.{nanosec:09}  ')
        assert html.count(f'{sec}.{nanosec:09}') == 1
    for data in re.findall(r'base64,([^"]+)"', html):
        assert len(data) > 1000
    assert '<b>' not in html and '&lt;b&gt;what' in html and html.endswith('</html>\n')


def test_page_takes_any_name_and_any_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, page = tmp_path / 'folder', tmp_path / 'page.html'
    folder.mkdir()
    _, png = cv2.imencode('.png', np.zeros((70_000, 8, 3), np.uint8))  # too tall for a JPEG
    (folder / os.fsdecode(b'caf\xe9.png')).write_bytes(png.tobytes())
    ask = ['bag', str(folder), '-q', QUESTION, '--yes-no', '--html', str(page), '--model']
    assert main([*ask, 'demo']) == 0
    whole = page.read_text()
    assert 'caf?.png' in whole and 'base64,/9j/' in whole
    assert main([*ask, 'unheard']) == 1
    assert page.read_text() == whole, 'nothing was found that could replace it'


def test_damaged_picture_does_not_end_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'notes.txt').write_text('no picture')
    cv2.imwrite(str(tmp_path / 'picture.png'), pictures(scenes(1))[0])
    found = records(capsys, tmp_path, '-q', QUESTION, '--yes-no')
    assert 'notes.txt is no picture' in found[0]['error'] and found[1]['choice'] in ('yes', 'no')


def test_wrong_use_says_what_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'a.png').write_bytes(b'')
    for arguments, words in (
        ([str(tmp_path)], '-q'), (['-q', 'x'], 'one recording'), (['a', 'b', '-q', 'x'], 'one'),
        (['rtsp://camera/x', '-q', 'x'], 'one recording'),
        ([str(tmp_path), '-q', 'x', '--every', 'often'], 'write 2s'),
        ([str(tmp_path), '-q', 'x', '--find'], '--yes-no'),
        ([str(tmp_path), '-q', 'x', '--choices', 'a,b', '--find', 'c'], '--choices with c'),
        ([str(tmp_path), '-q', 'x', '--choices', 'left'], 'different ones'),
        ([str(tmp_path), '-q', 'x', '--yes-no', '--number'], 'not allowed'),
    ):
        with pytest.raises(SystemExit) as ended:
            main(['bag', *arguments])
        assert ended.value.code == 2 and words in capsys.readouterr().err, arguments
