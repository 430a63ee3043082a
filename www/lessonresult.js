// How learning went: its curve, which classes are taken for which, and the photos that are wrong.
import { spoken, svg } from './dom.js';

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [480, 180, 40, 24];

/** The learning curve: what is minimised, and the loss of what was held out, behind each round. */
export function curve(rounds) {
  if (rounds.length < 2) return [];
  const most = Math.max(...rounds.flatMap(({ loss, heldOut }) => [loss, heldOut]));
  const x = (round) => LEFT + (round / (rounds.length - 1)) * (WIDTH - LEFT - 8);
  const y = (loss) => 8 + (1 - loss / most) * (HEIGHT - BOTTOM - 8);
  const line = (name) => svg('polyline', { class: name, points: rounds.map((round, at) => `${x(at).toFixed(1)},${y(round[name]).toFixed(1)}`).join(' ') });
  const picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': 'Learning curve' });
  for (const loss of [0, most / 2, most]) {
    picture.append(svg('line', { class: 'grid', x1: LEFT, x2: WIDTH, y1: y(loss), y2: y(loss) }), svg('text', { x: 0, y: y(loss) + 4 }, loss.toFixed(2)));
  }
  picture.append(line('loss'), line('heldOut'));
  picture.append(svg('text', { x: LEFT, y: HEIGHT - 4 }, `${rounds.length} rounds`));
  const caption = document.createElement('p');
  caption.className = 'soft';
  const key = (name, text) => {
    const mark = Object.assign(document.createElement('span'), { className: `key ${name}` });
    return [mark, text];
  };
  caption.append(...key('loss', ' learned photos '), ...key('heldOut', ' held-out photos (mean loss)'));
  return [picture, caption];
}

/** The rows of a table of classes (rows) and what they were taken for (columns). */
export function confusion(labels, counts) {
  const cell = (name, text, scope) => {
    const made = Object.assign(document.createElement(name), { textContent: text });
    if (scope) made.scope = scope;
    return made;
  };
  const line = (...cells) => {
    const made = document.createElement('tr');
    made.append(...cells);
    return made;
  };
  const caption = cell('caption', 'Held-out photos of each class (rows), and what they were taken for (columns)');
  const rows = counts.map((row, at) => {
    const cells = row.map((count, other) => {
      const made = cell('td', String(count));
      if (count) made.className = at === other ? 'right' : 'not';
      return made;
    });
    return line(cell('th', labels[at], 'row'), ...cells);
  });
  return [caption, line(cell('td', ''), ...labels.map((label) => cell('th', label, 'col'))), ...rows];
}

/** A photo that is wrong. */
export function wrong(picture, name, { label, predicted }) {
  const item = document.createElement('li');
  const text = Object.assign(document.createElement('span'), { textContent: `${name}: ${spoken(label)}, taken for ${spoken(predicted)}` });
  item.append(picture, text);
  return item;
}
