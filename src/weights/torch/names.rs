//! The names of the backbones' arrays in PyTorch.

use super::tensors::Tensors;
use crate::error::{Error, Result};
use crate::network::layer::{DEPTHWISE_NORM, Layer, NORM};
use crate::network::{Architecture, Network};

/// The arrays of a layer: what [`Layer::parameters`] calls them, and their names.
pub(super) type Names = Vec<(&'static str, String)>;

/// An array that every Xception by Cadene's or timm's `legacy_xception` has, and no other model.
const LEGACY: &str = "block1.rep.0.conv1.weight";

/// An array of the first block of an aligned one; so have the others.
const ALIGNED: &str = "blocks.0.stack.conv1.conv_dw.weight";

/// An array of the first block of an Inception V3.
const INCEPTION: &str = "Mixed_5b.branch1x1.conv.weight";

/// The prefix of the blocks' names in an Inception V3.
pub(super) const BLOCK: &str = "Mixed_";

/// The classifier beside an Inception V3 that only training needs.
pub(super) const AUXILIARY: &str = "AuxLogits.";

/// Our names of an Inception V3's blocks and of the layers before them, and PyTorch's.
const MODULES: [(&str, &str); 16] = [
    ("stem.conv1", "Conv2d_1a_3x3"),
    ("stem.conv2", "Conv2d_2a_3x3"),
    ("stem.conv3", "Conv2d_2b_3x3"),
    ("stem.conv4", "Conv2d_3b_1x1"),
    ("stem.conv5", "Conv2d_4a_3x3"),
    ("mixed0", "Mixed_5b"),
    ("mixed1", "Mixed_5c"),
    ("mixed2", "Mixed_5d"),
    ("mixed3", "Mixed_6a"),
    ("mixed4", "Mixed_6b"),
    ("mixed5", "Mixed_6c"),
    ("mixed6", "Mixed_6d"),
    ("mixed7", "Mixed_6e"),
    ("mixed8", "Mixed_7a"),
    ("mixed9", "Mixed_7b"),
    ("mixed10", "Mixed_7c"),
];

/// The prefixes of the names of all backbones in a file.
pub(super) fn prefixes(tensors: &Tensors) -> Vec<String> {
    let prefix = |name: &str| {
        let prefix = [LEGACY, ALIGNED, INCEPTION].into_iter().find_map(|known| name.strip_suffix(known))?;
        (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
    };
    tensors.names().filter_map(prefix).collect()
}

/// The backbone behind a prefix.
///
/// # Errors
/// [`Error::Weights`] if it has another number of blocks than those that are known.
pub(super) fn architecture(tensors: &Tensors, prefix: &str) -> Result<Architecture> {
    let has = |name: String| tensors.get(&format!("{prefix}{name}")).is_some();
    if has(LEGACY.to_owned()) {
        return Ok(Architecture::LegacyXception);
    }
    if has(INCEPTION.to_owned()) {
        return Ok(Architecture::TorchInceptionV3);
    }
    let blocks = (0..).take_while(|block| has(ALIGNED.replacen('0', &block.to_string(), 1))).count();
    Ok(match (blocks, has("blocks.0.norm.weight".to_owned())) {
        (13, false) => Architecture::Xception41,
        (21, false) => Architecture::Xception65,
        (23, false) => Architecture::Xception71,
        (13, true) => Architecture::Xception41p,
        (21, true) => Architecture::Xception65p,
        _ => {
            return Err(Error::Weights(format!(
                "its layers are named as those of timm's aligned Xceptions, which have 13, 21 or 23 blocks: it has {blocks}"
            )));
        }
    })
}

/// The names of each layer's arrays, with the layer's number; without a prefix.
pub(super) fn names(network: &Network, architecture: Architecture) -> Vec<(usize, Names)> {
    match architecture {
        _ if architecture.is_xception() => legacy(network),
        Architecture::Xception41p | Architecture::Xception65p => aligned(network, true),
        Architecture::InceptionV3 | Architecture::TorchInceptionV3 => inception(network),
        _ => aligned(network, false),
    }
}

/// The arrays of a batch norm, which we call `arrays`.
fn norm(arrays: [&'static str; 4], module: &str) -> Names {
    let names = ["weight", "bias", "running_mean", "running_var"].map(|name| format!("{module}.{name}"));
    arrays.into_iter().zip(names).collect()
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
        (index, [of_conv, norm(NORM, &of_norm)].concat())
    });
    named.collect()
}

/// Those of an Inception V3.
fn inception(network: &Network) -> Vec<(usize, Names)> {
    let layers = network.layers.iter().enumerate().filter(|(_, layer)| layer.batch_norm);
    let of_layer = |(index, layer): (usize, &Layer)| {
        let known = |(ours, theirs): &(&str, &str)| {
            let rest = layer.name.strip_prefix(ours).filter(|rest| rest.is_empty() || rest.starts_with('.'))?;
            Some(format!("{theirs}{rest}"))
        };
        let module = MODULES.iter().find_map(known).unwrap_or_default();
        (index, [conv(&format!("{module}.conv")), norm(NORM, &format!("{module}.bn"))].concat())
    };
    layers.map(of_layer).collect()
}

/// timm's aligned ones: our layers have the names of its modules. Where batch norm comes first, a layer's own is in the module behind it.
fn aligned(network: &Network, is_before: bool) -> Vec<(usize, Names)> {
    let of_layer = |(index, layer): (usize, &Layer)| {
        let name = &*layer.name;
        let mut arrays = match () {
            () if layer.is_separable() => separable(&format!("{name}.conv_dw"), &format!("{name}.conv_pw")),
            () if is_before && name != "stem.0" => conv(name),
            () => conv(&format!("{name}.conv")),
        };
        if layer.depthwise_norm {
            arrays.extend(norm(DEPTHWISE_NORM, &format!("{name}.bn_dw")));
        }
        if layer.batch_norm {
            let module = match () {
                () if !is_before && layer.is_separable() => format!("{name}.bn_pw"),
                () if !is_before || name == "stem.0" => format!("{name}.bn"),
                () => behind(name),
            };
            arrays.extend(norm(NORM, &module));
        }
        (index, arrays)
    };
    network.layers.iter().enumerate().map(of_layer).collect()
}

/// The batch norm of the module behind one: `blocks.3.stack.conv2.norm` behind `blocks.3.stack.conv1`, `blocks.4.norm` behind its last.
fn behind(name: &str) -> String {
    let number = |text: &str| text.parse::<usize>().unwrap_or_default();
    match name.strip_prefix("blocks.").and_then(|name| name.split_once(".stack.conv")) {
        Some((block, "3")) => format!("blocks.{}.norm", number(block) + 1),
        Some((block, place)) => format!("blocks.{block}.stack.conv{}.norm", number(place) + 1),
        None => "blocks.0.norm".to_owned(),
    }
}
