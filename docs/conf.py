# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Settings of Sphinx: `make docs`. The pages of reference/ are made of the sources."""

from __future__ import annotations

from contextlib import redirect_stdout, suppress
import io
from pathlib import Path
import re
import sys
from xml.etree import ElementTree

from sphinx.application import Sphinx
import yaml

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
REFERENCE = DOCS / 'reference'
sys.path.insert(0, str(ROOT))

project = 'vlm_npu_ros'
author = copyright = 'vlm_npu_ros maintainers'  # noqa: A001
release = ElementTree.parse(ROOT / 'package.xml').findtext('version')
extensions = ['myst_parser']
exclude_patterns = ['requirements.txt']
html_theme = 'furo'
myst_heading_anchors = 4


def interfaces() -> str:
    """Return the message, service and action files."""
    paths = sorted(path for kind in ('msg', 'srv', 'action') for path in (ROOT / kind).iterdir())
    return '# Messages, services and actions\n' + ''.join(
        f'\n## {path.parent.name}/{path.stem}\n{block("text", path.read_text(encoding="utf-8"))}'
        for path in paths
    )


def parameters() -> str:
    """Return the node's parameter file, and what the backends add."""
    own = (ROOT / 'config' / 'vlm.yaml').read_text(encoding='utf-8')
    added = block('yaml', printed('parameters'))
    return f'# Parameters\n{block("yaml", own)}\n## Of the backends\n{added}'


def errors() -> str:
    """Return the table of error codes."""
    lines = (ROOT / 'msg' / 'ErrorCode.msg').read_text(encoding='utf-8').splitlines()
    rows = [re.fullmatch(r'uint16 (\w+)=(\d+) *#? ?(.*)', line) for line in lines]
    return table('Error codes', ('code', 'name', 'meaning'), [
        (row[2], f'`{row[1]}`', row[3]) for row in rows if row
    ])


def commands() -> str:
    """Return the help of vlm-npu and its commands."""
    listed = re.findall(r'^    ([a-z-]+)', printed('--help'), re.MULTILINE)
    return '# Commands\n' + ''.join(
        f'\n## vlm-npu {name}\n{block("text", printed(*name.split(), "--help"))}'
        for name in ('', *listed)
    )


def models() -> str:
    """Return the table of model profiles."""
    profiles = [
        yaml.safe_load(path.read_text(encoding='utf-8'))
        for path in sorted((ROOT / 'config' / 'models').iterdir())
    ]
    head = 'name', 'model', 'backend', 'side of a picture: its tokens', 'oldest runtime'
    return table('Model profiles', head, [
        (
            f'`{profile["name"]}`', profile['title'], profile['backend'],
            ', '.join(f'{side}: {count}' for side, count in tokens.items()),
            profile.get('min_runtime', ''),
        )
        for profile in profiles if (tokens := profile.get('image', {}).get('tokens'))
    ])


def table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Write a page with a table."""
    lines = [head, ('---',) * len(head), *rows]
    return f'# {title}\n\n' + ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def block(language: str, text: str) -> str:
    """Write a block of code."""
    return f'\n```{language}\n{text}```\n'


def printed(*arguments: str) -> str:
    """Return what vlm-npu prints."""
    from vlm_npu_ros.cli.main import main
    with redirect_stdout(io.StringIO()) as out, suppress(SystemExit):
        main([*arguments])
    return out.getvalue()


def write_reference() -> None:
    """Write the pages of reference/."""
    REFERENCE.mkdir(exist_ok=True)
    for page in interfaces, parameters, errors, commands, models:
        (REFERENCE / f'{page.__name__}.md').write_text(page(), encoding='utf-8')


def without_links_outside(text: str, folder: Path) -> str:
    """Keep only the words of links to files of the repository that are no pages of the site."""
    def written(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        return link[1] if target.exists() and DOCS not in target.parents else link[0]

    return re.sub(r'\[([^]]+)\]\(([\w./-]+)\)', written, text)


def read_source(app: Sphinx, page: str, content: list[str]) -> None:
    """Change a page before it is read."""
    content[0] = without_links_outside(content[0], DOCS)


def read_included(app: Sphinx, path: Path, page: str, content: list[str]) -> None:
    """Change README.md before it is read."""
    content[0] = without_links_outside(content[0], ROOT)


def setup(app: Sphinx) -> None:
    """Prepare the build."""
    write_reference()
    app.connect('source-read', read_source)
    app.connect('include-read', read_included)
