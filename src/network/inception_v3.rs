//! Inception V3 as tables that read like Table 1 and Figures 5 to 7 of the paper (arXiv 1512.00567), by the names of Keras's code.

use super::Architecture;
use super::activation::Function;
use super::builder::Builder;
use super::layer::{Section, ValueId, Window};

/// The smallest side of an image the network takes; below it the last blocks have nothing to see.
pub const MIN_SIDE: usize = 75;

/// A convolution in a branch: its name, channels and window. It is padded to the same size.
type Conv = (&'static str, usize, [usize; 2]);

/// A block, whose branches read its input side by side.
#[derive(Clone, Copy)]
enum Block {
    /// Windows of 5×5 and twice 3×3 (Figure 5); the channels behind its pooling.
    Large(usize),
    /// Half the resolution, at 35×35.
    Halve,
    /// Windows of 7×7 as 1×7 and 7×1 (Figure 6); the channels between these.
    Long(usize),
    /// Half the resolution, at 17×17.
    HalveLong,
    /// Windows of 1×3 beside 3×1 (Figure 7).
    Wide,
}
use Block::{Halve, HalveLong, Large, Long, Wide};

/// All blocks behind the stem, with their part of the network.
const BLOCKS: [(&str, &str, Block); 11] = [
    ("entry", "mixed0", Large(32)),
    ("entry", "mixed1", Large(64)),
    ("entry", "mixed2", Large(64)),
    ("middle", "mixed3", Halve),
    ("middle", "mixed4", Long(128)),
    ("middle", "mixed5", Long(160)),
    ("middle", "mixed6", Long(160)),
    ("middle", "mixed7", Long(192)),
    ("exit", "mixed8", HalveLong),
    ("exit", "mixed9", Wide),
    ("exit", "mixed10", Wide),
];

/// Adds the backbone up to the last activation.
pub fn backbone(builder: &mut Builder, architecture: Architecture) {
    builder.section = Section { flow: "entry", block: "stem" };
    let is_torch = architecture == Architecture::TorchInceptionV3;
    let mut stem = Branches::new(builder, is_torch, "stem");
    stem.conv("conv1", 32, Window::valid(3, 2));
    stem.conv("conv2", 32, Window::valid(3, 1));
    stem.conv("conv3", 64, Window::padded(3, 1, 1));
    stem.max_pool("pool1");
    stem.conv("conv4", 80, Window::valid(1, 1));
    stem.conv("conv5", 192, Window::valid(3, 1));
    stem.max_pool("pool2");
    for (flow, name, block) in BLOCKS {
        builder.section = Section { flow, block: name };
        let mut branches = Branches::new(builder, is_torch, name);
        match block {
            Large(pooled) => {
                branches.convs(&[("branch1x1", 64, [1, 1])]);
                branches.convs(&[("branch5x5_1", 48, [1, 1]), ("branch5x5_2", 64, [5, 5])]);
                branches.convs(&THREE_TWICE);
                branches.pooled(pooled);
            }
            Halve => {
                branches.halved(&[], ("branch3x3", 384));
                branches.halved(&THREE_TWICE[..2], ("branch3x3dbl_3", 96));
                branches.max_pool("branch_pool");
                branches.end();
            }
            Long(between) => {
                branches.convs(&[("branch1x1", 192, [1, 1])]);
                branches.convs(&[
                    ("branch7x7_1", between, [1, 1]),
                    ("branch7x7_2", between, [1, 7]),
                    ("branch7x7_3", 192, [7, 1]),
                ]);
                branches.convs(&[
                    ("branch7x7dbl_1", between, [1, 1]),
                    ("branch7x7dbl_2", between, [7, 1]),
                    ("branch7x7dbl_3", between, [1, 7]),
                    ("branch7x7dbl_4", between, [7, 1]),
                    ("branch7x7dbl_5", 192, [1, 7]),
                ]);
                branches.pooled(192);
            }
            HalveLong => {
                branches.halved(&[("branch3x3_1", 192, [1, 1])], ("branch3x3_2", 320));
                let long =
                    [("branch7x7x3_1", 192, [1, 1]), ("branch7x7x3_2", 192, [1, 7]), ("branch7x7x3_3", 192, [7, 1])];
                branches.halved(&long, ("branch7x7x3_4", 192));
                branches.max_pool("branch_pool");
                branches.end();
            }
            Wide => {
                branches.convs(&[("branch1x1", 320, [1, 1])]);
                branches.forked(&[("branch3x3_1", 384, [1, 1])], ["branch3x3_2a", "branch3x3_2b"]);
                let double = [("branch3x3dbl_1", 448, [1, 1]), ("branch3x3dbl_2", 384, [3, 3])];
                branches.forked(&double, ["branch3x3dbl_3a", "branch3x3dbl_3b"]);
                branches.pooled(192);
            }
        }
        let parts = branches.parts;
        builder.concat(name, &parts);
    }
    builder.section = Section::HEAD;
}

/// The branch of two 3×3 windows.
const THREE_TWICE: [Conv; 3] =
    [("branch3x3dbl_1", 64, [1, 1]), ("branch3x3dbl_2", 96, [3, 3]), ("branch3x3dbl_3", 96, [3, 3])];

/// The branches of a block as they are added.
struct Branches<'a> {
    builder: &'a mut Builder,
    /// Whether it is PyTorch's: batch norms have a gamma, and average pooling counts its padding.
    is_torch: bool,
    /// The name of the block.
    block: &'static str,
    /// The block's input.
    input: ValueId,
    /// The last activation of the branch at hand.
    at: ValueId,
    /// The ends of branches.
    parts: Vec<ValueId>,
}

impl<'a> Branches<'a> {
    fn new(builder: &'a mut Builder, is_torch: bool, block: &'static str) -> Self {
        let input = builder.last();
        Self { builder, is_torch, block, input, at: input, parts: Vec::new() }
    }

    fn name(&self, layer: &str) -> String {
        [self.block, ".", layer].concat()
    }

    /// A convolution with its batch norm and ReLU.
    fn conv(&mut self, layer: &str, channels: usize, window: Window) {
        let layer = self.builder.conv(&self.name(layer), self.at, channels, window);
        (layer.activation_after, layer.has_gamma) = (Some(Function::Relu), self.is_torch);
        self.at = self.builder.last();
    }

    /// Max pooling to half the resolution.
    fn max_pool(&mut self, layer: &str) {
        self.builder.max_pool(&self.name(layer), self.at, Window::valid(3, 2));
        self.at = self.builder.last();
    }

    /// Ends a branch.
    fn end(&mut self) {
        self.parts.push(self.at);
        self.at = self.input;
    }

    fn chain(&mut self, convs: &[Conv]) {
        for &(layer, channels, kernel) in convs {
            let padding = kernel.map(|side| [side / 2; 2]);
            self.conv(layer, channels, Window { kernel, stride: [1; 2], padding });
        }
    }

    /// A branch of convolutions.
    fn convs(&mut self, convs: &[Conv]) {
        self.chain(convs);
        self.end();
    }

    /// A branch whose last convolution, of 3×3, halves the resolution.
    fn halved(&mut self, convs: &[Conv], (layer, channels): (&str, usize)) {
        self.chain(convs);
        self.conv(layer, channels, Window::valid(3, 2));
        self.end();
    }

    /// A branch that ends in 1×3 and 3×1 side by side.
    fn forked(&mut self, convs: &[Conv], [wide, tall]: [&'static str; 2]) {
        self.chain(convs);
        let fork = self.at;
        self.convs(&[(wide, 384, [1, 3])]);
        self.at = fork;
        self.convs(&[(tall, 384, [3, 1])]);
    }

    /// The branch of average pooling.
    fn pooled(&mut self, channels: usize) {
        let window = Window::padded(3, 1, 1);
        self.builder.average_pool(&self.name("average_pool"), self.at, window, self.is_torch);
        self.at = self.builder.last();
        self.convs(&[("branch_pool", channels, [1, 1])]);
    }
}
