// Convolution over windows, its batch norm folded in.
//
//   output[y, x, FIRST + n] = r(bias[n] + Σ_{i, j, c} input[top + i, left + j, c] · weight[i, j, c, n])
//   top = y · STRIDE − WINDOW_TOP, left = x · STRIDE − WINDOW_LEFT; outside of the input are zeros, as PADDED tells
//   r = ReLU where RELU_AFTER, else identity
//
// input   [images][IN_HEIGHT][IN_WIDTH][⌈IN_CHANNELS/4⌉] vec4; IN_CHANNELS is 3 or a multiple of 4
// weight  [KERNEL_HEIGHT][KERNEL_WIDTH][IN_CHANNELS][OUT_CHANNELS/4] vec4
// bias    [OUT_CHANNELS/4] vec4
// output  [images][OUT_HEIGHT][OUT_WIDTH][ALL/4] vec4, OUT_CHANNELS from FIRST on
//
// One invocation computes 4 neighbouring pixels × 16 channels, by 4×4 matrices (four output × four input channels) times
// a pixel's four input channels; x: channels, y: columns, z: rows of all images.

// #include "storage.wgsl"
// #include "strides.wgsl"

override KERNEL_HEIGHT: u32;
override KERNEL_WIDTH: u32;
override WINDOW_TOP: u32;
override WINDOW_LEFT: u32;
override PADDED: bool;
override RELU_AFTER: bool;
override FIRST: u32;
override ALL: u32;

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

// The weights of four input channels (three and nothing in the first layer), from vec4 w on.
fn weights(w: u32) -> mat4x4f {
    let row = OUT_CHANNELS / 4;
    var last = vec4f();
    if IN_CHANNELS % 4 == 0 {
        last = unpack(weight[w + 3 * row]);
    }
    return mat4x4f(unpack(weight[w]), unpack(weight[w + row]), unpack(weight[w + 2 * row]), last);
}

// Adds a pixel's products of four input and 16 output channels, a column of the sums for each four of them.
fn multiply_add(
    sums: mat4x4f, at: u32, inside: bool, w0: mat4x4f, w1: mat4x4f, w2: mat4x4f, w3: mat4x4f,
) -> mat4x4f {
    var v = unpack(input[at]);
    if PADDED {
        v = select(vec4f(), v, inside);
    }
    return sums + mat4x4f(w0 * v, w1 * v, w2 * v, w3 * v);
}

fn activated(value: vec4f) -> Stored {
    return pack(select(value, max(value, vec4f()), RELU_AFTER));
}

// Stores 16 channels of one pixel, from vec4 at on; fewer where there are no more.
fn store(at: u32, n: u32, sums: mat4x4f) {
    let n_count = OUT_CHANNELS / 4;
    output[at] = activated(sums[0]);
    if n + 1 < n_count { output[at + 1] = activated(sums[1]); }
    if n + 2 < n_count { output[at + 2] = activated(sums[2]); }
    if n + 3 < n_count { output[at + 3] = activated(sums[3]); }
}

@compute @workgroup_size(4, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let n = id.x * 4;
    let n_count = OUT_CHANNELS / 4;
    let x = id.y * 4;
    if n >= n_count || x >= OUT_WIDTH {
        return;
    }
    let n1 = min(n + 1, n_count - 1);
    let n2 = min(n + 2, n_count - 1);
    let n3 = min(n + 3, n_count - 1);
    let in_count = (IN_CHANNELS + 3) / 4;
    // The last pixels of a ragged row are computed from its last column and not stored.
    let last = OUT_WIDTH - 1 - x;
    let columns = (x + min(vec4u(0, 1, 2, 3), vec4u(last))) * STRIDE;
    let image = id.z / OUT_HEIGHT * IN_HEIGHT;
    let top = id.z % OUT_HEIGHT * STRIDE;
    var sums0 = mat4x4f(bias[n], bias[n1], bias[n2], bias[n3]);
    var sums1 = sums0;
    var sums2 = sums0;
    var sums3 = sums0;
    for (var tap = 0u; tap < KERNEL_HEIGHT * KERNEL_WIDTH; tap++) {
        // Row or column −1 wraps round to a huge number; what is outside is read inside, and taken as zero.
        let y = top + tap / KERNEL_WIDTH - WINDOW_TOP;
        let xs = columns + tap % KERNEL_WIDTH - WINDOW_LEFT;
        let inside = (xs < vec4u(IN_WIDTH)) & vec4<bool>(y < IN_HEIGHT);
        let pixels = ((image + min(y, IN_HEIGHT - 1)) * IN_WIDTH + min(xs, vec4u(IN_WIDTH - 1))) * in_count;
        for (var c = 0u; c < in_count; c++) {
            let w = (tap * IN_CHANNELS + c * 4) * n_count;
            let w0 = weights(w + n);
            let w1 = weights(w + n1);
            let w2 = weights(w + n2);
            let w3 = weights(w + n3);
            sums0 = multiply_add(sums0, pixels.x + c, inside.x, w0, w1, w2, w3);
            sums1 = multiply_add(sums1, pixels.y + c, inside.y, w0, w1, w2, w3);
            sums2 = multiply_add(sums2, pixels.z + c, inside.z, w0, w1, w2, w3);
            sums3 = multiply_add(sums3, pixels.w + c, inside.w, w0, w1, w2, w3);
        }
    }
    let pixel = ALL / 4;
    let out = (id.z * OUT_WIDTH + x) * pixel + FIRST / 4 + n;
    store(out, n, sums0);
    if last >= 1 { store(out + pixel, n, sums1); }
    if last >= 2 { store(out + 2 * pixel, n, sums2); }
    if last >= 3 { store(out + 3 * pixel, n, sums3); }
}
