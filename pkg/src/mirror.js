/** The mirror image of pixels or of a bitmap, which is its taker's own. */
export function mirror(photo) {
  const { width, height, data } = photo;
  if (data) {
    const pixels = new Uint32Array(data.slice().buffer);
    for (let row = 0; row < height; row++) pixels.subarray(row * width, (row + 1) * width).reverse();
    return { data: new Uint8Array(pixels.buffer), width, height };
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  context.scale(-1, 1);
  context.drawImage(photo, -width, 0);
  return canvas.transferToImageBitmap();
}
