// The runtimes, each as its own documentation says to use it. `load` resolves to a function from a bitmap to an answer:
// `logits` where the runtime computes what the file says, `probabilities` where it does more.

const NPM = '/bench/node_modules';
const ORT = `${NPM}/onnxruntime-web`;
const TF = `${NPM}/@tensorflow`;
const LITERT = `${NPM}/@litertjs/core`;

/** `{id, name, package, backend, threads?, dtype?, load(context)}`; a context has the photo's `size` and the `models`' URL. */
export function runtimes(threads = [2, 1]) {
  const wasm = (id, rest) => threads.map((n) => ({ id: `${id}-${n}`, backend: 'wasm', threads: n, ...rest }));
  return [
    ...['f32', 'f16'].map((dtype) => ({ id: `xception-${dtype}`, dtype, backend: 'webgpu', ...OURS })),
    ...wasm('xception-wasm', { dtype: 'f32', ...OURS }),
    { id: 'ort-webgpu', backend: 'webgpu', ...ONNX },
    { id: 'tfjs-webgpu', backend: 'webgpu', ...TFJS },
    { id: 'litert-webgpu', backend: 'webgpu', ...LITE },
    ...wasm('ort-wasm', ONNX),
    ...wasm('tfjs-wasm', TFJS),
    ...wasm('litert-wasm', LITE),
  ];
}

const OURS = {
  name: 'xception-webgpu',
  ours: true,
  package: '/pkg',
  async load({ models }) {
    const { Xception } = await import('/pkg/dist/index.js');
    const weights = `${models}/model.${this.dtype}.safetensors`;
    const backend = this.backend === 'wasm' ? 'cpu' : 'webgpu';
    const model = await Xception.load({ weights, backend, threads: this.threads, dtype: this.dtype, cache: false });
    return async (bitmap) => {
      const { predictions } = await model.classify(bitmap, { topK: model.info.classes });
      return { probabilities: predictions.sort((a, b) => a.index - b.index).map(({ score }) => score) };
    };
  },
};

const ONNX = {
  name: 'onnxruntime-web',
  package: ORT,
  async load({ size, models }) {
    const ort = await import(`${ORT}/dist/ort.${this.backend}.bundle.min.mjs`);
    if (this.threads) ort.env.wasm.numThreads = this.threads;
    const session = await ort.InferenceSession.create(`${models}/model.onnx`, { executionProviders: [this.backend] });
    const tensor = tensorOf(size);
    return async (bitmap) => {
      const input = new ort.Tensor('float32', tensor(bitmap), [1, size, size, 3]);
      const output = (await session.run({ [session.inputNames[0]]: input }))[session.outputNames[0]];
      return { logits: [...(await output.getData())] };
    };
  },
};

const TFJS = {
  name: 'TensorFlow.js',
  package: `${TF}/tfjs-core`,
  async load({ size, models }) {
    // It takes at most half of what it believes are cores.
    if (this.threads) Object.defineProperty(navigator, 'hardwareConcurrency', { value: 2 * this.threads });
    await script(`${TF}/tfjs-core/dist/tf-core.min.js`);
    await script(`${TF}/tfjs-converter/dist/tf-converter.min.js`);
    if (this.backend === 'webgpu') await script(`${TF}/tfjs-backend-cpu/dist/tf-backend-cpu.min.js`);
    await script(`${TF}/tfjs-backend-${this.backend}/dist/tf-backend-${this.backend}.min.js`);
    const { tf } = globalThis;
    if (this.threads) {
      tf.wasm.setThreadsCount(this.threads);
      tf.wasm.setWasmPaths(`${TF}/tfjs-backend-wasm/dist/`);
    }
    if (!(await tf.setBackend(this.backend))) throw new Error(`tf.setBackend('${this.backend}') is false`);
    if (this.threads) expectThreads(this.threads, tf.wasm.getThreadsCount());
    const model = await tf.loadGraphModel(`${models}/tfjs/model.json`);
    const tensor = tensorOf(size);
    return async (bitmap) => {
      const input = tf.tensor4d(tensor(bitmap), [1, size, size, 3]);
      const output = model.predict(input);
      const logits = [...(await output.data())];
      tf.dispose([input, output]);
      return { logits };
    };
  },
};

const LITE = {
  name: 'LiteRT.js',
  package: LITERT,
  async load({ size, models }) {
    const { Tensor, loadAndCompile, loadLiteRt } = await import('@litertjs/core');
    await loadLiteRt(`${LITERT}/wasm/`, { threads: this.threads > 1, jspi: this.backend === 'webgpu' && 'Suspending' in WebAssembly });
    const options = { accelerator: this.backend };
    if (this.threads) options.cpuOptions = { numThreads: this.threads };
    const model = await loadAndCompile(`${models}/model.tflite`, options);
    if (!model.isFullyAccelerated) throw new Error(`LiteRT runs a part of the model elsewhere than on ${this.backend}`);
    const tensor = tensorOf(size);
    return async (bitmap) => {
      const input = new Tensor(tensor(bitmap), [1, size, size, 3]);
      const [output] = await model.run(input);
      const onCpu = await output.moveTo('wasm');
      const logits = [...onCpu.toTypedArray()];
      input.delete();
      onCpu.delete();
      return { logits };
    };
  },
};

/** From a bitmap to the values between -1 and 1 that the models take, NHWC. */
function tensorOf(size) {
  const context = new OffscreenCanvas(size, size).getContext('2d', { willReadFrequently: true });
  return (bitmap) => {
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, size, size);
    const values = new Float32Array(size * size * 3);
    for (let from = 0, to = 0; from < data.length; from += 4) {
      values[to++] = data[from] / 127.5 - 1;
      values[to++] = data[from + 1] / 127.5 - 1;
      values[to++] = data[from + 2] / 127.5 - 1;
    }
    return values;
  };
}

function script(src) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement('script'), { src });
    element.onload = resolve;
    element.onerror = () => reject(new Error(`${src} did not load`));
    document.head.append(element);
  });
}

function expectThreads(asked, got) {
  if (asked !== got) throw new Error(`it takes ${got} threads where ${asked} were asked for`);
}
