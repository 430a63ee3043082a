//! The arrays of the backbone: of the layers that the config has in the places of the network's table, or else as the files' own names
//! and numbers tell.

use std::collections::BTreeMap;

use super::super::fold::fold;
use super::config::{Config, EPSILON, Place, Places};
use super::layers::{Found, Kind, Layers};
use super::order::{by_creation, by_depth};
use crate::error::Result;
use crate::network::Network;
use crate::network::layer::{Layer, NORM};

/// The folded tensors of all convolutions.
pub(super) fn backbone(network: &Network, layers: &Layers, config: &Config) -> Result<Vec<Vec<f32>>> {
    let all: Vec<&Layer> = network.layers.iter().filter(|layer| layer.batch_norm).collect();
    let placed = |(layer, places): (&&Layer, &Places)| {
        let find = |kind, place: &Place| layers.find(kind, &place.group, &place.name).cloned();
        let conv = match &places.depthwise {
            None if layer.is_separable() => find(Kind::SeparableConv, &places.conv)?,
            None => find(Kind::Conv, &places.conv)?,
            // Keras 3 calls both kernels `kernel` where arrays have names.
            Some(depthwise) => joined(
                find(Kind::SeparableConv, depthwise).or_else(|| find(Kind::Conv, depthwise))?,
                find(Kind::Conv, &places.conv)?,
            ),
        };
        Some([conv, find(Kind::BatchNorm, &places.norm)?])
    };
    let placed: Option<Vec<_>> = all.iter().zip(&config.places).map(placed).collect();
    let found = match placed.filter(|placed| placed.len() == all.len()) {
        Some(placed) => placed,
        None if all.iter().any(|layer| layer.is_separable()) => counted(&all, layers)?,
        None => numbered(network, layers)?,
    };
    let epsilon = config.epsilon.unwrap_or(EPSILON);
    let mut tensors = Vec::new();
    for (layer, [conv, norm]) in all.iter().zip(found) {
        let [conv, norm] = [&conv, &without_gamma(norm)];
        tensors.extend(fold(layer, epsilon, |name| {
            layers.array_of(layer, if conv.arrays.contains_key(name) { conv } else { norm }, name)
        })?);
    }
    Ok(tensors)
}

/// The halves of a separable convolution as one.
fn joined(depthwise: Found, pointwise: Found) -> Found {
    let depthwise = depthwise.arrays.into_iter().map(|(name, array)| match name {
        "bias" => ("depthwise_bias", array),
        _ => ("depthwise_kernel", array),
    });
    let arrays = pointwise.arrays.into_iter().map(|(name, array)| match name {
        "kernel" => ("pointwise_kernel", array),
        _ => (name, array),
    });
    Found { arrays: depthwise.chain(arrays).collect(), ..pointwise }
}

/// A batch norm whose arrays have their names where it has no gamma: Keras 3 numbers those that there are.
fn without_gamma(mut norm: Found) -> Found {
    if !norm.arrays.contains_key("moving_variance") {
        let arrays: Vec<_> = NORM.iter().filter_map(|name| norm.arrays.remove(name)).collect();
        norm.arrays = NORM[1..].iter().copied().zip(arrays).collect();
    }
    norm
}

/// The convolution and batch norm of each layer of an Inception V3, by their numbers.
fn numbered(network: &Network, layers: &Layers) -> Result<Vec<[Found; 2]>> {
    let is_by_depth = layers.of(Kind::Conv).first().is_some_and(|found| found.path.contains("/layers/"));
    let order = if is_by_depth { by_depth(network) } else { by_creation(network) };
    let names = vec![None; order.len()];
    let convs = layers.matched(Kind::Conv, "convolutions", &names, "InceptionV3")?;
    let norms = layers.matched(Kind::BatchNorm, "batch norms", &names, "InceptionV3")?;
    let mut found: Vec<_> = order.into_iter().zip(convs.into_iter().zip(norms)).collect();
    found.sort_by_key(|(layer, _)| *layer);
    Ok(found.into_iter().map(|(_, (conv, norm))| [conv, norm]).collect())
}

/// The convolution and batch norm of each layer, by the names that Keras gives them, or else by number.
fn counted(all: &[&Layer], layers: &Layers) -> Result<Vec<[Found; 2]>> {
    let (separable, plain): (Vec<&Layer>, Vec<&Layer>) = all.iter().partition(|layer| layer.is_separable());
    let mut norm_order = all.to_vec();
    if layers.of(Kind::BatchNorm).iter().any(|found| found.name.starts_with("batchnormalization")) {
        // Keras 1: the shortcut's comes before the block's two.
        for at in 2..norm_order.len() {
            if norm_order[at].is_pointwise() {
                norm_order[at - 2..=at].rotate_right(1);
            }
        }
    }
    let found = |kind, what, order: &[&'_ Layer], ending| -> Result<BTreeMap<String, Found>> {
        // Keras gives shortcuts no names, KerasHub does.
        let name = |layer: &&Layer| {
            let residual =
                format!("{}_residual_{}", layer.section.block, if kind == Kind::Conv { "conv" } else { "bn" });
            let is_named = layers.of(kind).iter().any(|found| found.name == residual);
            if layer.is_pointwise() { is_named.then_some(residual) } else { Some(format!("{}{ending}", layer.name)) }
        };
        let names: Vec<Option<String>> = order.iter().map(name).collect();
        let found = layers.matched(kind, what, &names, "Xception")?;
        Ok(order.iter().map(|layer| layer.name.clone()).zip(found).collect())
    };
    let mut kernels = found(Kind::SeparableConv, "separable convolutions", &separable, "")?;
    kernels.extend(found(Kind::Conv, "other convolutions", &plain, "")?);
    let norms = found(Kind::BatchNorm, "batch norms", &norm_order, "_bn")?;

    let both = |layer: &&Layer| Some([kernels.get(&layer.name)?.clone(), norms.get(&layer.name)?.clone()]);
    Ok(all.iter().filter_map(both).collect())
}
