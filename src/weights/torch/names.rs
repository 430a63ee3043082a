//! The names of the backbones' arrays in PyTorch.

use super::tensors::Tensors;
use crate::error::Result;
use crate::network::{Architecture, Network};

/// The arrays of a layer: what [`Layer::parameters`](crate::network::layer::Layer::parameters) calls them, and their names.
pub(super) type Names = Vec<(&'static str, String)>;

/// An array that every Xception by Cadene's or timm's `legacy_xception` has, and no other model.
const LEGACY: &str = "block1.rep.0.conv1.weight";

/// The prefixes of the names of all backbones in a file.
pub(super) fn prefixes(tensors: &Tensors) -> Vec<String> {
    let prefix = |name: &str| {
        let prefix = name.strip_suffix(LEGACY)?;
        (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
    };
    tensors.names().filter_map(prefix).collect()
}

/// The backbone behind a prefix.
pub(super) fn architecture(_tensors: &Tensors, _prefix: &str) -> Result<Architecture> {
    Ok(Architecture::LegacyXception)
}

/// The names of each layer's arrays, with the layer's number; without a prefix.
pub(super) fn names(network: &Network, architecture: Architecture) -> Vec<(usize, Names)> {
    match architecture {
        Architecture::Xception | Architecture::LegacyXception => legacy(network),
    }
}

/// The arrays of a batch norm.
fn norm(module: &str) -> Names {
    let arrays =
        [("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"), ("moving_variance", "running_var")];
    arrays.map(|(array, name)| (array, format!("{module}.{name}"))).into()
}

/// The arrays of a convolution by itself.
fn conv(module: &str) -> Names {
    vec![("kernel", format!("{module}.weight")), ("bias", format!("{module}.bias"))]
}

/// The arrays of the two halves of a separable convolution.
fn separable(depthwise: &str, pointwise: &str) -> Names {
    let (kernel, bias) = (format!("{pointwise}.weight"), format!("{pointwise}.bias"));
    vec![("depthwise_kernel", format!("{depthwise}.weight")), ("pointwise_kernel", kernel), ("bias", bias)]
}

/// Cadene's: a block's `rep` counts its activation functions, convolutions and batch norms; convolutions outside of blocks, which have
/// their ReLU after them, are counted by themselves.
fn legacy(network: &Network) -> Vec<(usize, Names)> {
    let (mut outside, mut blocks, mut block, mut place) = (0, 0, "", 0);
    let layers = network.layers.iter().enumerate().filter(|(_, layer)| layer.batch_norm);
    let named = layers.map(|(index, layer)| {
        let (module, of_norm) = if layer.activation_after.is_some() {
            outside += 1;
            (format!("conv{outside}"), format!("bn{outside}"))
        } else {
            if layer.section.block != block {
                (blocks, block, place) = (blocks + 1, layer.section.block, 0);
            }
            if layer.is_pointwise() {
                (format!("block{blocks}.skip"), format!("block{blocks}.skipbn"))
            } else {
                let at = place + usize::from(layer.activation_before.is_some());
                place = at + 2;
                (format!("block{blocks}.rep.{at}"), format!("block{blocks}.rep.{}", at + 1))
            }
        };
        let of_conv = if layer.is_separable() {
            separable(&format!("{module}.conv1"), &format!("{module}.pointwise"))
        } else {
            conv(&module)
        };
        (index, [of_conv, norm(&of_norm)].concat())
    });
    named.collect()
}
