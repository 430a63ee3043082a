//! timm's modified aligned Xceptions, as DeepLab has them: `timm/models/xception_aligned.py`.
//!
//! A block has three separable convolutions, of which the last may halve the resolution; a 1×1 convolution leads around them where shapes
//! differ. In the "p" networks batch norm and ReLU come before each convolution, so that a block's own ones come behind the sum of the block
//! before; that sum with its batch norm is [`Layer::norm_of_sum`](super::layer::Layer::norm_of_sum).

use super::Architecture;
use super::activation::Function;
use super::builder::Builder;
use super::layer::{Section, Window};

/// The only activation function.
const RELU: Option<Function> = Some(Function::Relu);

/// A block: the outputs of its separable convolutions, and the stride of the last.
type Block = ([usize; 3], usize);

/// The entry flow of 41 and 65 layers.
const ENTRY: &[Block] = &[([128; 3], 2), ([256; 3], 2), ([728; 3], 2)];

/// The entry flow of 71 layers.
const LONG_ENTRY: &[Block] = &[([128; 3], 2), ([256; 3], 1), ([256; 3], 2), ([728; 3], 1), ([728; 3], 2)];

/// A block of the middle flow.
const MIDDLE: Block = ([728; 3], 1);

/// The exit flow; nothing leads around its last block.
const EXIT: &[Block] = &[([728, 1024, 1024], 2), ([1536, 1536, 2048], 1)];

/// The blocks' names.
const NAMES: [&str; 23] = [
    "blocks.0",
    "blocks.1",
    "blocks.2",
    "blocks.3",
    "blocks.4",
    "blocks.5",
    "blocks.6",
    "blocks.7",
    "blocks.8",
    "blocks.9",
    "blocks.10",
    "blocks.11",
    "blocks.12",
    "blocks.13",
    "blocks.14",
    "blocks.15",
    "blocks.16",
    "blocks.17",
    "blocks.18",
    "blocks.19",
    "blocks.20",
    "blocks.21",
    "blocks.22",
];

/// The entry flow, the number of blocks in the middle flow, and whether batch norm and ReLU come first.
fn table(architecture: Architecture) -> (&'static [Block], usize, bool) {
    match architecture {
        Architecture::Xception41 => (ENTRY, 8, false),
        Architecture::Xception71 => (LONG_ENTRY, 16, false),
        Architecture::Xception41p => (ENTRY, 8, true),
        Architecture::Xception65p => (ENTRY, 16, true),
        _ => (ENTRY, 16, false),
    }
}

/// Adds the backbone up to the last activation.
pub fn backbone(builder: &mut Builder, architecture: Architecture) {
    let (entry, middle, is_before) = table(architecture);
    builder.section = Section { flow: "entry", block: "stem" };
    for (name, channels, stride) in [("stem.0", 32, 2), ("stem.1", 64, 1)] {
        let from = builder.last();
        builder.conv(name, from, channels, Window::padded(3, stride, 1)).activation_after = RELU;
    }
    let count = entry.len() + middle + EXIT.len();
    for index in 0..count {
        let (flow, (outputs, stride)) = match index {
            _ if index < entry.len() => ("entry", entry[index]),
            _ if index < entry.len() + middle => ("middle", MIDDLE),
            _ => ("exit", EXIT[index + EXIT.len() - count]),
        };
        let name = NAMES[index];
        builder.section = Section { flow, block: name };
        let (from, is_last) = (builder.last(), index + 1 == count);
        let (input, output) = (builder.shape(from).channels, outputs[2]);
        let mut around = from;
        if !is_last && (stride > 1 || input != output) {
            builder.conv(&[name, ".shortcut"].concat(), from, output, Window::valid(1, stride)).batch_norm = !is_before;
            around = builder.last();
        }
        let mut value = from;
        for (place, channels) in [".stack.conv1", ".stack.conv2", ".stack.conv3"].into_iter().zip(outputs) {
            let is_end = place == ".stack.conv3";
            let window = Window::padded(3, if is_end { stride } else { 1 }, 1);
            let layer = builder.separable_conv(&[name, place].concat(), value, channels, window);
            layer.add = (is_end && !is_last).then_some(around);
            if is_before {
                // The batch norm of what comes next; what ends the network has none.
                layer.batch_norm = !(is_end && is_last);
                layer.norm_of_sum = layer.add.is_some();
                layer.activation_after = RELU;
            } else if is_last {
                layer.depthwise_norm = true;
                (layer.activation_between, layer.activation_after) = (RELU, RELU);
            } else {
                layer.depthwise_norm = true;
                layer.activation_before = RELU;
            }
            value = builder.last();
        }
    }
    builder.section = Section::HEAD;
}
