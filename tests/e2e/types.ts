// Compiled, never run: how TypeScript users call the package.
import { Xception, XceptionError, type Classification, type Prediction } from '../../pkg/index.js';

export async function classify(photo: File | ImageBitmap | HTMLVideoElement, signal: AbortSignal): Promise<string> {
  const weights = new URL('https://example.org/model.safetensors');
  const model = await Xception.load({ weights, signal, filter: 'bicubic', onProgress: ({ loaded, total }) => loaded / (total ?? 1) });
  const [height, width]: readonly [number, number] = model.info.inputSize;
  try {
    const { predictions, timings }: Classification = await model.classify(photo, { topK: 5 });
    const best: Prediction = predictions[0];
    return `${best.label} ${best.score} ${timings.total} ${height}×${width}`;
  } catch (error) {
    if (error instanceof XceptionError && error.code === 'decode') return error.message;
    throw error;
  } finally {
    await model.dispose();
  }
}

// @ts-expect-error: weights are needed.
void Xception.load({});
// @ts-expect-error: models are made by load.
void new Xception();
