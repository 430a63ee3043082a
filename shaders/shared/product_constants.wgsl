// The numbers of a product as constants. PIXELS counts the output pixels of all images; results are channels FIRST.. of ALL ones.

// #include "strides.wgsl"

override PIXELS: u32;
override KERNEL_HEIGHT: u32;
override KERNEL_WIDTH: u32;
override WINDOW_TOP: u32;
override WINDOW_LEFT: u32;
override PAD_TOP: u32;
override PAD_LEFT: u32;
override FIRST: u32;
override ALL: u32;
