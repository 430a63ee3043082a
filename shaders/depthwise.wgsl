// Depthwise 3×3 convolution, padded with zeros to the same size; optionally a ReLU before it.
//
//   output[y, x, c] = Σ_{i, j} r(input[y + i − 1, x + j − 1, c]) · weight[i, j, c],  r = ReLU or identity
//
// input   [images][HEIGHT][WIDTH][CHANNELS/4] vec4
// weight  [3][3][CHANNELS/4] vec4
// output  as input
//
// One invocation computes a column of ROWS rows × 4 pixels × 4 channels: it goes down the input's rows and adds each to the
// three rows of the output that it is part of. x: channels, y: columns, z: ROWS rows each of all images.

override HEIGHT: u32;
override WIDTH: u32;
override CHANNELS: u32;
override RELU_BEFORE: bool;
override ROWS: u32;

// #include "storage.wgsl"

@group(0) @binding(0) var<storage, read> input: array<Stored>;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

// Channel group c of a pixel of an image whose rows begin at top; zero outside of it.
fn load(top: u32, y: u32, x: u32, c: u32) -> vec4f {
    // Row and column −1 wrap round to huge numbers.
    let inside = y < HEIGHT && x < WIDTH;
    let value = unpack(input[((top + min(y, HEIGHT - 1)) * WIDTH + min(x, WIDTH - 1)) * (CHANNELS / 4) + c]);
    return select(vec4f(), select(value, max(value, vec4f()), RELU_BEFORE), inside);
}

// Adds the products of one row of the input and one row of the window to the four pixels of a row of the output.
fn row(v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f, v4: vec4f, v5: vec4f, window: mat3x4f) -> mat4x4f {
    return mat4x4f(
        v0 * window[0] + v1 * window[1] + v2 * window[2],
        v1 * window[0] + v2 * window[1] + v3 * window[2],
        v2 * window[0] + v3 * window[1] + v4 * window[2],
        v3 * window[0] + v4 * window[1] + v5 * window[2],
    );
}

fn window_row(i: u32, c: u32) -> mat3x4f {
    let w = 3 * i * (CHANNELS / 4) + c;
    let count = CHANNELS / 4;
    return mat3x4f(unpack(weight[w]), unpack(weight[w + count]), unpack(weight[w + 2 * count]));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let c = id.x;
    let c_count = CHANNELS / 4;
    let x = id.y * 4;
    if c >= c_count || x >= WIDTH {
        return;
    }
    let blocks = (HEIGHT + ROWS - 1) / ROWS;
    let top = id.z / blocks * HEIGHT;
    let first = id.z % blocks * ROWS;
    let upper = window_row(0, c);
    let middle = window_row(1, c);
    let lower = window_row(2, c);
    // Rows of the output that have seen two of their three rows of the input, and one.
    var sums2 = mat4x4f();
    var sums1 = mat4x4f();
    for (var i = 0u; i < ROWS + 2; i++) {
        let y = first + i - 1;
        let v0 = load(top, y, x - 1, c);
        let v1 = load(top, y, x, c);
        let v2 = load(top, y, x + 1, c);
        let v3 = load(top, y, x + 2, c);
        let v4 = load(top, y, x + 3, c);
        let v5 = load(top, y, x + 4, c);
        let sums = sums2 + row(v0, v1, v2, v3, v4, v5, lower);
        sums2 = sums1 + row(v0, v1, v2, v3, v4, v5, middle);
        sums1 = row(v0, v1, v2, v3, v4, v5, upper);
        if i >= 2 && y - 1 < HEIGHT {
            let out = ((top + y - 1) * WIDTH + x) * c_count + c;
            output[out] = pack(sums[0]);
            if x + 1 < WIDTH { output[out + c_count] = pack(sums[1]); }
            if x + 2 < WIDTH { output[out + 2 * c_count] = pack(sums[2]); }
            if x + 3 < WIDTH { output[out + 3 * c_count] = pack(sums[3]); }
        }
    }
}
