// Slopes of a PReLU: [⌈CHANNELS/4⌉] vec4 where SHARED, else [PIXELS][⌈CHANNELS/4⌉]. A kernel binds `slope`.

// #include "elementwise.wgsl"

override SHARED: bool;

fn slope_of(id: vec3u) -> vec4f {
    return slope[select(id.y * groups(), 0, SHARED) + id.x];
}
