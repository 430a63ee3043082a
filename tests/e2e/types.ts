// Compiled, never run: how TypeScript users call the package.
import type { XceptionClassifierElement } from '../../pkg/element.js';
import imagenet from '../../pkg/imagenet.js';
import type { Assumption, Classification, ClassMap, Example, Head, Prediction, Progress } from '../../pkg/index.js';
import { clearCache, listCached, Xception, XceptionError } from '../../pkg/index.js';

export async function classify(photo: File | ImageBitmap | HTMLVideoElement, signal: AbortSignal): Promise<string> {
  const weights = new URL('https://example.org/model.safetensors');
  const integrity = `sha256-${'A'.repeat(43)}=`;
  for (const { url, bytes, date } of await listCached()) {
    if (bytes > 1e9 || date.getFullYear() < 2026) await clearCache(url);
  }
  const onProgress = ({ loaded, total, fromCache }: Progress) => (fromCache ? 1 : loaded / (total ?? 1));
  await using model = await Xception.load({
    worker: true,
    weights,
    integrity,
    dtype: 'f16',
    tune: 'again',
    cache: false,
    signal,
    filter: 'bicubic',
    onProgress,
  });
  const [height, width]: readonly [number, number] = model.info.inputSize;
  const untold: string[] = model.info.assumed.map(({ name, value, option }: Assumption) => `${name} ${value} ${option ?? ''}`);
  try {
    const { predictions, timings }: Classification = await model.classify(photo, { topK: 5 });
    const best: Prediction = predictions[0];
    const embedding: Float32Array = await model.embed('photo.jpg', { roi: { x: 0, y: 0, width: 10, height: 10 }, fit: 'crop' });
    const { passes, clock } = await model.profile('photo.jpg', { runs: 3 });
    console.log(
      clock,
      untold,
      passes.map(({ label, ms, roofline }) => `${label} ${ms} ${roofline}`),
    );
    const { values, image, region }: ClassMap = await model.explain('photo.jpg', { classIndex: 3 });
    console.log(values.length, new ImageData(image.data, image.width), region.x, (await model.activations('photo.jpg', 'avg_pool')).shape[2]);
    model.addEventListener('devicelost', ({ detail }) => console.warn(detail.reason, embedding.length));
    const some = await model.classify({ data: new Uint8Array(3), width: 1, height: 1 }, { threshold: 0.5, allow: ['cup', 3], deny: [], signal });
    for await (const { time } of model.video(document.createElement('video'), { maxFps: 10 })) if (time > some.predictions.length) break;
    const { ok, reason }: { ok: boolean; reason: string } = await Xception.isSupported();
    if (!ok) throw new Error(reason);
    const batch: Prediction[][] = (await model.classifyBatch([photo], { batchSize: 4 })).predictions;
    const [wnid] = imagenet[best.index];
    return `${best.label} ${batch.length} ${wnid === best.wnid} ${best.score} ${timings.total} ${height}×${width} ${model.info.source.license}`;
  } catch (error) {
    if (error instanceof XceptionError && error.code === 'decode') return error.message;
    throw error;
  }
}

export async function teach(model: Xception, photo: File): Promise<string> {
  const examples: Example[] = [
    { label: 'one', image: photo },
    { label: 'other', features: new Float32Array(2048) },
  ];
  const head: Head = await model.learn(examples, { method: 'neighbours', onProgress: ({ phase, done }) => console.log(phase, done) });
  const [own, blob]: [Xception, Blob] = [await model.withHead(head), head.save()];
  const [low, high] = head.report?.heldOut.interval ?? [0, 1];
  const [features]: Float32Array[] = await model.embedBatch([photo], { batchSize: 2 });
  return `${own.info.labels} ${blob.size} ${(await own.save()).size} ${low} ${high} ${await head.predict(features)}`;
}

export function listen(element: XceptionClassifierElement): void {
  element.addEventListener('classified', ({ detail }) => console.log(detail.predictions[0].label));
  element.addEventListener('failed', ({ detail: { code } }) => console.log(code));
}

// @ts-expect-error: an example has an image or features.
const nothing: Example = { label: 'one' };
void nothing;
// @ts-expect-error: the GPU stores floats.
void Xception.load({ weights: '', dtype: 'i8' });
// @ts-expect-error: weights are needed.
void Xception.load({});
// @ts-expect-error: models are made by load.
void new Xception();
