// Windows and epilogue of a product over the values of windows. A kernel includes its numbers, as constants or from a buffer, and binds
// `input`, `weight`, `bias` and `residual`.

// #include "storage.wgsl"

override SAME_PIXEL: bool;
override PADDED: bool;
override ADD: bool;
override SCALED: bool;
override POOL: bool;
override RELU_AFTER: bool;

// Channel groups of an input pixel, of which an image of three channels has one.
fn in_count() -> u32 {
    return (IN_CHANNELS + 3) / 4;
}

// A window's tap: index in `input` of its first channels, or of a pixel nearby where it lies outside.
struct Source {
    at: u32,
    inside: bool,
}

// The source of output pixel m at a tap of its window.
fn source(m: u32, tap: u32) -> Source {
    let pixel = min(m, PIXELS - 1);
    if SAME_PIXEL {
        return Source(pixel * in_count(), true);
    }
    let row = pixel / OUT_WIDTH;
    // Row or column −1 wraps round to a huge number.
    let y = row % OUT_HEIGHT * STRIDE + tap / KERNEL_WIDTH - WINDOW_TOP;
    let x = pixel % OUT_WIDTH * STRIDE + tap % KERNEL_WIDTH - WINDOW_LEFT;
    let in_row = row / OUT_HEIGHT * IN_HEIGHT + min(y, IN_HEIGHT - 1);
    return Source((in_row * IN_WIDTH + min(x, IN_WIDTH - 1)) * in_count(), y < IN_HEIGHT && x < IN_WIDTH);
}

// The weights of a window's k-th channel group, row by row: an image of three channels has three rows.
fn weight_row(k: u32) -> u32 {
    return k * min(IN_CHANNELS, 4);
}

// Channel group c of a source; zeros outside of the input.
fn value(source: Source, c: u32) -> vec4f {
    let value = unpack(input[source.at + c]);
    if PADDED {
        return select(vec4f(), value, source.inside);
    }
    return value;
}

// 3×3 max pooling with stride 2 of `residual`, for output pixel m and channel group n.
fn max_pool(m: u32, n: u32) -> vec4f {
    let row = m / OUT_WIDTH;
    let top = row / OUT_HEIGHT * IN_HEIGHT;
    // The filter's centre lies inside for either padding; positions outside repeat it, and are loaded with the others.
    let y = 2 * (row % OUT_HEIGHT) + 1 - PAD_TOP;
    let x = 2 * (m % OUT_WIDTH) + 1 - PAD_LEFT;
    let centre_y = min(y, IN_HEIGHT - 1);
    let centre_x = min(x, IN_WIDTH - 1);
    var largest = unpack(residual[((top + centre_y) * IN_WIDTH + centre_x) * (OUT_CHANNELS / 4) + n]);
    for (var i = 0u; i < 3; i++) {
        let tap_y = select(centre_y, y + i - 1, y + i - 1 < IN_HEIGHT);
        for (var j = 0u; j < 3; j++) {
            let tap_x = select(centre_x, x + j - 1, x + j - 1 < IN_WIDTH);
            largest = max(largest, unpack(residual[((top + tap_y) * IN_WIDTH + tap_x) * (OUT_CHANNELS / 4) + n]));
        }
    }
    return largest;
}

// Index of output pixel m's channel group n in all channels.
fn result(m: u32, n: u32) -> u32 {
    return m * (ALL / 4) + FIRST / 4 + n;
}

// The result of output pixel m at channel group n, from its products' sum, bias included.
fn epilogue(m: u32, n: u32, sum: vec4f) -> Stored {
    var value = sum;
    if POOL {
        value += max_pool(m, n);
    } else if SCALED {
        value += unpack(residual[m * (OUT_CHANNELS / 4) + n]) * bias[OUT_CHANNELS / 4 + n];
    } else if ADD {
        value += unpack(residual[m * (OUT_CHANNELS / 4) + n]);
    }
    if RELU_AFTER {
        value = max(value, vec4f());
    }
    return pack(value);
}
