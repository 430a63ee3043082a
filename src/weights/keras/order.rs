//! The orders in which Keras numbers the layers of a network that has branches.

use crate::network::Network;
use crate::network::layer::{Layer, Operation, ValueId};

/// The layers with arrays as they are made, which is the order of the table.
pub(super) fn by_creation(network: &Network) -> Vec<usize> {
    (0..network.layers.len()).filter(|&layer| network.layers[layer].batch_norm).collect()
}

/// The layers with arrays in the order of `model.layers`: by the longest way to the end, those of the same depth as they are made.
pub(super) fn by_depth(network: &Network) -> Vec<usize> {
    let layers = &network.layers;
    // The depth of each layer's first node; a convolution has its batch norm and activation behind it.
    let mut depths = vec![0; layers.len()];
    for (at, layer) in layers.iter().enumerate().rev() {
        let nodes = if layer.batch_norm { 3 } else { 1 };
        let readers = (at + 1..layers.len()).filter(|&reader| reads(layers, reader, at + 1));
        // Two parts side by side are joined before the block.
        let joined = usize::from(is_forked(layers, at));
        depths[at] = nodes + joined + readers.map(|reader| depths[reader]).max().unwrap_or_default();
    }
    let mut order = by_creation(network);
    order.sort_by_key(|&layer| std::cmp::Reverse(depths[layer]));
    order
}

/// Whether a layer reads a value; a concatenation reads its parts.
fn reads(layers: &[Layer], reader: usize, value: ValueId) -> bool {
    let is_concat = |&at: &usize| layers[at].operation == Operation::Concat;
    let is_part = layers[value - 1].slice.is_some() && (value..layers.len()).find(is_concat) == Some(reader);
    is_part || (layers[reader].from == value && layers[reader].operation != Operation::Concat)
}

/// Whether a part of a concatenation is one of two that read the same, beside each other.
fn is_forked(layers: &[Layer], at: usize) -> bool {
    let beside = [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(|at| layers.get(at));
    let is_other = |other: &Layer| other.slice.is_some() && other.from == layers[at].from;
    layers[at].slice.is_some() && beside.filter(|other| other.operation != Operation::Concat).any(is_other)
}
