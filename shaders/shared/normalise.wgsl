// Levels of RGB as the network's input.
//
//   normalise(level)[c] = level[c] · SCALE_c + OFFSET_c,  level[2 − c] where BGR

override BGR: bool;
override SCALE_0: f32;
override SCALE_1: f32;
override SCALE_2: f32;
override OFFSET_0: f32;
override OFFSET_1: f32;
override OFFSET_2: f32;

fn normalise(level: vec3f) -> vec4f {
    let channels = select(level, level.bgr, BGR);
    return vec4f(channels * vec3f(SCALE_0, SCALE_1, SCALE_2) + vec3f(OFFSET_0, OFFSET_1, OFFSET_2), 0.0);
}
