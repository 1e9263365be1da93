# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from gguf_files import ENCODER, gguf, LANGUAGE_MODEL
from hub_server import Hub
import pytest
from vlm_npu_ros.engine.errors import BusyError, ModelFileError, VlmError
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.pulled import all_pulled, check_model, find_pulled, last_pulled
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.pull import pulling
from vlm_npu_ros.pull.hub import RemoteFile, Repository
from vlm_npu_ros.pull.pulling import pull, Pulled, Wish

TINY = 'test/tiny-GGUF'
NAME = f'hf:{TINY}'
ENCODER_FILE, BIG, SMALL = 'mmproj-tiny-Q8_0.gguf', 'tiny-Q4_K_M.gguf', 'tiny-Q8_0.gguf'
DATA = Path(__file__).parents[1] / 'data'


def pulled(name: str = NAME, backend: str = 'reader', **more: str | bool) -> Pulled:
    def transfer(repository: Repository, file: RemoteFile, part: Path) -> None:
        repository.fetch(file, part, lambda size: None)

    return pull(Wish(name, backend=backend, **more), lambda line: None, transfer)


def contents(folder: Path) -> list[str]:
    """List what lies in the folder of all models, without what serves transfers only."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob('*')
        if path.is_file() and path.suffix != '.lock'
    )


def test_pulled_model_is_loaded_by_its_name(
    hub: Hub, reader: list[EngineSettings], models: Path
) -> None:
    found = pulled()
    assert contents(models) == sorted(
        f'hf--test--tiny-GGUF/reader/{name}' for name in (ENCODER_FILE, BIG, 'pulled.yaml'))
    assert found == find_pulled(NAME) == find_pulled(NAME, 'reader') == last_pulled()
    assert all_pulled() == [found] and found.licence == 'apache-2.0'
    hub.repositories.clear()  # what follows needs no server
    engine = load_engine(EngineSettings('reader', NAME))
    engine.close()
    folder = models / 'hf--test--tiny-GGUF' / 'reader'
    assert reader[0].encoder_path == str(folder / ENCODER_FILE)
    assert reader[0].language_model_path == str(folder / BIG)
    assert pulled() == found


def test_other_weights_are_another_model(hub: Hub, reader: object) -> None:
    assert pulled(f'{NAME}:Q8_0').language_model.path == SMALL
    assert pulled().language_model.path == BIG
    assert len(all_pulled()) == 2


def test_changed_file_is_not_loaded(hub: Hub, reader: list[EngineSettings]) -> None:
    found = pulled()
    path = found.folder / BIG
    for name, content in (
        ('another byte', path.read_bytes()[:-1] + b'x'), ('shorter', path.read_bytes()[:-1]),
        ('gone', None),
    ):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(ModelFileError) as caught:
            load_engine(EngineSettings('reader', NAME))
        assert str(path) in caught.value.what, name
        assert f'vlm-npu pull {NAME}' in caught.value.remedy
    assert not reader


def test_renamed_folder_is_no_model(hub: Hub, reader: object) -> None:
    folder = pulled().folder
    folder.rename(folder.with_name('old'))
    assert last_pulled() is None and all_pulled() == []


def test_missing_model_says_the_command(models: Path, reader: object) -> None:
    for name, backend in ((NAME, 'reader'), ('smolvlm2-256m', 'rknpu')):
        with pytest.raises(ModelFileError, match='not on this machine') as caught:
            load_engine(EngineSettings(backend, name))
        assert f'`vlm-npu pull {name} --backend {backend}`' in caught.value.remedy


def test_wrong_content_leaves_nothing_that_could_be_loaded(
    hub: Hub, reader: object, models: Path
) -> None:
    repository, right = hub.repositories[TINY], dict(hub.repositories[TINY])
    for name, path, content, words in (
        ('wrong hash', BIG, None, 'announced'),
        ('a web page', BIG, b'<!doctype html>' + bytes(100), 'web page'),
        ('a pointer', ENCODER_FILE, b'version https://git-lfs.github.com/spec/v1', 'git-LFS'),
        ('swapped', ENCODER_FILE, gguf(LANGUAGE_MODEL), 'sees no pictures'),
        ('two encoders', BIG, gguf(ENCODER), 'is a vision encoder'),
        ('cut short', BIG, gguf(LANGUAGE_MODEL)[:-1], 'cut short'),
    ):
        repository.update(right)
        hub.stored.clear()
        if content is None:
            hub.stored[path] = right[path][:-1] + b'x'
        else:
            repository[path] = content
        with pytest.raises(ModelFileError, match=words):
            pulled()
            pytest.fail(name)
        assert not all_pulled() and not [p for p in contents(models) if p.endswith(path)], name
    repository.update(right)
    assert pulled().encoder.path == ENCODER_FILE


def test_no_path_leads_out_of_the_folder(hub: Hub, reader: object, models: Path) -> None:
    content = hub.repositories[TINY].pop(BIG)
    hub.repositories[TINY].pop(SMALL)
    for path in ('../out.gguf', '/tmp/out.gguf', 'a/../../out.gguf', '.hidden/out.gguf',
                 'a\\..\\out.gguf', 'a/\nout.gguf', '.gguf'):
        encoder = hub.repositories[TINY][ENCODER_FILE]
        hub.repositories[TINY] = {ENCODER_FILE: encoder, path: content}
        with pytest.raises(ModelFileError, match='out of its folder'):
            pulled()
            pytest.fail(path)
        assert not contents(models.parent) and not hub.asked


def test_wrong_profile_is_told_before_the_transfer(hub: Hub, reader: object) -> None:
    for profile, words in (
        ('unheard', 'unheard'), ('/nowhere/own.yaml', 'nowhere'), ('qwen3-vl-2b', 'for rknpu'),
    ):
        with pytest.raises(ModelFileError, match=words):
            pulled(profile=profile)
            pytest.fail(profile)
    assert not hub.asked


def test_other_files_than_those_that_are_there_are_not_passed_over(
    hub: Hub, reader: object
) -> None:
    found = pulled(language_model=SMALL)
    assert pulled() == pulled(encoder='mmproj*', language_model=SMALL) == found
    for other in {'language_model': BIG}, {'encoder': 'eye.gguf'}:
        with pytest.raises(ModelFileError, match='other files') as caught:
            pulled(**other)
        assert 'Remove' in caught.value.remedy


def test_long_name_of_a_model_is_one_that_is_not_there(models: Path) -> None:
    with pytest.raises(ModelFileError):
        check_model(5000 * 'x')


def test_names_that_are_none(models: Path) -> None:
    for name in ('hf:', 'hf:one', 'hf:../x', 'hf:a/../b', 'hf:a/b:', 'hf:a/b c', 'unheard', '..'):
        with pytest.raises(ModelFileError, match='not in the catalogue|not the name'):
            pulled(name)
            pytest.fail(name)


def test_model_that_does_not_fit_is_refused_before(
    hub: Hub, reader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.sizes[BIG] = 10**15
    with pytest.raises(ModelFileError, match='room') as caught:
        pulled()
    assert 'VLM_NPU_MODELS' in caught.value.remedy
    monkeypatch.setattr(pulling.shutil, 'disk_usage', lambda path: type('', (), {'free': 10**16}))
    with pytest.raises(ModelFileError, match='memory') as caught:
        pulled()
    assert '--force' in caught.value.remedy and not hub.asked


def test_model_of_a_board_is_not_pulled_elsewhere(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('VLM_NPU_SYSROOT', str(tmp_path))
    hub.repositories['test/qwen3-vl-2b'] = {
        'demo_encoder.rknn': (DATA / 'demo_encoder.rknn').read_bytes(),
        'demo.rkllm': bytes(range(256)) * 8000,
    }
    with pytest.raises(ModelFileError, match='cannot run') as caught:
        pulled('hf:test/qwen3-vl-2b', '')
    assert '--for' in caught.value.remedy and not hub.asked
    with pytest.raises(ModelFileError, match='demo_encoder.rknn is for rk3588, not for rk3576'):
        pulled('hf:test/qwen3-vl-2b', '', chip='rk3576')
    with pytest.raises(ModelFileError):  # its name says Qwen3-VL, its shapes something else
        pulled('hf:test/qwen3-vl-2b', '', chip='rk3588')
    own = str(Path(__file__).parents[1] / 'simulated' / 'demo_rknpu.yaml')
    found = pulled('hf:test/qwen3-vl-2b', '', chip='rk3588', profile=own)
    assert found.variant == 'rknpu-rk3588'
    assert Path(found.model).read_text() == Path(own).read_text()
    assert pulled('hf:test/qwen3-vl-2b', '', chip='rk3588', profile=own) == found
    with pytest.raises(ModelFileError, match='another profile'):
        pulled('hf:test/qwen3-vl-2b', '', chip='rk3588', profile='qwen3-vl-2b')
    assert find_pulled('hf:test/qwen3-vl-2b') is None, 'it does not run here'


def test_model_for_any_machine_is_found_on_each(hub: Hub, reader: object) -> None:
    found = pulled(chip='rk3588')
    assert found == find_pulled(NAME) and found.chip == ''
    hub.repositories.clear()
    assert pulled(chip='rk3588') == found


def test_second_pull_of_a_model_waits_for_nobody(hub: Hub, reader: object) -> None:
    def transfer(repository: Repository, file: RemoteFile, part: Path) -> None:
        with pytest.raises(BusyError, match='Another program'):
            pulled()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(Wish(NAME, backend='reader'), lambda line: None, transfer)
    assert pulled()


def test_interrupted_pull_keeps_the_files_that_are_whole(hub: Hub, reader: object) -> None:
    hub.states = [200, 404]
    with pytest.raises(VlmError):
        pulled()
    pulled()
    assert [path for path, _ in hub.asked] == [ENCODER_FILE, BIG, BIG]
