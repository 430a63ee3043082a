import type { Classification, Progress, Xception, XceptionError } from './index.js';

/**
 * `<xception-classifier weights="model.safetensors">`: a place for a photo, dropped, pasted or chosen, and its classes. Attributes: `weights`, a
 * URL; `src`, the URL of a photo to begin with; `top-k`; `backend`. What is between its tags is its text before there is a photo. Parts for
 * `::part()`: `place`, `photo`, `status`, `classes`, `class`, `score`.
 */
export class XceptionClassifierElement extends HTMLElement {
  /** The model, which loads with the first photo or call. */
  readonly model: Promise<Xception>;
  /** Shows a photo and its classes. */
  classify(image: Blob | string): Promise<Classification>;
  addEventListener<K extends keyof XceptionClassifierEvents>(
    type: K,
    listener: (event: XceptionClassifierEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}

export interface XceptionClassifierEvents {
  /** As weights arrive. */
  loading: CustomEvent<Progress>;
  /** The classes of a photo. */
  classified: CustomEvent<Classification>;
  /** What went wrong; its sentence is shown. */
  failed: CustomEvent<XceptionError>;
}

declare global {
  interface HTMLElementTagNameMap {
    'xception-classifier': XceptionClassifierElement;
  }
}
