/** The address of the core's compiled code, for `load({ wasm })`, where a bundler gives addresses of files. */
declare const url: string;
export default url;
