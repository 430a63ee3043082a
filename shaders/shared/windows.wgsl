// Windows of a pooling: [IN_HEIGHT][IN_WIDTH] pixels become [OUT_HEIGHT][OUT_WIDTH], channels FIRST.. of ALL ones. MEAN is their mean
// instead of their maximum, where PADDED with zeros for the pixels outside.

override IN_HEIGHT: u32;
override IN_WIDTH: u32;
override CHANNELS: u32;
override OUT_HEIGHT: u32;
override OUT_WIDTH: u32;
override KERNEL_HEIGHT: u32;
override KERNEL_WIDTH: u32;
override STRIDE_Y: u32;
override STRIDE_X: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override MEAN: bool;
override PADDED: bool;
override FIRST: u32;
override ALL: u32;

// First row and column, and the ones behind the last, of the pixels inside a window.
fn window(y: u32, x: u32) -> vec4i {
    let first = vec2i(i32(y * STRIDE_Y) - i32(PAD_TOP), i32(x * STRIDE_X) - i32(PAD_LEFT));
    let end = first + vec2i(i32(KERNEL_HEIGHT), i32(KERNEL_WIDTH));
    return vec4i(max(first, vec2i()), min(end, vec2i(i32(IN_HEIGHT), i32(IN_WIDTH))));
}

// The pixels of a window from `first` up to `end`, as a mean counts them.
fn window_pixels(first: vec2i, end: vec2i) -> f32 {
    let inside = f32((end.x - first.x) * (end.y - first.y));
    return select(inside, f32(KERNEL_HEIGHT * KERNEL_WIDTH), PADDED);
}

// Index of output pixel m's vec4 c in all channels of all images.
fn pooled(image: u32, m: u32, c: u32) -> u32 {
    return (image * OUT_HEIGHT * OUT_WIDTH + m) * (ALL / 4) + FIRST / 4 + c;
}
