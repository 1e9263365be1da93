# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bag_files import START, TOPIC, write_bag
import numpy as np
import pytest
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.recordings.opening import opened


def noise(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(n).integers(0, 256, (24, 32, 3), np.uint8) for n in range(count)]


def flat(count: int) -> list[np.ndarray]:
    return [np.full((24, 32, 3), 40 * n, np.uint8) for n in range(count)]


def read(path: Path, topic: str = '') -> Sequence[object]:
    with opened(path, topic) as recording:
        return [recording.frame(number) for number in range(len(recording.times))]


def test_pictures_and_stamps_are_those_of_the_messages(tmp_path: Path) -> None:
    pictures = noise(5)
    for storage, encoding in (('mcap', 'rgb8'), ('sqlite3', 'bgr8')):
        path = tmp_path / storage
        stamps = write_bag(path, pictures, storage, encoding=encoding)
        frames = read(path)
        assert [frame.stamp for frame in frames] == stamps
        assert [frame.seconds for frame in frames] == [0.0, 0.5, 1.0, 1.5, 2.0]
        for frame, picture in zip(frames, pictures, strict=True):
            assert (frame.rgb == picture).all()
        (file,) = [p for p in path.iterdir() if p.suffix in ('.mcap', '.db3')]
        assert [frame.stamp for frame in read(file, TOPIC)] == stamps


def test_compressed_pictures_are_read(tmp_path: Path) -> None:
    for storage in ('mcap', 'sqlite3'):
        stamps = write_bag(tmp_path / storage, flat(4), storage, compressed=True)
        for frame, stamp, picture in zip(read(tmp_path / storage), stamps, flat(4), strict=True):
            assert frame.stamp == stamp
            assert abs(frame.rgb.astype(int) - picture).max() <= 2


def test_pictures_of_the_same_moment_are_told_apart(tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', flat(3), period=0.0)
    assert [int(frame.rgb[0, 0, 0]) for frame in read(tmp_path / 'bag')] == [0, 40, 80]


def test_topic_must_have_pictures(tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', flat(1))
    for topic in ('/chatter', '/nowhere'):
        with pytest.raises(ImageError, match=f'no pictures on {topic}, but on {TOPIC}'):
            opened(tmp_path / 'bag', topic)


def test_damaged_bags_are_errors(tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', noise(3))
    (file,) = (tmp_path / 'bag').glob('*.mcap')
    whole = file.read_bytes()
    for name, content in (
        ('empty', b''), ('half', whole[:len(whole) // 2]), ('text', b'no bag\n' * 100),
    ):
        file.write_bytes(content)
        for path in (tmp_path / 'bag', file):
            with pytest.raises(ImageError, match='cannot be read as a bag'):
                read(path)
                pytest.fail(name)
    for name in ('a.bag', 'a.db3'):
        (tmp_path / name).write_bytes(b'nothing of the kind')
        with pytest.raises(ImageError, match='cannot be read as a bag'):
            read(tmp_path / name)


def test_message_that_is_gone_is_an_error_with_a_reason(tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', flat(1))
    with opened(tmp_path / 'bag') as recording:
        recording._recorded[0] += 1  # type: ignore[attr-defined]
        with pytest.raises(ImageError, match='cannot be read as a bag: StopIteration'):
            recording.frame(0)


def test_bag_that_was_broken_off_says_how_it_is_repaired(tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', flat(1), 'sqlite3')
    (tmp_path / 'bag' / 'metadata.yaml').unlink()
    (tmp_path / 'bag' / 'bag.db3-wal').touch()
    with pytest.raises(ImageError, match='cannot be read as a bag') as caught:
        read(tmp_path / 'bag')
    assert 'reindex' in caught.value.remedy
    with pytest.raises(ImageError, match='There is no file or folder') as caught:
        read(tmp_path / 'nothing.bag')
    assert not caught.value.remedy


def test_bag_of_ros_1_is_read(tmp_path: Path) -> None:
    rosbag1 = pytest.importorskip('rosbags.rosbag1')
    from rosbags.typesys import get_typestore, Stores

    types, kind = get_typestore(Stores.ROS1_NOETIC), 'sensor_msgs/msg/Image'
    of, picture = types.types, noise(1)[0]
    header = of['std_msgs/msg/Header'](3, of['builtin_interfaces/msg/Time'](12, 34), 'camera')
    message = of[kind](header, 24, 32, 'rgb8', 0, 96, picture.ravel())
    with rosbag1.Writer(tmp_path / 'old.bag') as writer:
        connection = writer.add_connection(TOPIC, kind, typestore=types)
        writer.write(connection, START, types.serialize_ros1(message, kind))
    (frame,) = read(tmp_path / 'old.bag')
    assert frame.stamp == (12, 34) and (frame.rgb == picture).all()


def test_time_of_recording_is_not_the_stamp(tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', flat(2), period=2.0)
    first, second = read(tmp_path / 'bag')
    assert first.stamp == divmod(START, 10**9) and second.seconds == 2.0
