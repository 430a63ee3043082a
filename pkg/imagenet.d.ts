/** WordNet number and name of ImageNet's 1000 classes, in their order, as Keras has them. */
declare const imagenet: ReadonlyArray<readonly [wnid: string, name: string]>;
export default imagenet;
