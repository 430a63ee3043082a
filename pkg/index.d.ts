/// <reference lib="esnext.disposable" />

/** What has come so far. */
export interface Progress {
  /** `weights` while bytes arrive, `convert` while a foreign file is turned into the project's own format. */
  phase: 'weights' | 'convert';
  /** Bytes of the file so far. */
  loaded: number;
  /** Bytes in all, where the server or the file itself has told. */
  total?: number;
  /** Whether they come from this browser's cache, without asking the server. */
  fromCache: boolean;
}

/**
 * How pixels between pixels are made: the same bytes as Pillow's filter of that name (up to Pillow 12.1), or with `tf-` the same values
 * as `tf.image.resize`, which Keras's `image_dataset_from_directory` calls and which does not antialias.
 */
export type Filter = 'nearest' | 'box' | 'bilinear' | 'hamming' | 'bicubic' | 'lanczos' | 'tf-bilinear' | 'tf-nearest';

/**
 * How a photo of another aspect ratio is brought to the network's input: squashed whole, or its centre. The centre is that of Pillow's
 * `ImageOps.fit`; for timm's weights, whose `crop` is below 1, that of timm's transform; with a filter of TensorFlow's that of
 * `crop_to_aspect_ratio=True`.
 */
export type Fit = 'squash' | 'crop';

/** The most that is taken from one file. `Infinity` takes all that there is memory for. */
export interface Limits {
  /** Pixels of an image's file, which take 4 bytes each: 134,217,728. */
  pixels?: number;
  /** Bytes of an image's file: 268,435,456. */
  imageBytes?: number;
  /** Bytes of a weights file, of all files of a TensorFlow.js model together, or of a head: 1,073,741,824. */
  weightsBytes?: number;
  /** Arrays in a weights file of another program, with the groups that they lie in: 4,000. An Inception V3 has about 1,200. */
  tensors?: number;
}

export interface LoadOptions {
  /**
   * The weights: a URL, or a file in memory. This project's `.safetensors` streams to the GPU as it arrives; Keras's
   * `.keras`, `.weights.h5` and `.h5`, PyTorch's `.pth` and `.safetensors`, and TensorFlow.js's `model.json` are gathered and converted
   * first. The files that a `model.json` names lie beside it, or come with it in an array. What follows the backbone may be any
   * list of pooling, Flatten, dense layers, batch norms and activation functions.
   *
   * `hf:owner/name` is the weights in a repository of the Hugging Face hub, as its main branch has them now; `hf:owner/name@revision` in a
   * branch, a tag or a commit (only a commit never changes), and either with `/file` a file of several. The hub tells the file's
   * hash, which is checked, and the newest listing is kept beside the cached files for times without a network. A repository that is not
   * there, private or gated, a revision that is gone and a listing without weights reject with a sentence each.
   *
   * A download from a URL or a GET `Request` that breaks off goes on where it was, after 0.5, 1 and 2 seconds; the fourth
   * break of a file rejects with the code `fetch`, as do a server that refuses, a file that changes meanwhile, and a web
   * page in place of weights.
   */
  weights: string | URL | Request | Response | Blob | ArrayBuffer | ArrayBufferView | File[];
  /**
   * The SHA-256 of the file as it is at its source: `sha256-` and base64, as in HTML's `integrity`, or the 64 hex digits
   * that `sha256sum` prints. Another file rejects with the code `integrity`, anything else than a hash with `bad-argument`.
   */
  integrity?: string;
  /**
   * Whether the file is kept in the browser's Cache API, and taken from there without asking the server: true unless said
   * otherwise, for http(s) URLs and GET Requests. Only a file that loaded becomes an entry, so what is cached is whole and,
   * with `integrity`, verified. Where the file may change, give it a URL or an `integrity` of its own with each version.
   * Nothing is cached of a Request with the cache mode `no-store`, `no-cache` or `reload`, nor of a response with
   * `Cache-Control: no-store`. Where there is no room, or no permission, weights load without the cache.
   *
   * Where the browser has Cross-Origin Storage, a file whose hash is known (by `integrity`, or of the hub) is kept there instead, once for
   * all sites; `listCached` and `clearCache` do not know it.
   */
  cache?: boolean;
  /**
   * What computes: `webgpu`, `cpu`, or what suits this device. `auto`, the default, takes a GPU where there is one, and the CPU where
   * there is none or only a software adapter, which takes ten to a hundred times as long; `info` says which, and why. The CPU
   * computes by WebAssembly's vector instructions, from a module of its own (60 KB) that is fetched only then; it gives the same answers.
   */
  backend?: 'auto' | Backend;
  /**
   * How the GPU stores weights and activations; sums are always f32. `f16` takes half the memory, whatever the file is
   * stored as; `auto`, the default, is `f16`, and `f32` on software adapters, which would have to convert each value.
   * A weight beyond 65504, which f16 has not, rejects with the code `too-large`: such a model needs `f32`.
   *
   * On the CPU it is about weights alone, and `auto` leaves them as they are in the file, also where that is i8; `f32` takes the most
   * memory and 5 % less time.
   */
  dtype?: 'auto' | 'f32' | 'f16';
  /**
   * Another file whose Dense layers are the head, for "notop" weights or in place of the head they have: a Keras file, or
   * safetensors of PyTorch's linear layers with ReLU between. It is not cached; a wrong one rejects with `bad-argument`.
   */
  head?: LoadOptions['weights'];
  /**
   * A name for each class, instead of the file's own; a WordNet number may stand in front: `n02123045 tabby`. The published
   * ImageNet files have theirs without this, as has any Keras model with 1000 classes whose only Dense layer is called
   * `predictions`; an empty array removes them. Another number of labels than classes rejects with `bad-argument`.
   */
  labels?: string[];
  /** The resampling filter, instead of the file's own. */
  filter?: Filter;
  /** What happens to other aspect ratios, instead of what the file says. */
  fit?: Fit;
  /** The share of the largest possible centre that `crop` keeps with Pillow's filters, such as timm's `crop_pct`. */
  crop?: number;
  /**
   * The scale of pixel values, instead of the file's own, or of `tf` where that does not tell: −1 to 1 (`tf`); 0 to 1 less ImageNet's mean
   * by its deviation (`torch`); BGR from 0 to 255 less ImageNet's mean (`caffe`); 0 to 1 (`unit`); or 0 to 255 (`raw`).
   */
  pixels?: 'tf' | 'torch' | 'caffe' | 'unit' | 'raw';
  /** The mean of pixels from 0 to 1, for all channels or each, in place of `pixels`; with `std`. */
  mean?: number | Iterable<number>;
  /** The deviation of pixels from 0 to 1, for all channels or each; with `mean`. */
  std?: number | Iterable<number>;
  /**
   * The activation behind the last layer, instead of the file's own. Where that does not tell, softmax is assumed, and sigmoid of a single
   * output; a whole Keras model that ends in one linear output is a regression.
   */
  activation?: 'softmax' | 'sigmoid' | 'linear';
  /** Side, or height and width, of the network's input in pixels, for files of weights alone, which do not tell; else 299. */
  inputSize?: number | Iterable<number>;
  /**
   * Whether to try which shaders are fastest on this GPU: `auto`, the default, once for each GPU, driver and browser version, at
   * most 1.5 s a load until all were tried, remembered in the browser's Cache API and never on software adapters; `again` in any case;
   * or `off`.
   */
  tune?: 'auto' | 'again' | 'off';
  /**
   * Whether everything runs in a module worker of its own, so that the page's thread stays free. Unless said otherwise, what a GPU
   * computes does not, and what the CPU computes does, where the page's policy lets workers start. The API is the same; pixels are
   * handed over, not copied, unless a call may be made again (`retry`). A `Worker` of your own runs `xception-webgpu/worker`, where a
   * bundler must be told. It may have several models and messages of yours, and stays when they are disposed of. Where you terminate it
   * before, calls reject with the code `internal`, on https and localhost; elsewhere browsers do not tell, and calls under way stay
   * unanswered. A worker that says nothing for 60 s rejects the load.
   */
  worker?: boolean | Worker;
  /**
   * The core's compiled code, where it is not beside the package's script: its URL, bytes, or a `WebAssembly.Module`. The first
   * load decides for the page.
   */
  wasm?: string | URL | BufferSource | WebAssembly.Module;
  /** The same of what computes on the CPU: `cpu_bg.wasm`, or `cpu_relaxed_bg.wasm` for browsers with relaxed SIMD. */
  wasmCpu?: LoadOptions['wasm'];
  /**
   * The same of what computes with threads: `cpu_threads_bg.wasm`, or `cpu_threads_relaxed_bg.wasm` for browsers with relaxed SIMD.
   * Where `wasmCpu` is given and this is not, one thread computes.
   */
  wasmCpuThreads?: LoadOptions['wasm'];
  /**
   * How many threads compute on the CPU, at most 64: as many as there are cores, at most 4, where the page is cross-origin isolated and
   * the model in a worker; elsewhere always 1. They share one memory. `info.adapter` tells how many have come.
   */
  threads?: number;
  /**
   * Whether each inference is written into the browser's performance panel, as `performance.measure` entries: a track "Xception GPU"
   * with a row for each pass (where the GPU has timestamps), and a track "Xception" with decode, upload and read-back. The passes of a
   * photo are then computed one by one, which takes longer: false. On the CPU there are no passes to be seen.
   */
  profile?: boolean;
  /** The most that is taken from one file; what is beyond is refused with the code `too-large`. Those left out keep their defaults. */
  limits?: Limits;
  /**
   * Whether a call during which the GPU is lost is made again, once, on the restored model: true. Else it rejects with the code `device-lost`.
   * Images are kept until their call is answered; a worker with a GPU gets copies of bitmaps and pixels.
   */
  retry?: boolean;
  /** Whether the network runs once at the end of loading, so that the first photo takes no longer than others: true. */
  warmup?: boolean;
  /** Called as bytes arrive; what it throws ends the load. */
  onProgress?: (progress: Progress) => void;
  /** Ends the load in whatever phase it is; it then rejects with the code `aborted`, and nothing is cached. */
  signal?: AbortSignal;
}

/**
 * A class and its probability. A model that ends in the sigmoid of a single output has two classes, of which that is the second; in the
 * sigmoid of several, each class has a probability of its own, and they do not sum to 1.
 */
export interface Prediction {
  /** The class's number, from 0. */
  index: number;
  /** Its name; `class 7` where the model has no labels. */
  label: string;
  /** Its WordNet number, where it is a class of ImageNet. */
  wnid?: string;
  /** Its probability, 0 to 1. */
  score: number;
}

/**
 * Milliseconds of each step. `preprocess` is the upload; the resize itself runs on the GPU, with the network, and counts to `inference`. On
 * the CPU `preprocess` is the resize.
 */
export interface Timings {
  decode: number;
  preprocess: number;
  inference: number;
  total: number;
}

export interface Classification {
  /** The most likely classes, most likely first. */
  predictions: Prediction[];
  timings: Timings;
}

/** Which parts of an image speak for a class: its class activation map. */
export interface ClassMap {
  /** The class that is explained; of a model without classes the output, whose `score` is its value. */
  prediction: Prediction;
  /**
   * Whether the map is exact: what follows the backbone is linear piece by piece (pooling, dense layers, batch norms, ReLU). With other
   * activation functions it is the gradient at this image.
   */
  exact: boolean;
  /** Columns of the map. */
  width: number;
  /** Rows of the map. */
  height: number;
  /**
   * What each place contributes to the class's logit, row by row; less than 0 where it speaks against the class. Of an exact map the mean
   * is the logit, but for what biases add.
   */
  values: Float32Array;
  /** The part of the image (of `roi`, where that is given) that the map covers, in shares of its width and height. */
  region: { x: number; y: number; width: number; height: number };
  /**
   * The map in colours, 16 times as large, to be laid over that part: the more a place speaks for the class, the brighter and
   * the more opaque. `new ImageData(image.data, image.width)` makes a picture of it.
   */
  image: Pixels & { readonly data: Uint8ClampedArray<ArrayBuffer> };
  timings: Timings;
}

/** One pass of the network, timed by itself. */
export interface PassProfile {
  /** The layer, with `.depthwise` or `.pointwise` behind it for its halves. */
  label: string;
  /** Its block, such as `block5`; `head` behind the last one. */
  block: string;
  flow: 'entry' | 'middle' | 'exit';
  /** The kernel, which is also the name of its shader's file. */
  kernel: string;
  /** What it writes: height, width and channels, or a number of values. */
  shape: number[];
  dtype: 'f32' | 'f16';
  /** Workgroups in x, y and z. */
  grid: [number, number, number];
  /** The shortest time, in milliseconds. */
  minMs: number;
  /** The median time, in milliseconds. */
  ms: number;
  /** Its share of all passes' time. */
  share: number;
  /** 10⁹ floating point operations a second; a multiply-accumulate is two. */
  gflops: number;
  /** 10⁹ bytes of weights and activations a second, each counted once. */
  gbps: number;
  /** Floating point operations for each byte. */
  intensity: number;
  /** The share of what the GPU can do at that intensity. */
  roofline: number;
}

/** Where the time of a photo goes. */
export interface Profile {
  adapter: string;
  dtype: 'f32' | 'f16';
  /** By what passes were timed: the GPU's `timestamps`, or the browser's `clock` where these are missing or wrong. */
  clock: 'timestamps' | 'clock';
  runs: number;
  /** The most repeats of a pass that the clock's steps made necessary: they are below 2 % of what is measured. */
  repeats: number;
  /** Milliseconds of a photo on the GPU as it normally runs, in one compute pass, until its answer is read. */
  wholeMs: number;
  /** What the GPU can do, measured: floating point operations and bytes a second. */
  ceiling: { flops: number; bytes: number };
  /** Number, milliseconds and share of the passes of each flow, block and kernel. */
  totals: Record<'flow' | 'block' | 'kernel', Record<string, { passes: number; ms: number; share: number }>>;
  passes: PassProfile[];
}

/** What computes. */
export type Backend = 'webgpu' | 'cpu';

/** Something that a weights file does not tell, and what is assumed instead. */
export interface Assumption {
  /** What it is about, in words: `input size`. */
  readonly name: string;
  /** What is assumed, in words: `299×299`. */
  readonly value: string;
  /** The option of `load` that says it; none where only another file can: a whole Keras model (`.keras`, `.h5`), which tells it. */
  readonly option?: 'inputSize' | 'pixels' | 'filter' | 'fit' | 'activation' | 'labels';
}

/** A backbone by its name. */
export type Network =
  | 'xception'
  | 'xception_without_residuals'
  | 'xception_relu_between'
  | 'xception_elu_between'
  | 'legacy_xception'
  | 'xception41'
  | 'xception65'
  | 'xception71'
  | 'xception41p'
  | 'xception65p'
  | 'inception_v3'
  | 'torch_inception_v3';

/** What a loaded model is. */
export interface ModelInfo {
  /** What computes it. */
  readonly backend: Backend;
  /** Why that is not a GPU; empty where it is one, or was asked for. */
  readonly reason: string;
  /** The backbone: Keras's or PyTorch's Inception V3, Keras's Xception or one of its paper's ablations, or timm's networks by their names. */
  readonly network: Network;
  /** Height and width of the network's input, in pixels. */
  readonly inputSize: readonly [number, number];
  /**
   * What the model gives: probabilities of classes of which one is right (`softmax`), or of which each is right or wrong by itself
   * (`sigmoid`), numbers (`linear`), or `features` where it has no head.
   */
  readonly output: 'softmax' | 'sigmoid' | 'linear' | 'features';
  /** How many values `predict` gives. */
  readonly outputs: number;
  /** The number of classes: 0 where the outputs are numbers or features, 2 of a single sigmoid. */
  readonly classes: number;
  /** Height, width and channels of the backbone's last activation. */
  readonly features: readonly [number, number, number];
  /** A name for each class, or output without classes; or empty. */
  readonly labels: readonly string[];
  readonly preprocessing: {
    readonly filter: Filter;
    readonly fit: Fit;
    /** The share of the largest possible centre that `crop` keeps with Pillow's filters: timm's `crop_pct`. */
    readonly crop: number;
    /** What each channel of a pixel's levels, 0 to 255, is multiplied by. */
    readonly scale: readonly [number, number, number];
    /** What is added to each channel then. */
    readonly offset: readonly [number, number, number];
    /** Whether the channels are blue, green and red. */
    readonly bgr: boolean;
  };
  /** What kind of file the weights came from, that file's SHA-256 in hex digits, and a note on its licence. */
  readonly source: { readonly kind: string; readonly sha256: string; readonly license: string };
  /**
   * What neither that file nor the options of `load` tell: if one of these is not as the model was trained, its answers are wrong. A file
   * of this project lists what its original did not tell, but for those that a version before this list made.
   */
  readonly assumed: readonly Assumption[];
  /** The layers that `activations` knows, in their order, and the height, width and channels of their results. */
  readonly layers: ReadonlyArray<{ readonly name: string; readonly shape: readonly [number, number, number] }>;
  /** How the GPU stores weights and activations, or the CPU weights. */
  readonly dtype: 'f32' | 'f16' | 'i8';
  /** Dispatches a photo takes on the GPU, without the two of preprocessing. */
  readonly dispatches: number;
  readonly pipelines: number;
  /** Memory of weights and activations, the GPU's or a thread's of the CPU, in bytes. */
  readonly bytes: number;
  /** Whether its shaders were chosen by trying. */
  readonly tuned: boolean;
  /** How many images can be computed at once. */
  readonly maxBatch: number;
  /** What the GPU calls itself, which browsers may not tell; or the CPU's instructions and threads. */
  readonly adapter: string;
}

/** Pixels row by row, 8 bits each: RGBA, or RGB. `ImageData` is that too. */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/**
 * Anything with pixels: an encoded file (`Blob`, `File` or its bytes), its URL, pixels, or what the browser can make an
 * `ImageBitmap` of: an image, video or canvas element, `OffscreenCanvas`, `ImageBitmap`, `VideoFrame`. It is read as the call is made, and
 * may change afterwards; those of a batch are read by and by.
 */
export type ImageInput = Blob | ArrayBuffer | ArrayBufferView | string | URL | Pixels | ImageBitmapSource;

/** How one image is looked at. */
export interface ViewOptions {
  /** The part of the image that counts, in pixels of the upright image: all of it. */
  roi?: { x: number; y: number; width: number; height: number };
  /** What happens to other aspect ratios, instead of what the model says. */
  fit?: Fit;
  /** Ends the call at once: it rejects with the code `aborted`. */
  signal?: AbortSignal;
}

export interface ClassifyOptions extends ViewOptions {
  /** The most predictions: 5. */
  topK?: number;
  /** The least probability of a prediction: 0. */
  threshold?: number;
  /** The classes that may be predicted, by label or number: all. Probabilities stay as they are. */
  allow?: Iterable<string | number>;
  /** Classes that may not. */
  deny?: Iterable<string | number>;
}

/** Whether a model can run here. */
export interface Support {
  /** Whether it can: on a GPU or the CPU, in browsers of 2024 or later. */
  ok: boolean;
  /** What computes where nothing else is asked for. */
  backend: Backend;
  /** Why that is not a GPU, and what to do; empty where it is one. */
  reason: string;
  /** What the GPU calls itself; browsers may not tell. */
  adapter: string;
  /** Whether shaders can compute with f16. */
  f16: boolean;
  /** Whether passes can be timed. */
  timestamps: boolean;
}

export type ErrorCode =
  | 'no-webgpu'
  | 'no-adapter'
  /** The GPU was lost during a call that is not made again (`retry`), or the model could not be loaded again. */
  | 'device-lost'
  /** The GPU's API refused a call: please report it. */
  | 'gpu'
  /** The network's output is NaN: the weights are damaged, or too large for f32. */
  | 'bad-output'
  | 'out-of-memory'
  | 'fetch'
  | 'integrity'
  | 'cors'
  | 'aborted'
  | 'unsupported-format'
  | 'bad-weights'
  | 'bad-argument'
  | 'decode'
  | 'too-large'
  | 'disposed'
  | 'internal';

/** Every promise here rejects with this. */
export class XceptionError extends Error {
  /** For programs; the message is a sentence for people. */
  readonly code: ErrorCode;
}

export interface XceptionEventMap {
  /**
   * The GPU is gone: the browser or the driver took it, or `destroy()` ended the device. The model is being loaded again; calls wait for
   * that.
   */
  devicelost: CustomEvent<{ reason: string }>;
  /**
   * The model is there again, loaded from the browser's `cache`, from the `network`, or from `memory`: a Blob, File or bytes that were the
   * weights, which are kept for that as long as the model (a File on a disk takes no memory). `backend` is `cpu` where the GPU was lost three
   * times within a minute; `info` tells then why. Where loading fails, as a Response's, which can be read only once, calls reject with the code
   * `device-lost`.
   */
  restored: CustomEvent<{ backend: 'webgpu' | 'cpu'; from: 'cache' | 'network' | 'memory' }>;
}

/** An image and the class that it shows; or its features, as `embed` gave them. */
export type Example = { label: string; image: ImageInput } | { label: string; features: ArrayLike<number> };

export interface LearnOptions {
  /**
   * `regression`, the default, learns a layer on the features, as scikit-learn's `LogisticRegression`. `neighbours` keeps the examples: those
   * nearest to a photo vote, by the cosine of the angle between features, which may do better with less than about five of a class.
   */
  method?: 'regression' | 'neighbours';
  /** Whether an image shows one of the classes (`softmax`, the default), or each is right or wrong by itself (`sigmoid`). */
  output?: 'softmax' | 'sigmoid';
  /** The penalty on the squares of the layer's weights, scikit-learn's `1 / C`: 1. */
  penalty?: number;
  /** Whether rare classes count as much as frequent ones: true. */
  balanced?: boolean;
  /** Whether mirror images are learned too: false. Of examples given as features there are none. */
  flip?: boolean;
  /** The seed of the choice of what is held out: 1. */
  seed?: number;
  /** How many neighbours vote: as many as the smallest class has examples, at most 5. */
  neighbours?: number;
  /** How many images go through the network at a time: 8. */
  batchSize?: number;
  /** Called as features are made of images, `total` in all, and then as rounds of learning are done. What it throws ends the call. */
  onProgress?: (progress: { phase: 'features'; done: number; total: number } | { phase: 'learn'; done: number }) => void;
  /** Ends the call: it rejects with the code `aborted`. */
  signal?: AbortSignal;
}

/** How learning went. */
export interface LearnReport {
  /** The number of examples of each class. */
  readonly photos: readonly number[];
  /** Examples that were left out, by their place among those given, and why: no image, or the same one again. */
  readonly leftOut: ReadonlyArray<{ readonly index: number; readonly reason: string }>;
  /** The rounds that it took; 0 of neighbours. */
  readonly rounds: number;
  /** What is minimised, and the mean loss of what was held out, behind each round of learning without that; empty of neighbours. */
  readonly curve: ReadonlyArray<{ readonly loss: number; readonly heldOut: number }>;
  /**
   * How many of the examples that were held out, a fifth of each class, are classified rightly; the head itself is then learned from all. Of
   * neighbours it is each example, by the others.
   */
  readonly heldOut: {
    readonly photos: number;
    readonly right: number;
    /** The interval in which the share of right ones lies by 95 % (Wilson). */
    readonly interval: readonly [number, number];
    /** How many examples of each class (rows) were taken for which (columns). */
    readonly confusion: ReadonlyArray<readonly number[]>;
    /** Those that are wrong, by their place among the examples given. */
    readonly wrong: ReadonlyArray<{ readonly index: number; readonly label: string; readonly predicted: string }>;
  };
}

/** Learned classes, for the model that learned them. */
export interface Head {
  /** The classes in their order, which is that of their code points. */
  readonly labels: readonly string[];
  readonly output: 'softmax' | 'sigmoid';
  readonly method: 'regression' | 'neighbours';
  /** How learning went; nothing of a head from a file. */
  readonly report?: LearnReport;
  /** The probability of each class, of features as `embed` gives them. Of neighbours it is their share of the votes. */
  predict(features: Float32Array): Promise<Float32Array>;
  /** A file for `withHead`, and for `head` of `load`, which takes none of neighbours: safetensors, 8 KB for each class. */
  save(): Blob;
}

/** A model on the GPU or the CPU. Calls queue up and are answered in order; one that fails does not harm the next. */
export class Xception extends EventTarget {
  private constructor();
  /** Whether a model can run here, and on what. Nothing is loaded. */
  static isSupported(): Promise<Support>;
  /** Loads weights. */
  static load(options: LoadOptions): Promise<Xception>;
  /** What the model is. */
  readonly info: ModelInfo;
  /**
   * Names the `topK` (5) most likely classes of an image. EXIF orientation is honoured; transparency is composited on
   * white. Of a model without classes it rejects with `bad-argument`: `predict` has its output.
   */
  classify(image: ImageInput, options?: ClassifyOptions): Promise<Classification>;
  /**
   * Names the classes of many images, which go through the network `batchSize` (8) at a time, as far as the GPU has room:
   * more of them per second, and more memory. The answers are in the order of the images; one that is no image rejects all.
   */
  classifyBatch(images: Iterable<ImageInput>, options?: ClassifyOptions & { batchSize?: number }): Promise<{ predictions: Prediction[][]; timings: Timings }>;
  /**
   * The model's own output for an image, `info.outputs` values, as its framework gives it: the probability of each class, logits where
   * the model ends without an activation, numbers, or features.
   */
  predict(image: ImageInput, options?: ViewOptions): Promise<Float32Array>;
  /**
   * The features that the network makes of an image, before the dense layers: the 2048 means, or what else the model pools or flattens.
   * Images of the same kind are near one another (by the cosine of the angle between them, say), whatever the classes are.
   */
  embed(image: ImageInput, options?: ViewOptions): Promise<Float32Array>;
  /** The features of many images, in their order, which go through the network together as those of `classifyBatch`. */
  embedBatch(images: Iterable<ImageInput>, options?: ViewOptions & { batchSize?: number }): Promise<Float32Array[]>;
  /**
   * Why an image gets a class, `classIndex`, or by default the most likely one (of a model without classes the first output): what each
   * place contributes to its logit. With one dense layer behind the mean that is the class activation map; behind other heads it is
   * exact where they are linear piece by piece, and a gradient elsewhere, which `exact` tells.
   */
  explain(image: ImageInput, options?: ViewOptions & { classIndex?: number }): Promise<ClassMap>;
  /**
   * Times each pass of the network on an image, `runs` (5) times; other calls wait. Nothing of it costs other photos anything. On the CPU
   * it rejects with `bad-argument`.
   */
  profile(image: ImageInput, options?: ViewOptions & { runs?: number }): Promise<Profile>;
  /**
   * What a layer of `info.layers` makes of an image: `[height, width, channels]`, row by row, with what is added to it and the
   * activation function that follows, if any. A block's last layer has the block's result.
   */
  activations(
    image: ImageInput,
    layer: string,
    options?: ViewOptions,
  ): Promise<{ shape: [height: number, width: number, channels: number]; values: Float32Array }>;
  /**
   * Classifies a playing video, or a camera's track: always its latest frame, as fast as that goes or at most `maxFps` times a
   * second. It ends with the video, the track, or `signal`; `time` is the video's, in seconds.
   */
  video(source: HTMLVideoElement | MediaStreamTrack, options?: ClassifyOptions & { maxFps?: number }): AsyncIterableIterator<Classification & { time: number }>;
  /**
   * Learns classes from examples on the features of this model, which stays as it is. Images that cannot be read are left out, and listed in
   * the head's `report`. Fewer than two classes, a class without images, and an image of two classes reject with `bad-argument`. The same
   * features, in the same order, give the same head, bit for bit, as does `xception learn`. What learns is fetched with the first call.
   */
  learn(examples: Iterable<Example>, options?: LearnOptions): Promise<Head>;
  /**
   * This model with a learned head, or its file, in place of its own. Both share the weights, and this one must stay; disposing of the other
   * frees nothing. A head that was learned on another model rejects with `bad-argument`. `timings` have no time for the head.
   */
  withHead(head: Head | LoadOptions['weights']): Promise<Xception>;
  /**
   * The model, with its head and whatever options of `load` changed, as a file of this project's format. Its weights are read again, from
   * where they were; a Response's rejects.
   */
  save(options?: { signal?: AbortSignal }): Promise<Blob>;
  /** Frees the GPU's memory, after the photos that wait. Later calls reject with the code `disposed`. */
  dispose(): Promise<void>;
  /** `using model = …` disposes of it at the end of the block. */
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
  addEventListener<K extends keyof XceptionEventMap>(
    type: K,
    listener: (event: XceptionEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}

/** A file of weights in the browser's cache. */
export interface CachedFile {
  /** The URL it was fetched from, without its fragment. */
  url: string;
  /** Its length. */
  bytes: number;
  /** When it was fetched. */
  date: Date;
}

/** The files that `Xception.load` has cached; none where the browser has no Cache API, or forbids it to this page. */
export function listCached(): Promise<CachedFile[]>;

/** Removes the cached file of a URL, or all of them and what `tune` remembers. False where there was no file. */
export function clearCache(url?: string | URL): Promise<boolean>;
