/** What has come so far. */
export interface Progress {
  /** `weights` while bytes arrive, `convert` while a foreign file is turned into the project's own format. */
  phase: 'weights' | 'convert';
  /** Bytes so far. */
  loaded: number;
  /** Bytes in all, where they are known. */
  total?: number;
}

/** How pixels between pixels are made; each equals PIL's filter of that name. */
export type Filter = 'nearest' | 'bilinear' | 'bicubic';

/** How a photo of another aspect ratio is brought to the network's input: squashed whole, or its centre. */
export type Fit = 'squash' | 'crop';

export interface LoadOptions {
  /**
   * The weights: a URL, or a file in memory. This project's `.safetensors` streams to the GPU as it arrives; Keras's
   * `.keras`, `.weights.h5` and `.h5` and timm's `.safetensors` are read whole and converted first.
   */
  weights: string | URL | Request | Response | Blob | ArrayBuffer | ArrayBufferView;
  /** A name for each class, instead of the file's own. */
  labels?: string[];
  /** The resampling filter, instead of the file's own. */
  filter?: Filter;
  /** What happens to other aspect ratios, instead of what the file says. */
  fit?: Fit;
  /** Side of the network's input in pixels, for files of weights alone, which do not tell; else 299. */
  inputSize?: number;
  /** Called as bytes arrive. */
  onProgress?: (progress: Progress) => void;
  /** Ends the download; `load` then rejects with the code `aborted`. */
  signal?: AbortSignal;
}

/** A class and its probability. */
export interface Prediction {
  /** The class's number, from 0. */
  index: number;
  /** Its name; `class 7` where the model has no labels. */
  label: string;
  /** Its probability, 0 to 1. */
  score: number;
}

/** Milliseconds of each step. `preprocess` is the upload; the resize itself runs on the GPU, with the network. */
export interface Timings {
  decode: number;
  preprocess: number;
  gpu: number;
  total: number;
}

export interface Classification {
  /** The most likely classes, most likely first. */
  predictions: Prediction[];
  timings: Timings;
}

/** What a loaded model is. */
export interface ModelInfo {
  /** Height and width of the network's input, in pixels. */
  readonly inputSize: readonly [number, number];
  readonly classes: number;
  /** A name for each class, or empty. */
  readonly labels: readonly string[];
  readonly preprocessing: {
    readonly filter: Filter;
    readonly fit: Fit;
    /** The share of the largest possible centre that `crop` keeps. */
    readonly crop: number;
    readonly scale: number;
    readonly offset: number;
  };
  /** What kind of file the weights came from. */
  readonly source: string;
  /** Dispatches a photo takes, without the two of preprocessing. */
  readonly dispatches: number;
  readonly pipelines: number;
  /** GPU memory of weights and activations, in bytes. */
  readonly gpuBytes: number;
  /** What the GPU calls itself; browsers may not tell. */
  readonly adapter: string;
}

/** Anything with pixels: an encoded file, or what the browser can make an `ImageBitmap` of. */
export type ImageInput = Blob | ArrayBuffer | ArrayBufferView | ImageBitmapSource;

export type ErrorCode =
  | 'no-webgpu'
  | 'no-adapter'
  | 'device-lost'
  | 'out-of-memory'
  | 'fetch'
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

/** A model on the GPU. Calls queue up and are answered in order; one that fails does not harm the next. */
export class Xception {
  private constructor();
  /** Loads weights onto the GPU. */
  static load(options: LoadOptions): Promise<Xception>;
  /** What the model is. */
  readonly info: ModelInfo;
  /**
   * Names the `topK` (5) most likely classes of an image. EXIF orientation is honoured; transparency is composited on
   * white.
   */
  classify(image: ImageInput, options?: { topK?: number }): Promise<Classification>;
  /** Frees the GPU's memory, after the photos that wait. Later calls reject with the code `disposed`. */
  dispose(): Promise<void>;
}
