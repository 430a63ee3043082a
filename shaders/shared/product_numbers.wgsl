// The numbers of a product from a buffer, in the order of these variables: layers of any shape share a pipeline then, where making one
// takes as long as a photo. PIXELS counts the output pixels of all images; results are channels FIRST.. of ALL ones. A kernel binds
// `numbers`.

var<private> IN_HEIGHT: u32;
var<private> IN_WIDTH: u32;
var<private> IN_CHANNELS: u32;
var<private> OUT_HEIGHT: u32;
var<private> OUT_WIDTH: u32;
var<private> OUT_CHANNELS: u32;
var<private> STRIDE: u32;
var<private> PIXELS: u32;
var<private> KERNEL_HEIGHT: u32;
var<private> KERNEL_WIDTH: u32;
var<private> WINDOW_TOP: u32;
var<private> WINDOW_LEFT: u32;
var<private> PAD_TOP: u32;
var<private> PAD_LEFT: u32;
var<private> FIRST: u32;
var<private> ALL: u32;

// Reads all numbers; a kernel calls it first.
fn read_numbers() {
    IN_HEIGHT = numbers[0];
    IN_WIDTH = numbers[1];
    IN_CHANNELS = numbers[2];
    OUT_HEIGHT = numbers[3];
    OUT_WIDTH = numbers[4];
    OUT_CHANNELS = numbers[5];
    STRIDE = numbers[6];
    PIXELS = numbers[7];
    KERNEL_HEIGHT = numbers[8];
    KERNEL_WIDTH = numbers[9];
    WINDOW_TOP = numbers[10];
    WINDOW_LEFT = numbers[11];
    PAD_TOP = numbers[12];
    PAD_LEFT = numbers[13];
    FIRST = numbers[14];
    ALL = numbers[15];
}
