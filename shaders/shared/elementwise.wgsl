// Places of values that are computed each by itself: [images][PIXELS][⌈CHANNELS/4⌉] vec4, padded with zeros.
//
// An invocation has 4 channels of a pixel; x: channels, y: pixels, z: images.

override PIXELS: u32;
override CHANNELS: u32;

// The number of vec4s of a pixel.
fn groups() -> u32 {
    return (CHANNELS + 3) / 4;
}

// Index of an invocation's vec4.
fn place(id: vec3u) -> u32 {
    return (id.z * PIXELS + id.y) * groups() + id.x;
}
