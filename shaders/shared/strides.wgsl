// Shapes of an input and an output whose pixels are STRIDE input pixels apart.

override IN_HEIGHT: u32;
override IN_WIDTH: u32;
override IN_CHANNELS: u32;
override OUT_HEIGHT: u32;
override OUT_WIDTH: u32;
override OUT_CHANNELS: u32;
override STRIDE: u32;
