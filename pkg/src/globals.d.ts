// Text files that esbuild packs into the scripts.
declare module '*.wgsl' {
  const text: string;
  export default text;
}
declare module '*.txt' {
  const text: string;
  export default text;
}

// Declarations of WebGPU that TypeScript's own leave out.
declare const GPUBufferUsage: Record<'COPY_SRC' | 'COPY_DST' | 'MAP_READ' | 'QUERY_RESOLVE' | 'STORAGE', number>;
declare const GPUMapMode: Record<'READ', number>;
declare const GPUShaderStage: Record<'COMPUTE', number>;

// A proposal that browsers may have: one copy of a file for all sites.
interface CrossOriginStorage {
  requestFileHandle(hash: { algorithm: string; value: string }, options?: { create?: boolean; origins?: string }): Promise<FileSystemFileHandle>;
}
interface Navigator {
  readonly crossOriginStorage?: CrossOriginStorage;
}
interface WorkerNavigator {
  readonly crossOriginStorage?: CrossOriginStorage;
}

// React is the caller's.
declare module 'react' {
  export function useEffect(effect: () => undefined | (() => void), dependencies: unknown[]): void;
  export function useState<State>(initial: State): [State, (change: State | ((state: State) => State)) => void];
}
