// 3×3 convolution without padding, its batch norm folded in, and ReLU.
//
//   output[y, x, n] = max(0, bias[n] + Σ_{i, j, c} input[y·STRIDE + i, x·STRIDE + j, c] · weight[i, j, c, n])
//
// input   [images][IN_HEIGHT][IN_WIDTH][⌈IN_CHANNELS/4⌉] vec4; IN_CHANNELS is 3 or a multiple of 4
// weight  [3][3][IN_CHANNELS][OUT_CHANNELS/4] vec4
// bias    [OUT_CHANNELS/4] vec4
// output  [images][OUT_HEIGHT][OUT_WIDTH][OUT_CHANNELS/4] vec4
//
// One invocation computes 4 neighbouring pixels × 4 channels; x: channels, y: columns, z: rows
// of all images.

override IN_HEIGHT: u32;
override IN_WIDTH: u32;
override IN_CHANNELS: u32;
override OUT_HEIGHT: u32;
override OUT_WIDTH: u32;
override OUT_CHANNELS: u32;
override STRIDE: u32;

// Four values as they are stored: f32 here; kernel.rs puts f16 in place of these three lines.
alias Stored = vec4f;
fn unpack(stored: Stored) -> vec4f { return stored; }
fn pack(value: vec4f) -> Stored { return value; }

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

fn multiply_add(sum: vec4f, a: vec4f, w0: vec4f, w1: vec4f, w2: vec4f, w3: vec4f) -> vec4f {
    return sum + a.x * w0 + a.y * w1 + a.z * w2 + a.w * w3;
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let n = id.x;
    let n_count = OUT_CHANNELS / 4;
    let x = id.y * 4;
    if n >= n_count || x >= OUT_WIDTH {
        return;
    }
    let in_count = (IN_CHANNELS + 3) / 4;
    let step = STRIDE * in_count;
    // The last pixels of a ragged row are computed from its last column and not stored.
    let last = OUT_WIDTH - 1 - x;
    let top = id.z / OUT_HEIGHT * IN_HEIGHT + id.z % OUT_HEIGHT * STRIDE;
    var sum0 = bias[n];
    var sum1 = sum0;
    var sum2 = sum0;
    var sum3 = sum0;
    for (var tap = 0u; tap < 9; tap++) {
        let row = top + tap / 3;
        let pixel = (row * IN_WIDTH + x * STRIDE + tap % 3) * in_count;
        for (var c = 0u; c < in_count; c++) {
            let w = (tap * IN_CHANNELS + c * 4) * n_count + n;
            let w0 = unpack(weight[w]);
            let w1 = unpack(weight[w + n_count]);
            let w2 = unpack(weight[w + 2 * n_count]);
            var w3 = vec4f();
            if IN_CHANNELS % 4 == 0 {
                w3 = unpack(weight[w + 3 * n_count]);
            }
            let a = pixel + c;
            sum0 = multiply_add(sum0, unpack(input[a]), w0, w1, w2, w3);
            sum1 = multiply_add(sum1, unpack(input[a + min(1, last) * step]), w0, w1, w2, w3);
            sum2 = multiply_add(sum2, unpack(input[a + min(2, last) * step]), w0, w1, w2, w3);
            sum3 = multiply_add(sum3, unpack(input[a + min(3, last) * step]), w0, w1, w2, w3);
        }
    }
    let out = (id.z * OUT_WIDTH + x) * n_count + n;
    output[out] = pack(max(sum0, vec4f()));
    if last >= 1 { output[out + n_count] = pack(max(sum1, vec4f())); }
    if last >= 2 { output[out + 2 * n_count] = pack(max(sum2, vec4f())); }
    if last >= 3 { output[out + 3 * n_count] = pack(max(sum3, vec4f())); }
}
