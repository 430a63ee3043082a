import type { ClassifyOptions, ImageInput, LoadOptions, Prediction, Progress, Timings, Xception, XceptionError } from './index.js';

/** Options of `Xception.load`. Equal ones share a model; it is disposed of a second after the last component that uses it. */
export type ModelOptions = Omit<LoadOptions, 'onProgress' | 'signal'>;

/** A model, once it is loaded; nothing is loaded without options. On a server and in the first render nothing is there yet. */
export function useXception(options: ModelOptions | undefined): { model?: Xception; error?: XceptionError; progress?: Progress };

/** A model; the component suspends until it is loaded, and throws where that fails. Not for servers: there nothing is loaded. */
export function useSuspendedXception(options: ModelOptions): Xception;

/** The classes of an image, which should be the same object from render to render. Another image, model or option ends what is under way. */
export function useClassification(
  model: Xception | undefined,
  image: ImageInput | undefined,
  options?: Omit<ClassifyOptions, 'signal'>,
): { predictions?: Prediction[]; timings?: Timings; error?: XceptionError; isPending: boolean };
