# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from pathlib import Path

from hub_server import COMMIT, Hub
import pytest
from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError, VlmError
from vlm_npu_ros.pull import hub as module
from vlm_npu_ros.pull.hub import RemoteFile, Repository

TINY = 'test/tiny-GGUF'
BIG = 'tiny-Q4_K_M.gguf'


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, '_PAUSE', 0.001)


def big(repository: Repository) -> RemoteFile:
    return next(file for file in repository.files if file.path == BIG)


def fetched(hub: Hub, part: Path) -> list[int]:
    """Fetch the big file; return the sizes of its pieces."""
    repository, pieces = Repository(TINY), list[int]()
    repository.fetch(big(repository), part, pieces.append)
    assert part.read_bytes() == hub.repositories[TINY][BIG]
    return pieces


def test_listing_tells_sizes_hashes_and_commit(hub: Hub) -> None:
    repository = Repository(TINY)
    assert repository.revision == COMMIT and repository.licence == 'apache-2.0'
    for file in repository.files:
        content = hub.repositories[TINY][file.path]
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_file_comes_by_a_redirect(hub: Hub, tmp_path: Path) -> None:
    assert sum(fetched(hub, tmp_path / 'part')) == len(hub.repositories[TINY][BIG])
    assert hub.asked == [(BIG, '')]


def test_rest_of_a_file_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    content, part = hub.repositories[TINY][BIG], tmp_path / 'part'
    part.write_bytes(content[:400_000])
    assert sum(fetched(hub, part)) == len(content) - 400_000
    assert hub.asked == [(BIG, 'bytes=400000-')]


def test_server_without_ranges_begins_again(hub: Hub, tmp_path: Path) -> None:
    part, hub.ranges = tmp_path / 'part', False
    part.write_bytes(bytes(400_000))
    pieces = fetched(hub, part)
    assert pieces[0] == -400_000 and sum(pieces) + 400_000 == len(hub.repositories[TINY][BIG])


def test_cut_transfer_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.cuts[BIG] = [100_000, 300_000, 300_001]
    fetched(hub, tmp_path / 'part')
    assert [wanted for _, wanted in hub.asked] == [
        '', 'bytes=100000-', 'bytes=300000-', 'bytes=300001-']


def test_passing_failure_of_the_server_is_waited_for(hub: Hub, tmp_path: Path) -> None:
    hub.states = [503, 429, 200]
    fetched(hub, tmp_path / 'part')
    assert len(hub.asked) == 3
    hub.states = [500] * 20
    with pytest.raises(BackendUnavailableError, match='fails'):
        fetched(hub, tmp_path / 'other')


def test_wrong_content_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    content, part = hub.repositories[TINY][BIG], tmp_path / 'part'
    for name, stored, ranges in (
        ('changed', content[:-1] + b'x', True), ('longer', content + b'x', True),
        ('much longer', content * 3, True), ('shorter', content[:-1], True),
        ('a page instead', b'<html>refused</html>', False), ('nothing', b'', True),
    ):
        hub.stored[BIG], hub.ranges = stored, ranges
        with pytest.raises(ModelFileError, match='not what its server announced'):
            fetched(hub, part)
            pytest.fail(name)
        assert not part.exists()


def test_refusals_say_what_to_do(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add('test/gated')
    for name, what, remedy in (
        ('test/nothing', 'not there', 'HF_TOKEN'), ('test/gated', 'accepted its terms', 'Accept'),
        ('not a name', 'not the name', ''),
    ):
        with pytest.raises(VlmError, match=what) as caught:
            Repository(name)
        assert remedy in caught.value.remedy
    hub.token = 'secret'
    with pytest.raises(ModelFileError, match='private|refuses'):
        Repository(TINY)
    monkeypatch.setenv('HF_TOKEN', 'secret')
    assert Repository(TINY).files


def test_absent_server_is_told(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('huggingface_hub')
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
    with pytest.raises(BackendUnavailableError) as caught:
        Repository(TINY)
    assert 'HF_ENDPOINT' in caught.value.remedy


def test_full_disk_keeps_what_came(hub: Hub, tmp_path: Path) -> None:
    repository = Repository(TINY)

    def write(at: int) -> None:
        raise OSError(28, 'No space left on device')

    with pytest.raises(ModelFileError, match='No space left') as caught:
        repository.fetch(big(repository), tmp_path / 'part', write)
    assert 'Make room' in caught.value.remedy and (tmp_path / 'part').stat().st_size > 0
