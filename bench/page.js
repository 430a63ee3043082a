// The benchmark's page: a button, the table as it grows, and the results to copy. The address may say
// ?network=xception&size=299&runs=5&seconds=30&threads=2,1&only=xception,ort and, to start by itself, &auto
import { compare } from './compare.js';
import { COLUMNS, cells } from './table.js';

const element = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const list = (name) => query.get(name)?.split(',').filter(Boolean);

const options = {
  network: query.get('network') ?? 'xception',
  size: Number(query.get('size') ?? 299),
  runs: Number(query.get('runs') ?? 5),
  seconds: Number(query.get('seconds') ?? 30),
  threads: list('threads')?.map(Number),
  only: list('only'),
};

function row(kind, words) {
  const tr = document.createElement('tr');
  tr.append(...words.map((textContent) => Object.assign(document.createElement(kind), { textContent })));
  return tr;
}

let results;

const view = {
  say(message) {
    element('status').textContent = message;
    console.info(message);
  },
  show(now) {
    results = now;
    document.querySelector('thead').replaceChildren(
      row(
        'th',
        COLUMNS.map(([title]) => title),
      ),
    );
    document.querySelector('tbody').replaceChildren(...cells(now.rows).map((words) => row('td', words)));
  },
};

async function start() {
  element('run').disabled = true;
  document.querySelectorAll('.runtime').forEach((frame) => frame.remove());
  try {
    results = await compare(options, view);
    element('copy').disabled = false;
    view.say('Done.');
    return results;
  } catch (error) {
    view.say(`The comparison failed: ${error.message}`);
    throw error;
  } finally {
    element('run').disabled = false;
  }
}

element('run').addEventListener('click', () => start());
element('copy').addEventListener('click', async () => {
  await navigator.clipboard.writeText(JSON.stringify(results, null, 2));
  view.say('The results are in the clipboard.');
});
if (query.has('auto')) globalThis.finished = start();
