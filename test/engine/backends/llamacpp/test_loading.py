# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What is wrong with a machine or with files is told before or while llama.cpp loads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llama_server.make_gguf import TINY
import pytest
from tiny_llama import Files, llama_settings, tiny_llama
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.engine.backends.backend import Check
from vlm_npu_ros.engine.backends.llamacpp import checks, loading
from vlm_npu_ros.engine.backends.llamacpp.settings import LlamaCppSettings
from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.progress import Caution, Event
from vlm_npu_ros.engine.settings import EngineSettings

WIDER = replace(TINY, dim=96, heads=6, kv_heads=6, layers=1)
X86 = 'processor : 0\nflags : fpu sse4_2 avx{} fma f16c\n'


def cut(path: Path, folder: Path) -> Path:
    short = folder / path.name
    short.write_bytes(path.read_bytes()[:300_000])
    return short


def page(_: Path, folder: Path) -> Path:
    path = folder / 'page.gguf'
    path.write_text('<!doctype html><title>Not found</title>')
    return path


def missing(_: Path, folder: Path) -> Path:
    return folder / 'typo.gguf'


@pytest.mark.parametrize('spoil, said', [
    (cut, 'cut short or damaged'), (page, 'a web page'), (missing, 'No such file'),
])
def test_files_that_cannot_be_read(
    spoil: Callable[[Path, Path], Path], said: str, tmp_path: Path
) -> None:
    files = tiny_llama()
    for name in ('model', 'mmproj'):
        wrong = spoil(getattr(files, name), tmp_path)
        with pytest.raises(ModelFileError, match=said) as caught:
            load_engine(llama_settings(files._replace(**{name: wrong})))
        assert str(wrong) in str(caught.value)


def test_files_that_do_not_belong_together() -> None:
    files = tiny_llama()
    for wrong, said in (
        (Files(files.mmproj, files.model), 'Are encoder and language model swapped'),
        (Files(files.model, files.model), 'is a language model, not a vision encoder'),
        (Files(files.model, tiny_llama(WIDER).mmproj), r'mismatch between .*n_embd = 64'),
    ):
        with pytest.raises(ModelFileError, match=said):
            load_engine(llama_settings(wrong))
    with pytest.raises(ModelFileError, match='needs the parameters language_model_path'):
        load_engine(EngineSettings('llamacpp', language_model_path=str(files.model)))


def test_files_of_a_later_member_of_a_chain() -> None:
    model, mmproj = map(str, tiny_llama())
    events: list[Event] = []
    options = LlamaCppSettings(language_model_path=model, encoder_path=mmproj)
    settings = EngineSettings('llamacpp', threads=1, context=512, options=options)
    engine = load_engine(settings, events.append)
    assert engine.context == 512 and not engine.read_ahead.possible
    assert [str(event) for event in events[:2]] == [
        f'Loading vision encoder {mmproj}', f'Loading language model {model}']
    engine.close()


def found(root: Path, **files: str) -> list[Check]:
    return checks.examine(EngineSettings('llamacpp', **files), root)


def test_cpu_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'proc').mkdir()
    cpuinfo = tmp_path / 'proc/cpuinfo'
    for text, level in ((X86.format(2), 'ok'), (X86.format(''), 'fail'), ('processor: 0\n', 'ok')):
        cpuinfo.write_text(text)
        (cpu,) = found(tmp_path)
        assert (cpu.name, cpu.level) == ('CPU', level), text
    cpuinfo.write_text(X86.format(''))
    old = found(tmp_path)
    monkeypatch.setattr(loading, 'examine', lambda settings, root: old)
    with pytest.raises(BackendUnavailableError, match='CPU: lacks AVX2'):
        load_engine(llama_settings())
    cpuinfo.unlink()
    assert [check.level for check in found(tmp_path)] == ['warn']


def test_memory_that_is_too_small(tmp_path: Path) -> None:
    (tmp_path / 'proc').mkdir()
    (tmp_path / 'proc/cpuinfo').write_text(X86.format(2))
    model, mmproj = map(str, tiny_llama())
    for free, level in ((100, 'warn'), (100_000, 'ok')):
        (tmp_path / 'proc/meminfo').write_text(f'MemTotal: 9 kB\nMemAvailable:   {free} kB\n')
        *_, memory = found(tmp_path, language_model_path=model, encoder_path=mmproj)
        assert (memory.name, memory.level) == ('memory', level)


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    model, mmproj = map(str, tiny_llama())
    look = ['doctor', '--backend', 'llamacpp', '--encoder', mmproj, '--language-model']
    assert main([*look, model]) == 0
    table = capsys.readouterr().out.split('\n\n')[0]
    for name in ('CPU', 'xllamacpp', 'openai', 'vision encoder', 'language model', 'memory'):
        assert f'ok    {name}' in table
    assert main([*look, mmproj]) == 1
    assert 'swapped?' in capsys.readouterr().out


def test_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, 'PACKAGES', ('no_such_package',))
    with pytest.raises(BackendUnavailableError, match='no_such_package: not installed.*llamacpp'):
        load_engine(llama_settings())


def test_cautions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    warning = Check('memory', 'warn', 'little', 'Buy some')
    monkeypatch.setattr(loading, 'examine', lambda settings, root: [warning])
    load_engine(llama_settings(), events.append).close()
    assert [str(event) for event in events if isinstance(event, Caution)] == [
        'Warning: memory: little. Buy some']
