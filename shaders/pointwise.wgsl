// 1×1 convolution as a matrix product over pixels (m), input channels (k) and output channels (n), its batch
// norm folded in; in the epilogue the block's other path is added, pooled where that halves the resolution, and a
// ReLU applied.
//
//   output[m, n] = r(bias[n] + Σ_k input[source(m), k] · weight[k, n] + a[m, n])
//   a[m, n] = 0, or other[m, n] where ADD, or where POOL with (y, x) the row and column of m in the output
//             max_{i, j} other[2y + i − PAD_TOP, 2x + j − PAD_LEFT, n], 3×3
//
// input   [images][IN_HEIGHT][IN_WIDTH][IN_CHANNELS/4] vec4; source(m) takes every STRIDE-th row and column of it
// weight  [IN_CHANNELS][OUT_CHANNELS/4] vec4
// bias    [OUT_CHANNELS/4] vec4
// other   [PIXELS][OUT_CHANNELS/4] vec4, or where POOL [images][IN_HEIGHT][IN_WIDTH][OUT_CHANNELS/4]
// output  [PIXELS][OUT_CHANNELS/4] vec4, all images' pixels; r is ReLU where RELU_AFTER, else the identity
//
// One invocation computes a register tile of 8 pixels × 8 channels, straight from storage: each step over four k
// loads 16 vec4s for 256 multiply-accumulates. x: channels, so that neighbours share pixels; y: pixels. OUT_CHANNELS
// is a multiple of 8 in every layer; ragged pixels are computed from the last one and not stored. The sums are named
// because compilers keep indexed local arrays out of registers.

override IN_HEIGHT: u32;
override IN_WIDTH: u32;
override IN_CHANNELS: u32;
override OUT_HEIGHT: u32;
override OUT_WIDTH: u32;
override OUT_CHANNELS: u32;
override PIXELS: u32;
override STRIDE: u32;
override ADD: bool;
override POOL: bool;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override RELU_AFTER: bool;

// Four values as they are stored: f32 here; kernel.rs puts f16 in place of these three lines.
alias Stored = vec4f;
fn unpack(stored: Stored) -> vec4f { return stored; }
fn pack(value: vec4f) -> Stored { return value; }

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> other: array<Stored>;
@group(0) @binding(4) var<storage, read_write> output: array<Stored>;

// Where in input the channels of output pixel m begin.
fn source(m: u32) -> u32 {
    let pixel = min(m, PIXELS - 1);
    if STRIDE == 1 {
        return pixel * (IN_CHANNELS / 4);
    }
    let row = pixel / OUT_WIDTH;
    let in_row = row / OUT_HEIGHT * IN_HEIGHT + row % OUT_HEIGHT * STRIDE;
    return (in_row * IN_WIDTH + pixel % OUT_WIDTH * STRIDE) * (IN_CHANNELS / 4);
}

fn multiply_add(sum: vec4f, a: vec4f, w0: vec4f, w1: vec4f, w2: vec4f, w3: vec4f) -> vec4f {
    return sum + a.x * w0 + a.y * w1 + a.z * w2 + a.w * w3;
}

// What is added to pixel m at channel group n.
fn addend(m: u32, n: u32) -> vec4f {
    let n_count = OUT_CHANNELS / 4;
    if !POOL {
        return unpack(other[m * n_count + n]);
    }
    let row = m / OUT_WIDTH;
    let top = row / OUT_HEIGHT * IN_HEIGHT;
    // The window's centre always lies inside, for either padding; positions outside repeat it.
    let y = 2 * (row % OUT_HEIGHT) + 1 - PAD_TOP;
    let x = 2 * (m % OUT_WIDTH) + 1 - PAD_LEFT;
    let centre_y = min(y, IN_HEIGHT - 1);
    let centre_x = min(x, IN_WIDTH - 1);
    var largest = unpack(other[((top + centre_y) * IN_WIDTH + centre_x) * n_count + n]);
    for (var i = 0u; i < 3; i++) {
        for (var j = 0u; j < 3; j++) {
            if y + i - 1 < IN_HEIGHT && x + j - 1 < IN_WIDTH {
                largest = max(largest, unpack(other[((top + y + i - 1) * IN_WIDTH + x + j - 1) * n_count + n]));
            }
        }
    }
    return largest;
}

// Stores two vec4s of pixel m at channel group n.
fn store(m: u32, n: u32, left: vec4f, right: vec4f) {
    if m >= PIXELS {
        return;
    }
    let at = m * (OUT_CHANNELS / 4) + n;
    var l = left;
    var r = right;
    if ADD || POOL {
        l += addend(m, n);
        r += addend(m, n + 1);
    }
    if RELU_AFTER {
        l = max(l, vec4f());
        r = max(r, vec4f());
    }
    output[at] = pack(l);
    output[at + 1] = pack(r);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let n = id.x * 2;
    let m = id.y * 8;
    let n_count = OUT_CHANNELS / 4;
    if n >= n_count || m >= PIXELS {
        return;
    }
    let a0 = source(m);
    let a1 = source(m + 1);
    let a2 = source(m + 2);
    let a3 = source(m + 3);
    let a4 = source(m + 4);
    let a5 = source(m + 5);
    let a6 = source(m + 6);
    let a7 = source(m + 7);
    var left0 = bias[n];
    var right0 = bias[n + 1];
    var left1 = left0;
    var right1 = right0;
    var left2 = left0;
    var right2 = right0;
    var left3 = left0;
    var right3 = right0;
    var left4 = left0;
    var right4 = right0;
    var left5 = left0;
    var right5 = right0;
    var left6 = left0;
    var right6 = right0;
    var left7 = left0;
    var right7 = right0;
    for (var k = 0u; k < IN_CHANNELS / 4; k++) {
        let w = 4 * k * n_count + n;
        let l0 = unpack(weight[w]);
        let r0 = unpack(weight[w + 1]);
        let l1 = unpack(weight[w + n_count]);
        let r1 = unpack(weight[w + n_count + 1]);
        let l2 = unpack(weight[w + 2 * n_count]);
        let r2 = unpack(weight[w + 2 * n_count + 1]);
        let l3 = unpack(weight[w + 3 * n_count]);
        let r3 = unpack(weight[w + 3 * n_count + 1]);
        let v0 = unpack(input[a0 + k]);
        left0 = multiply_add(left0, v0, l0, l1, l2, l3);
        right0 = multiply_add(right0, v0, r0, r1, r2, r3);
        let v1 = unpack(input[a1 + k]);
        left1 = multiply_add(left1, v1, l0, l1, l2, l3);
        right1 = multiply_add(right1, v1, r0, r1, r2, r3);
        let v2 = unpack(input[a2 + k]);
        left2 = multiply_add(left2, v2, l0, l1, l2, l3);
        right2 = multiply_add(right2, v2, r0, r1, r2, r3);
        let v3 = unpack(input[a3 + k]);
        left3 = multiply_add(left3, v3, l0, l1, l2, l3);
        right3 = multiply_add(right3, v3, r0, r1, r2, r3);
        let v4 = unpack(input[a4 + k]);
        left4 = multiply_add(left4, v4, l0, l1, l2, l3);
        right4 = multiply_add(right4, v4, r0, r1, r2, r3);
        let v5 = unpack(input[a5 + k]);
        left5 = multiply_add(left5, v5, l0, l1, l2, l3);
        right5 = multiply_add(right5, v5, r0, r1, r2, r3);
        let v6 = unpack(input[a6 + k]);
        left6 = multiply_add(left6, v6, l0, l1, l2, l3);
        right6 = multiply_add(right6, v6, r0, r1, r2, r3);
        let v7 = unpack(input[a7 + k]);
        left7 = multiply_add(left7, v7, l0, l1, l2, l3);
        right7 = multiply_add(right7, v7, r0, r1, r2, r3);
    }
    store(m, n, left0, right0);
    store(m + 1, n, left1, right1);
    store(m + 2, n, left2, right2);
    store(m + 3, n, left3, right3);
    store(m + 4, n, left4, right4);
    store(m + 5, n, left5, right5);
    store(m + 6, n, left6, right6);
    store(m + 7, n, left7, right7);
}
