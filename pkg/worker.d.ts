/** The script of the module worker that `load({ worker })` takes: `new Worker(new URL('xception-webgpu/worker', import.meta.url))`. */
export {};
