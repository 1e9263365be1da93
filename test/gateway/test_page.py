# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The page in a browser, beside a node with a camera."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from dataclasses import dataclass, field
import http.server
import json
from pathlib import Path
import shutil
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from asked_node import asked_node
import numpy as np
import pytest
from robot import Robot
from served import PATIENCE, served
from vlm_npu_ros.engine.backends.scripted import ScriptedLanguageModel, ScriptedTimings
from vlm_npu_ros.gateway.node_source import NodeSource
from vlm_npu_ros.node.vlm_node import VlmNode

playwright_api = pytest.importorskip('playwright.sync_api')
Axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe
Browser, Page, expect = Any, Any, playwright_api.expect
BROWSER = shutil.which('chromium') or shutil.which('google-chrome')
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason='there is no browser: apt-get install chromium')
CUP = json.dumps([{'bbox_2d': [250, 250, 500, 750], 'label': 'cup'}])
LONG = 'one two three ' * 40  # 4 s
expect.set_options(timeout=1000 * PATIENCE)


@dataclass
class Stand:
    """
    A node, what it answers by question, its gateway, and a browser.

    port: of the gateway. wrong: what the pages have complained about. hosts: that they asked.
    """

    node: VlmNode
    robot: Robot
    browser: Browser
    answers: dict[str, str]
    port: int = 0
    wrong: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def serve(self) -> contextlib.AbstractContextManager[str]:
        return served(NodeSource('vlm', self.node.context), self.port)

    @contextlib.contextmanager
    def open(self, **options: Any) -> Iterator[Page]:  # noqa: A003
        """Open the page; check at the end that nothing was wrong with it."""
        context = self.browser.new_context(**options)
        page = context.new_page()
        page.on('console', lambda m: m.type == 'error' and self.wrong.append(m.text))
        page.on('pageerror', lambda error: self.wrong.append(str(error)))
        page.on('request', lambda r: self.hosts.add(urlsplit(r.url).netloc))
        page.goto(f'http://127.0.0.1:{self.port}/')
        expect(page.locator('#lifecycle')).to_have_text('active')
        expect(page.locator('#cameras img[src]')).to_have_count(1)
        yield page
        context.close()
        assert self.wrong == [] and self.hosts - {''} == {f'127.0.0.1:{self.port}'}


@pytest.fixture(scope='module')
def stand() -> Iterator[Stand]:
    with contextlib.ExitStack() as started:
        node, robot = started.enter_context(asked_node(
            encode_rate=20.0, standing_questions=['free'],
            standing__free__question='is the path free?', standing__free__answer_type='yes_no',
        ))
        answers = {
            'the cup': CUP, 'is the path free?': 'Yes.', 'count': LONG, 'what?': 'A red box.'
        }
        node._engine._language_model = ScriptedLanguageModel(
            answers, ScriptedTimings(decode_rate=30.0, image_tokens=16))
        stop = threading.Event()
        publisher = threading.Thread(target=publish, args=(robot, stop))
        publisher.start()
        started.callback(publisher.join)
        started.callback(stop.set)
        playwright = started.enter_context(playwright_api.sync_playwright())
        browser = playwright.chromium.launch(executable_path=BROWSER, args=['--no-sandbox'])
        started.callback(browser.close)
        made = Stand(node, robot, browser, answers)
        made.port = started.enter_context(reserved_port())
        with made.serve():
            yield made


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Give a port that nobody else gets while our servers come and go there."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(('127.0.0.1', 0))
        yield holder.getsockname()[1]


def publish(robot: Robot, stop: threading.Event) -> None:
    """Be a camera whose pictures become brighter and brighter."""
    shade = 0
    while not stop.wait(0.1):
        shade = (shade + 1) % 256
        robot.publish(np.full((120, 160, 3), shade, np.uint8))


def ask(page: Page, question: str) -> None:
    page.get_by_label('Question', exact=True).fill(question)
    page.get_by_role('button', name='Ask', exact=True).click()


def test_an_answer_stands_beside_its_frame(stand: Stand, tmp_path: Path) -> None:
    with stand.open() as page:
        ask(page, 'what?')
        article = page.locator('#answers article').first
        expect(article.locator('.said')).to_have_text('A red box.')
        for words in ('frame', 'old', 'first token', 'tokens/s', 'by scripted'):
            expect(article.locator('.facts')).to_contain_text(words)
        expect(article.locator('img[src^="data:image/jpeg"]')).to_have_count(1)
        page.locator('#type').select_option('yes_no')
        ask(page, 'is the path free?')
        expect(page.locator('#answers article').first.locator('strong')).to_have_text('yes')
        expect(page.locator('#answers article').first).to_contain_text('decided by words')
        expect(page.locator('#answers article[aria-busy]')).to_have_count(0)
        with page.expect_download() as download:
            page.get_by_role('button', name='Export').click()
        download.value.save_as(tmp_path / 'answers.json')
        saved = json.loads((tmp_path / 'answers.json').read_text(encoding='utf-8'))
        assert [entry['answer']['text'] for entry in saved['answers']] == ['A red box.', 'Yes.']
        assert all(entry['picture'].startswith('data:image/jpeg') for entry in saved['answers'])


def test_boxes_are_drawn_where_things_are(stand: Stand) -> None:
    with stand.open() as page:
        page.locator('#type').select_option('locate')
        ask(page, 'the cup')
        box = page.locator('#answers .box')
        expect(box).to_have_count(1)
        expect(box).to_have_text('cup')
        assert page.evaluate("""() => {
          const { left, top, width, height } = document.querySelector('.box').style;
          return [left, top, width, height].map((side) => Math.round(parseFloat(side)));
        }""") == [25, 25, 25, 50]


def test_an_answer_comes_in_pieces_and_ends_early(stand: Stand) -> None:
    with stand.open() as page:
        ask(page, 'count')
        said = page.locator('#answers .said').first
        expect(said).to_contain_text('one two')
        page.get_by_role('button', name='Cancel').click()
        expect(page.locator('#answers .facts').first).to_have_text('cancelled')
        assert len(said.inner_text()) < len(LONG) - 20
        ask(page, '')  # the form itself wants a question
        expect(page.locator('#answers article')).to_have_count(1)
        page.get_by_label('Question', exact=True).fill('what?')
        page.keyboard.press('Enter')
        expect(said).to_have_text('A red box.')
        # An error, with its remedy.
        page.get_by_text('More').click()
        page.get_by_label('max age').fill('0.000001')
        page.get_by_label('timeout').fill('0.5')
        ask(page, 'what?')
        expect(page.locator('#answers .bad').first).not_to_be_empty()


def test_standing_questions_change_live_and_watches_end(stand: Stand) -> None:
    with stand.open() as page:
        tile = page.locator('.tile')
        expect(tile.locator('strong')).to_have_text('yes')
        expect(tile).to_have_class('tile good')
        page.locator('#type').select_option('yes_no')
        page.get_by_label('Question', exact=True).fill('is the path free?')
        page.get_by_role('button', name='Watch').click()
        expect(page.locator('#watches strong')).to_have_text('yes')
        stand.answers['is the path free?'] = 'No.'
        expect(tile.locator('strong')).to_have_text('no')
        expect(tile).to_have_class('tile bad')
        expect(page.locator('#watches strong')).to_have_text('no')
        page.get_by_role('button', name='Stop').click()
        expect(page.locator('#watches li')).to_have_count(0)
        stand.answers['is the path free?'] = 'Yes.'
        page.locator('#type').select_option('locate')
        page.get_by_label('Question', exact=True).fill('the cup')
        page.get_by_role('button', name='Watch').click()
        expect(page.locator('#watches strong')).to_have_text('cup')
        page.get_by_role('button', name='Stop').click()


def test_buttons_drive_the_lifecycle(stand: Stand) -> None:
    with stand.open() as page:
        for button, state in ('Deactivate', 'inactive'), ('Activate', 'active'):
            page.get_by_role('button', name=button, exact=True).click()
            expect(page.locator('#lifecycle')).to_have_text(state)


def test_it_fits_a_phone_and_is_accessible(stand: Stand) -> None:
    with stand.open(viewport={'width': 360, 'height': 740}) as page:
        # By keyboard alone.
        page.get_by_label('Question', exact=True).focus()
        page.keyboard.type('what?')
        page.keyboard.press('Tab')
        assert page.evaluate('document.activeElement.id') == 'camera'
        while page.evaluate('document.activeElement.id') != 'send':
            page.keyboard.press('Tab')
        page.keyboard.press('Space')
        expect(page.locator('#answers .facts').first).to_contain_text('tokens/s')
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
        for scheme in ('light', 'dark'):
            page.emulate_media(color_scheme=scheme, reduced_motion='reduce')
            found = Axe().run(page).response['violations']
            serious = [(v['id'], [n['html'] for n in v['nodes']][:3]) for v in found
                       if v['impact'] in ('serious', 'critical')]
            assert serious == [], scheme


def test_pages_of_other_sites_cannot_ask(stand: Stand) -> None:
    class Evil(http.server.BaseHTTPRequestHandler):

        def do_GET(self) -> None:  # noqa: N802
            self.send_response(200)
            self.send_header('Content-Type', 'text/html')
            self.end_headers()
            self.wfile.write(b'<p>evil</p>')

        def log_message(self, *_: object) -> None:
            pass

    stand.answers['evil?'] = 'Yes.'
    heard: list[str] = []
    stand.node._server._check, check = (
        lambda request: (heard.append(request.question), check(request))[1],
        stand.node._server._check,
    )
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Evil) as evil:
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        page = stand.browser.new_context().new_page()
        page.goto(f'http://127.0.0.1:{evil.server_address[1]}/')
        for options in (
            "{method: 'POST', body: JSON.stringify({question: 'evil?'}),"
            " headers: {'Content-Type': 'application/json'}}",
            "{method: 'POST', mode: 'no-cors', body: JSON.stringify({question: 'evil?'})}",
            '{}',
        ):
            said = page.evaluate(
                f"fetch('http://127.0.0.1:{stand.port}/api/ask', {options})"
                ".then((r) => `${r.type} ${r.status}`, (e) => 'refused')")
            assert said in ('refused', 'opaque 0')
        page.context.close()
        evil.shutdown()
    stand.node._server._check = check
    assert 'evil?' not in heard


def test_it_comes_back_after_the_gateway_has_restarted(stand: Stand) -> None:
    other = Stand(stand.node, stand.robot, stand.browser, stand.answers)
    with contextlib.ExitStack() as opened:
        other.port = opened.enter_context(reserved_port())
        with other.serve():
            page = opened.enter_context(other.open())
        expect(page.locator('#trouble')).to_be_visible()
        with other.serve():
            expect(page.locator('#lifecycle')).to_have_text('active', timeout=60_000)
            ask(page, 'what?')
            expect(page.locator('#answers .said').first).to_have_text('A red box.')
            other.wrong = [words for words in other.wrong if 'Failed to load' not in words]
            opened.close()
