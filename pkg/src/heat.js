/** Colour map from low to high, in equal steps: matplotlib's inferno without its black end. */
const COLOURS = [
  [66, 10, 104],
  [120, 28, 109],
  [165, 44, 96],
  [207, 68, 70],
  [237, 105, 37],
  [251, 155, 6],
  [247, 209, 61],
  [252, 255, 164],
];

/** Pixels of the coloured image for each of the map's. */
const SCALE = 16;

/** Colours of a class activation map: opacity grows with the value, and negative values are transparent. */
export function heat({ values, width, height }) {
  const most = Math.max(...values, Number.MIN_VALUE);
  const size = { width: width * SCALE, height: height * SCALE };
  const data = new Uint8ClampedArray(4 * size.width * size.height);
  const columns = Array.from({ length: size.width }, (_, x) => between(x, width));
  for (let y = 0; y < size.height; y++) {
    const [above, below, down] = between(y, height);
    const row = (line, [left, right, along]) => values[line * width + left] * (1 - along) + values[line * width + right] * along;
    for (let x = 0; x < size.width; x++) {
      const value = row(above, columns[x]) * (1 - down) + row(below, columns[x]) * down;
      const strength = Math.max(0, value / most);
      const step = Math.min(strength * (COLOURS.length - 1), COLOURS.length - 1.001);
      const [from, to, share] = [COLOURS[Math.floor(step)], COLOURS[Math.floor(step) + 1], step % 1];
      const colour = from.map((low, channel) => low + (to[channel] - low) * share);
      data.set([...colour, 255 * strength], 4 * (y * size.width + x));
    }
  }
  return { data, ...size };
}

/**
 * The two pixels of a row of `length` that a pixel of the larger image lies between, and how far along.
 * @returns {[number, number, number]}
 */
function between(position, length) {
  const at = Math.min(Math.max((position + 0.5) / SCALE - 0.5, 0), length - 1);
  const before = Math.floor(at);
  return [before, Math.min(before + 1, length - 1), at - before];
}
