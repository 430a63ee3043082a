/** The folder of a network's model for photos of `size` pixels, in `bench/models`. */
export const folderOf = (network, size) => (network === 'xception' ? `${size}` : `${network}-${size}`);
