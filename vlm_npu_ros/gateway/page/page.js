// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

// The page of the gateway: cameras, questions, answers, standing questions, state.

const PICTURE_MS = 200; // least time between two pictures of a camera
const CHART_POINTS = 120;
const MOST_ANSWERS = 200;
const CHARTS = {
  'tokens per second': 'tokens/s', 'questions waiting': 'waiting', 'NPU load': 'NPU, %',
  'memory of the engine, MiB': 'engine, MiB', 'memory of the node, MiB': 'node, MiB',
  'free memory, MiB': 'free, MiB', 'encoded per second': 'encoded/s', 'frames per second': 'frames/s',
};
const NEXT = { unconfigured: ['configure'], inactive: ['activate', 'cleanup'], active: ['deactivate'] };
const LEVELS = ['good', 'warn', 'bad'];

const $ = (id) => document.getElementById(id);

function make(tag, values = {}, ...children) {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...children);
  return element;
}

// --- requests ---

async function failure(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The gateway answers ${response.status}`;
  }
}

async function post(path, body, signal) {
  const response = await fetch(path, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), signal,
  });
  if (!response.ok) throw new Error(await failure(response));
  return response;
}

// Yields the events of a response.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n\n');
    rest = lines.pop();
    for (const line of lines) if (line.startsWith('data: ')) yield JSON.parse(line.slice(6));
  }
}

function tell(error) {
  $('trouble').textContent = error ? String(error.message || error) : '';
  $('trouble').hidden = !error;
}

// --- state ---

let state = { cameras: [], parts: [], standing: {} };

function show(news) {
  state = { standing: {}, ...news };
  tell('');
  $('node').textContent = state.node || 'vlm';
  document.title = state.node || 'vlm';
  $('model').textContent = state.model;
  const badge = $('lifecycle');
  badge.textContent = state.lifecycle || (state.ready ? 'ready' : state.node ? 'not there' : 'not ready');
  badge.className = `badge ${state.ready ? 'good' : 'bad'}`;
  $('transitions').hidden = !state.node;
  $('watch').hidden = !state.node;
  for (const button of $('transitions').children) {
    button.disabled = !(NEXT[state.lifecycle] || []).includes(button.dataset.transition);
  }
  showCameras();
  showStanding();
  showParts();
}

function showParts() {
  $('parts').replaceChildren(...state.parts.map((part) => make(
    'p', { className: 'part' },
    make('strong', { className: LEVELS[part.level], textContent: part.name }),
    ` ${part.message}`,
    ...(part.values.breaker ? [` (breaker ${part.values.breaker})`] : []),
  )));
  for (const part of state.parts) {
    for (const [key, title] of Object.entries(CHARTS)) {
      const value = readNumber(part.values[key]);
      if (Number.isFinite(value)) {
        chart(part.name.startsWith('camera') ? `${part.name}: ${title}` : title, value);
      }
    }
  }
}

// A number, or the mean of those in `Core0: 12%, Core1: 0%`.
function readNumber(text) {
  const shares = [...String(text).matchAll(/(\d+)\s*%/g)].map((found) => Number(found[1]));
  return shares.length ? shares.reduce((a, b) => a + b) / shares.length : Number.parseFloat(text);
}

const charts = new Map();

function chart(title, value) {
  if (!charts.has(title)) {
    const line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('viewBox', `0 0 ${CHART_POINTS} 30`);
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('aria-hidden', 'true');
    svg.append(line);
    const number = make('b');
    charts.set(title, { values: [], line, number });
    $('charts').append(make('div', { className: 'chart' }, `${title} `, number, svg));
  }
  const { values, line, number } = charts.get(title);
  values.push(value);
  if (values.length > CHART_POINTS) values.shift();
  number.textContent = value;
  const top = Math.max(...values, 1e-9);
  line.setAttribute('points', values.map((v, i) => `${i},${29 - (28 * v) / top}`).join(' '));
}

function showStanding() {
  const names = Object.keys(state.standing).sort();
  $('standing-section').hidden = !names.length;
  const tiles = new Map([...$('standing').children].map((tile) => [tile.dataset.name, tile]));
  for (const name of names) {
    const told = state.standing[name];
    const colour = told.error_code || told.choice_index === -1 ? 'warn'
      : told.choice_index === 0 ? 'good' : told.choice_index === 1 ? 'bad' : '';
    let tile = tiles.get(name);
    if (!tile) {
      tile = make('div', {}, make('strong'), make('span'), make('span', { className: 'facts' }));
      tile.dataset.name = name;
      $('standing').append(tile);
    }
    tiles.delete(name);
    tile.className = `tile ${colour}`;
    const texts = [
      saidIn(told) || '…', told.question,
      told.error_msg || (told.confidence ? `sure to ${Math.round(100 * told.confidence)} %` : name),
    ];
    texts.forEach((text, i) => {
      if (tile.children[i].textContent !== text) tile.children[i].textContent = text;
    });
  }
  for (const gone of tiles.values()) gone.remove();
}

function follow() {
  const source = new EventSource('api/events');
  source.onmessage = (message) => show(JSON.parse(message.data));
  source.onerror = () => {
    tell('The gateway cannot be reached: trying again');
    $('lifecycle').textContent = 'no connection';
    $('lifecycle').className = 'badge bad';
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  };
}

// --- cameras ---

const views = new Map();
const looked = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.target.dataset.seen = entry.isIntersecting;
});

function showCameras() {
  $('no-cameras').hidden = state.cameras.length > 0;
  for (const name of state.cameras) {
    if (views.has(name)) continue;
    const picture = make('img', { alt: `What camera ${name} sees now` });
    const words = make('figcaption', { textContent: name });
    const figure = make('figure', {}, make('div', { className: 'frame' }, picture), words);
    views.set(name, { figure, picture, words, stamp: 0, at: 0 });
    $('cameras').append(figure);
    looked.observe(figure);
  }
  for (const [name, view] of views) {
    if (!state.cameras.includes(name)) {
      view.figure.remove();
      views.delete(name);
    }
  }
  const names = [...$('camera').options].map((option) => option.value);
  if (names.join() !== state.cameras.join()) {
    $('camera').replaceChildren(...state.cameras.map((name) => make('option', { value: name, textContent: name })));
  }
  $('camera').parentElement.hidden = !state.cameras.length;
}

async function look(name, view) {
  const response = await fetch(`api/cameras/${encodeURIComponent(name)}/picture?after=${view.stamp}`);
  if (response.status !== 200) return;
  view.stamp = response.headers.get('X-Stamp');
  const blob = await response.blob();
  const old = view.picture.src;
  view.picture.src = URL.createObjectURL(blob);
  if (old) URL.revokeObjectURL(old);
  view.newest = blob;
}

// One camera after the other: a browser has few connections for one server.
async function lookAround() {
  for (;;) {
    const begun = performance.now();
    for (const [name, view] of document.hidden ? [] : views) {
      if (view.figure.dataset.seen === 'true') {
        try {
          await look(name, view);
        } catch { /* the events tell it */ }
      }
    }
    const rest = PICTURE_MS - (performance.now() - begun);
    await new Promise((done) => { setTimeout(done, Math.max(rest, 20)); });
  }
}

// --- questions ---

const history = [];
let dialogue = '';
let asking = null;

function readFields() {
  const fields = {};
  const camera = $('camera').value;
  if (camera && !$('picture').files.length) fields.camera = camera;
  const type = $('type').value;
  const { kind } = $('type').selectedOptions[0].dataset;
  const value = $('value').value;
  if (type) {
    fields[type] = kind === 'bool' ? true
      : kind === 'list' ? value.split(',').map((text) => text.trim()).filter(Boolean) : value;
  }
  if (type === 'number' && $('unit').value) fields.unit = $('unit').value;
  for (const input of $('options').querySelectorAll('input')) {
    if (input.type === 'checkbox' ? input.checked : input.value !== '') {
      fields[input.name] = input.type === 'checkbox' ? true
        : input.type === 'number' ? Number(input.value) : input.value;
    }
  }
  return fields;
}

async function readPictures() {
  const files = [...$('picture').files];
  return Promise.all(files.map(async (file) => {
    const url = await asUrl(file);
    return url.slice(url.indexOf(',') + 1);
  }));
}

function asUrl(blob) {
  return new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(blob);
  });
}

async function ask(event) {
  event.preventDefault();
  if (asking) return;
  const fields = readFields();
  if ($('dialogue').checked && state.node) {
    dialogue ||= `page-${crypto.getRandomValues(new Uint32Array(2)).join('')}`;
    fields.conversation = dialogue;
  } else dialogue = '';
  const entry = { question: $('question').value, fields, asked: new Date().toISOString() };
  const view = addAnswer(entry);
  asking = new AbortController();
  $('cancel').disabled = false;
  $('send').disabled = true;
  try {
    const pictures = await readPictures();
    if (pictures.length) await setPicture(view, entry, $('picture').files[0]);
    else if (views.get(fields.camera)?.newest) {
      view.picture.src = URL.createObjectURL(views.get(fields.camera).newest);
      view.picture.className = 'provisional';
    }
    const response = await post('api/ask', { question: entry.question, fields, pictures }, asking.signal);
    for await (const told of events(response)) {
      if (told.piece !== undefined) view.said.textContent += told.piece;
      if (told.answer) await end(view, entry, told.answer, pictures.length > 0);
    }
  } catch (error) {
    if (error.name === 'AbortError') view.facts.textContent = 'cancelled';
    else {
      view.trouble.textContent = error.message;
      entry.error = error.message;
    }
  } finally {
    asking = null;
    $('cancel').disabled = true;
    $('send').disabled = false;
    view.article.removeAttribute('aria-busy');
  }
}

function addAnswer(entry) {
  history.push(entry);
  if (history.length > MOST_ANSWERS) {
    history.shift();
    $('answers').lastElementChild.remove();
  }
  $('export').disabled = false;
  const picture = make('img', { alt: '' });
  const frame = make('div', { className: 'frame' }, picture);
  const said = make('p', { className: 'said' });
  const facts = make('p', { className: 'facts' });
  const trouble = make('p', { className: 'bad' });
  const words = make('div', {}, make('h3', { textContent: entry.question }), said, trouble, facts);
  const article = make('article', {}, frame, words);
  article.setAttribute('aria-busy', 'true');
  $('answers').prepend(article);
  return { article, frame, picture, said, facts, trouble };
}

async function setPicture(view, entry, blob) {
  entry.picture = await asUrl(blob);
  view.picture.src = entry.picture;
  view.picture.alt = 'The picture that the answer is about';
  view.picture.className = '';
}

async function end(view, entry, answer, ownPicture) {
  entry.answer = answer;
  if (answer.text && view.said.textContent !== answer.text) view.said.textContent = answer.text;
  if (answer.choice) view.said.replaceChildren(make('strong', { textContent: answer.choice }), ` ${answer.text}`);
  view.trouble.textContent = answer.error;
  view.facts.textContent = facts(answer).join(' · ');
  if (!ownPicture && answer.stamp) {
    const camera = (entry.fields.camera || state.cameras[0] || '').split(',')[0];
    const query = new URLSearchParams({ stamp: answer.stamp, frame_id: answer.frame_id });
    const response = await fetch(`api/cameras/${encodeURIComponent(camera)}/picture?${query}`);
    if (response.status === 200) {
      entry.size = [response.headers.get('X-Width'), response.headers.get('X-Height')].map(Number);
      await setPicture(view, entry, await response.blob());
    } else view.picture.removeAttribute('src');
  }
  for (const found of answer.located || []) drawBox(view.frame, found, entry.size || []);
}

function drawBox(frame, found, [width, height]) {
  if (!width || !height) return;
  const { box } = found;
  const mark = make('div', { className: 'box' }, make('span', { textContent: named(found) }));
  mark.style.left = `${(100 * box.x_offset) / width}%`;
  mark.style.top = `${(100 * box.y_offset) / height}%`;
  mark.style.width = `${(100 * box.width) / width}%`;
  mark.style.height = `${(100 * box.height) / height}%`;
  frame.append(mark);
}

function named(found) {
  const words = [found.label];
  if (found.score) words.push(`${Math.round(100 * found.score)} %`);
  if (found.has_point) words.push(`${found.point.point.z.toFixed(2)} m`);
  return words.join(', ');
}

// What an answer of a watch or a standing question comes to.
function saidIn(answer) {
  return answer.choice || (answer.located || []).map(named).join('; ') || answer.answer;
}

function facts(answer) {
  const { stats } = answer;
  const list = [];
  if (answer.age !== null) list.push(`frame ${answer.age.toFixed(2)} s old`);
  if (stats.first_token_seconds) list.push(`first token ${Math.round(1000 * stats.first_token_seconds)} ms`);
  if (stats.tokens_per_second) list.push(`${stats.tokens_per_second.toFixed(1)} tokens/s`);
  if (stats.backend) list.push(`by ${stats.backend}`);
  if (answer.decided_by) list.push(`decided by ${answer.decided_by.replace('_', ' ')}`);
  if (answer.confidence) list.push(`sure to ${Math.round(100 * answer.confidence)} %`);
  if (answer.dropped_turns) list.push(`${answer.dropped_turns} turns forgotten`);
  if (answer.note) list.push(answer.note);
  return list;
}

function save() {
  const text = JSON.stringify({ node: state.node, model: state.model, answers: history }, null, 2);
  const link = make('a', { href: URL.createObjectURL(new Blob([text], { type: 'application/json' })) });
  link.download = 'answers.json';
  link.click();
  URL.revokeObjectURL(link.href);
}

// --- watches ---

const MOST_WATCHES = 2; // each holds one of the few connections
const watches = new Set();

async function watch() {
  if (!$('ask').reportValidity()) return;
  if (watches.size >= MOST_WATCHES) {
    tell(`A page can have ${MOST_WATCHES} watches: stop one of them`);
    return;
  }
  const stop = new AbortController();
  const said = make('strong', { textContent: '…' });
  const button = make('button', { type: 'button', textContent: 'Stop' });
  const row = make('li', {}, make('span', {}, `${$('question').value} `, said), button);
  button.onclick = () => stop.abort();
  $('watches').append(row);
  watches.add(row);
  $('watches-section').hidden = false;
  const wish = { period: Number($('period').value), agreeing: Number($('agreeing').value), until: $('until').value };
  try {
    const body = { question: $('question').value, fields: readFields(), wish };
    for await (const { look: seen, error } of events(await post('api/watch', body, stop.signal))) {
      if (error) throw new Error(error);
      said.textContent = seen.error_msg || saidIn(seen);
      said.className = seen.error_msg ? 'warn' : '';
      if (seen.success) said.textContent += ' (ended)';
    }
  } catch (error) {
    if (error.name === 'AbortError') row.remove();
    else said.textContent = error.message;
  }
  watches.delete(row);
  button.textContent = 'Dismiss';
  button.onclick = () => row.remove();
}

// --- the form ---

const IN_FORM = ['camera', 'conversation', 'unit'];

async function makeOptions() {
  for (const field of await (await fetch('api/fields')).json()) {
    if (field.answer_type) {
      const option = make('option', { value: field.name, textContent: field.name.replaceAll('_', ' ') });
      Object.assign(option.dataset, field);
      $('type').append(option);
    } else if (!IN_FORM.includes(field.name)) {
      const input = make('input', { name: field.name });
      if (field.kind === 'bool') input.type = 'checkbox';
      else if (['int', 'float'].includes(field.kind)) Object.assign(input, { type: 'number', min: 0, step: 'any' });
      const name = field.name.replaceAll('_', ' ');
      $('options').append(make('label', { title: field.about }, `${name} `, input));
    }
  }
}

$('type').onchange = () => {
  const { kind, about } = $('type').selectedOptions[0].dataset;
  $('value-label').hidden = !kind || kind === 'bool';
  $('value-label').firstElementChild.textContent = about;
  $('unit-label').hidden = $('type').value !== 'number';
};
$('ask').onsubmit = ask;
$('question').onkeydown = (event) => {
  if (event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    $('ask').requestSubmit();
  }
};
$('cancel').onclick = () => asking?.abort();
$('watch').onclick = watch;
$('export').onclick = save;
$('transitions').onclick = async ({ target }) => {
  if (!target.dataset.transition) return;
  target.disabled = true;
  try {
    await post('api/transition', { name: target.dataset.transition });
  } catch (error) {
    tell(error);
  }
};

follow();
makeOptions();
lookAround();
