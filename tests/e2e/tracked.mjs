// Counts what a page holds: a GPU's buffers and textures, wasm memories, and workers.

/**
 * For `page.evaluate`, before anything is loaded: from then on `held()` gives bytes of buffers and textures as `gpu`, those of wasm memories as
 * `wasm`, and the number of `workers`.
 */
export function track() {
  const made = new Map();
  const create = (type, bytesOf) => {
    const method = GPUDevice.prototype[`create${type}`];
    GPUDevice.prototype[`create${type}`] = function (descriptor) {
      const object = method.call(this, descriptor);
      made.set(object, { device: this, bytes: bytesOf(descriptor) });
      return object;
    };
    const { prototype } = globalThis[`GPU${type}`];
    const { destroy } = prototype;
    prototype.destroy = function () {
      made.delete(this);
      return destroy.call(this);
    };
  };
  create('Texture', ({ size: { width, height } }) => 4 * width * height);
  create('Buffer', ({ size }) => size);
  const { destroy } = GPUDevice.prototype;
  GPUDevice.prototype.destroy = function () {
    for (const [object, { device }] of made) if (device === this) made.delete(object);
    return destroy.call(this);
  };

  const memories = new Set();
  for (const name of ['instantiate', 'instantiateStreaming']) {
    const method = WebAssembly[name];
    WebAssembly[name] = async (source, imports) => {
      const result = await method.call(WebAssembly, source, imports);
      const { memory } = (result.instance ?? result).exports;
      memories.add(memory ?? Object.values(imports ?? {}).find(({ memory }) => memory)?.memory);
      return result;
    };
  }

  const workers = new Set();
  globalThis.Worker = class extends Worker {
    constructor(...options) {
      super(...options);
      workers.add(this);
    }
    terminate() {
      workers.delete(this);
      super.terminate();
    }
  };

  globalThis.held = () => ({
    gpu: made.values().reduce((sum, { bytes }) => sum + bytes, 0),
    wasm: [...memories].reduce((sum, memory) => sum + (memory?.buffer.byteLength ?? 0), 0),
    workers: workers.size,
  });
}
