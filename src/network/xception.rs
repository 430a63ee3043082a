//! Xception as tables that read like Figure 5 of the paper.

use super::Architecture;
use super::activation::Function;
use super::builder::Builder;
use super::layer::{Layer, Section, Window};
use Block::*;

/// The smallest side of an image the network takes; below it the last blocks have nothing to see.
pub const MIN_SIDE: usize = 71;

/// The features that the backbone's mean gives.
pub const FEATURES: usize = 2048;

/// The only activation function.
const RELU: Option<Function> = Some(Function::Relu);

/// The function between the halves of separable convolutions.
fn between(architecture: Architecture) -> Option<Function> {
    match architecture {
        Architecture::XceptionReluBetween => RELU,
        Architecture::XceptionEluBetween => Some(Function::Elu(1.0)),
        _ => None,
    }
}

/// The window of every separable convolution.
const SEPARABLE: Window = Window::padded(3, 1, 1);

/// A row of the tables: a convolution, or separable convolutions, in the block of this name.
#[derive(Clone, Copy)]
enum Block {
    /// 3×3 convolution without padding and its ReLU: name, channels, stride.
    Conv(&'static str, &'static str, usize, usize),
    /// Separable convolutions, then max pooling, around which a strided 1×1 shortcut leads.
    Downsample(&'static str, [Sep; 2]),
    /// Three ReLU + separable convolutions whose input is added to their output.
    Residual(&'static str, [Sep; 3]),
    /// A separable convolution with its ReLU after it: name, channels.
    SepRelu(&'static str, &'static str, usize),
}

/// A separable convolution inside a block, by its number of output channels.
#[derive(Clone, Copy)]
enum Sep {
    /// Reads its input as it is.
    Plain(usize),
    /// Takes negative inputs as zero.
    Relu(usize),
}
use Sep::{Plain, Relu};

/// The entry flow.
const ENTRY: [Block; 5] = [
    Conv("block1", "conv1", 32, 2),
    Conv("block1", "conv2", 64, 1),
    Downsample("block2", [Plain(128), Relu(128)]),
    Downsample("block3", [Relu(256), Relu(256)]),
    Downsample("block4", [Relu(728), Relu(728)]),
];

/// The middle flow: a block, eight times.
const MIDDLE: [Block; 8] = [
    Residual("block5", [Relu(728), Relu(728), Relu(728)]),
    Residual("block6", [Relu(728), Relu(728), Relu(728)]),
    Residual("block7", [Relu(728), Relu(728), Relu(728)]),
    Residual("block8", [Relu(728), Relu(728), Relu(728)]),
    Residual("block9", [Relu(728), Relu(728), Relu(728)]),
    Residual("block10", [Relu(728), Relu(728), Relu(728)]),
    Residual("block11", [Relu(728), Relu(728), Relu(728)]),
    Residual("block12", [Relu(728), Relu(728), Relu(728)]),
];

/// The exit flow; the mean and the dense layers follow.
const EXIT: [Block; 3] = [
    Downsample("block13", [Relu(728), Relu(1024)]),
    SepRelu("block14", "sepconv1", 1536),
    SepRelu("block14", "sepconv2", 2048),
];

/// Adds the backbone up to the last activation.
pub fn backbone(builder: &mut Builder, architecture: Architecture) {
    let has_residuals = architecture != Architecture::XceptionWithoutResiduals;
    let flow = |flow, blocks: &'static [Block]| blocks.iter().map(move |block| (flow, block));
    for (flow, block) in flow("entry", &ENTRY).chain(flow("middle", &MIDDLE)).chain(flow("exit", &EXIT)) {
        let (Conv(name, ..) | Downsample(name, _) | Residual(name, _) | SepRelu(name, ..)) = *block;
        builder.section = Section { flow, block: name };
        let from = builder.last();
        match *block {
            Conv(_, layer, channels, stride) => {
                let window = Window::valid(3, stride);
                builder.conv(&format!("{name}_{layer}"), from, channels, window).activation_after = RELU;
            }
            Downsample(_, seps) => {
                separable(builder, name, seps);
                let (main, shape) = (builder.last(), builder.shape(builder.last()));
                let window = match architecture {
                    Architecture::LegacyXception => Window::padded(3, 2, 1),
                    _ => Window::same(3, 2, shape),
                };
                if has_residuals {
                    builder.conv(&format!("{name}_shortcut"), from, shape.channels, Window::valid(1, 2));
                }
                let shortcut = has_residuals.then_some(builder.last());
                builder.max_pool(&format!("{name}_pool"), main, window).add = shortcut;
            }
            Residual(_, seps) => separable(builder, name, seps).add = has_residuals.then_some(from),
            SepRelu(_, layer, channels) => {
                builder.separable_conv(&format!("{name}_{layer}"), from, channels, SEPARABLE).activation_after = RELU;
            }
        }
    }
    builder.section = Section::HEAD;
    for layer in builder.layers.iter_mut().filter(|layer| layer.is_separable()) {
        layer.activation_between = between(architecture);
    }
}

/// The separable convolutions of a block, `block_sepconv1` and so on, each reading the one before; the last one.
fn separable<'a, const N: usize>(builder: &'a mut Builder, block: &str, seps: [Sep; N]) -> &'a mut Layer {
    for (i, sep) in seps.into_iter().enumerate() {
        let (channels, relu) = match sep {
            Plain(channels) => (channels, None),
            Relu(channels) => (channels, RELU),
        };
        let from = builder.last();
        builder.separable_conv(&format!("{block}_sepconv{}", i + 1), from, channels, SEPARABLE).activation_before =
            relu;
    }
    let last = builder.last() - 1;
    &mut builder.layers[last]
}
