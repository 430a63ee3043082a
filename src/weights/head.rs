//! A trained head: layers behind the backbone with their arrays, brought to what the kernels read.
//!
//! A batch norm is `x · scale + shift` for each channel. It is folded into a dense layer right before it, or into the next one behind
//! it where only means and Flatten lie between: there it is exact. Elsewhere it stays a layer of its own.

use super::assumed::{Assumption, FINAL_ACTIVATION, HIDDEN_ACTIVATION, ORDER, POOLING, untold};
use super::fold::{Gains, finite};
use super::safetensors::Meta;
use crate::error::{Error, Result};
use crate::network::activation::Function;
use crate::network::head::{self, HeadLayer, Output};
use crate::network::layer::{GlobalPool, Layer, Operation, Shape};

/// A trained layer.
#[derive(Clone, Debug)]
pub(super) struct Trained {
    pub layer: HeadLayer,
    pub arrays: Arrays,
}

/// The arrays of a trained layer.
#[derive(Clone, Debug)]
pub(super) enum Arrays {
    None,
    /// A dense layer's kernel, `[in, out]`, and its bias.
    Dense {
        kernel: Vec<f32>,
        bias: Vec<f32>,
    },
    /// Scale and shift of each channel.
    ScaleShift {
        scale: Vec<f64>,
        shift: Vec<f64>,
    },
    /// The slopes of a PReLU.
    Slope(Vec<f32>),
}

impl Trained {
    /// A layer without arrays.
    pub(super) fn plain(name: impl Into<String>, operation: Operation) -> Self {
        Self { layer: HeadLayer::new(name, operation), arrays: Arrays::None }
    }

    /// An activation function.
    pub(super) fn activation(name: impl Into<String>, function: Function) -> Self {
        let layer = HeadLayer { activation: Some(function), ..HeadLayer::new(name, Operation::Activation) };
        Self { layer, arrays: Arrays::None }
    }

    /// A dense layer; one without a bias has an empty one.
    pub(super) fn dense(name: impl Into<String>, units: usize, kernel: Vec<f32>, mut bias: Vec<f32>) -> Self {
        bias.resize(units, 0.0);
        Self { layer: HeadLayer::dense(name, units, None), arrays: Arrays::Dense { kernel, bias } }
    }

    /// A PReLU.
    pub(super) fn prelu(name: impl Into<String>, is_shared: bool, slope: Vec<f32>) -> Self {
        Self { layer: HeadLayer::new(name, Operation::Prelu { is_shared }), arrays: Arrays::Slope(slope) }
    }

    /// The shape of its result.
    pub(super) fn output(&self, input: Shape) -> Shape {
        self.layer.operation.output(input, self.layer.units)
    }

    /// A batch norm, by gamma and beta, which may be missing, and by mean and variance.
    pub(super) fn batch_norm(
        name: impl Into<String>,
        epsilon: f64,
        trained: [Option<Vec<f32>>; 2],
        statistics: [Vec<f32>; 2],
    ) -> Self {
        let Gains { gains: scale, shifts: shift } = Gains::new(epsilon, trained, statistics);
        Self { layer: HeadLayer::new(name, Operation::ScaleShift), arrays: Arrays::ScaleShift { scale, shift } }
    }
}

/// The input of a head: the backbone's last activation, and the pooling that a model has behind it.
#[derive(Clone, Debug)]
pub struct Prefix {
    features: Shape,
    /// Layers without arrays that make a vector of it; none where that is not known.
    layers: Vec<HeadLayer>,
    /// Whether a file tells how features become a vector.
    is_told: bool,
}

impl Prefix {
    /// The backbone's last activation alone.
    pub fn none(features: Shape) -> Self {
        Self { features, layers: Vec::new(), is_told: false }
    }

    /// A model's pooling, if it has one.
    ///
    /// # Errors
    /// As [`Meta::network`].
    pub fn of(meta: &Meta) -> Result<Self> {
        let features = meta.network()?.features();
        let mut layers = meta.head.clone();
        let has_arrays = |layer: &HeadLayer| matches!(layer.operation, Operation::ScaleShift | Operation::Prelu { .. });
        match layers.iter().position(|layer| layer.operation.makes_vector()) {
            Some(last) if !layers[..last].iter().any(has_arrays) => layers.truncate(last + 1),
            _ => layers.clear(),
        }
        let is_told = !layers.is_empty() && meta.assumed.iter().all(|assumption| assumption.name != POOLING);
        Ok(Self { features, layers, is_told })
    }

    /// The shape of the backbone's last activation.
    pub(super) fn features(&self) -> Shape {
        self.features
    }

    /// Whether a file tells how features become a vector.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// The head itself begins with the backbone's last activation.
    pub(super) fn replace(&mut self) {
        self.is_told = true;
    }

    /// The layers that make a vector: the mean where none is known.
    pub(super) fn pooled(&self) -> Vec<Trained> {
        let average = [HeadLayer::average()];
        let layers = if self.layers.is_empty() { &average[..] } else { &self.layers };
        layers.iter().map(|layer| Trained { layer: layer.clone(), arrays: Arrays::None }).collect()
    }

    /// The length of the vector that [`Self::pooled`] makes.
    pub(super) fn pooled_len(&self) -> usize {
        self.pooled().iter().fold(self.features, |shape, trained| trained.output(shape)).len()
    }
}

/// The layers behind the backbone.
#[derive(Clone, Debug)]
pub struct Head {
    /// The layers.
    pub layers: Vec<HeadLayer>,
    /// The kind of the last one's values.
    pub output: Output,
    /// Whether the model returns logits, to which softmax or sigmoid is applied here.
    pub is_logits: bool,
    /// Their tensors.
    pub tensors: Vec<Vec<f32>>,
    /// Facts that its file does not tell.
    pub assumed: Vec<Assumption>,
}

/// The head as its file has it.
pub(super) struct Told {
    /// Whether the file tells how features are pooled.
    pub pooling: bool,
    /// Whether it tells the order of the dense layers.
    pub order: bool,
    /// Whether it tells the activation between them.
    pub hidden_activation: bool,
    /// The kind of the last values, if it tells that.
    pub output: Option<Output>,
    /// Whether the model returns logits.
    pub is_logits: bool,
    /// The assumed output of a single value.
    pub single: Output,
}

impl Head {
    /// The head of some layers behind `features`.
    ///
    /// # Errors
    /// [`Error::Weights`] if the layers do not follow one another.
    pub(super) fn new(features: Shape, trained: Vec<Trained>, told: Told) -> Result<Self> {
        let is_activation = |trained: &Trained| trained.layer.operation == Operation::Activation;
        let hidden = if trained.iter().any(is_activation) { "ReLU" } else { "none" };
        let (layers, tensors) = assemble(features, trained)?;
        let dense = || layers.iter().filter(|layer| layer.operation == Operation::Dense);
        let units = dense().next_back().map(|layer| layer.units);
        let assumption = match units {
            None => Output::Features,
            Some(1) => told.single,
            Some(_) => Output::Softmax,
        };
        let output = told.output.unwrap_or(assumption);
        let names: Vec<&str> = dense().map(|dense| &*dense.name).collect();
        let assumed = untold([
            (told.pooling || layers.is_empty(), POOLING, "average".to_owned()),
            (told.order, ORDER, names.join(", ")),
            (told.hidden_activation || names.len() < 2, HIDDEN_ACTIVATION, hidden.to_owned()),
            (told.output.is_some() || names.is_empty(), FINAL_ACTIVATION, output.to_string()),
        ]);
        Ok(Self { layers, output, is_logits: told.is_logits && output != Output::Features, tensors, assumed })
    }
}

/// Layers with their tensors, batch norms folded and activations put behind dense layers.
fn assemble(features: Shape, mut trained: Vec<Trained>) -> Result<(Vec<HeadLayer>, Vec<Vec<f32>>)> {
    // Names are those of a model in a model, which both may use.
    for at in 0..trained.len() {
        let (before, rest) = trained.split_at_mut(at);
        let name = &mut rest[0].layer.name;
        let is_taken = |name: &str| before.iter().any(|other| other.layer.name == name);
        if is_taken(name) {
            *name = (2..).map(|number| format!("{name}_{number}")).find(|name| !is_taken(name)).unwrap_or_default();
        }
    }
    let shapes = check(features, &trained)?;
    let mut keep = vec![true; trained.len()];
    for (keep, Trained { layer, .. }) in keep.iter_mut().zip(&trained) {
        match layer.operation {
            Operation::GlobalPool(_) | Operation::MaxPool(_) | Operation::AveragePool(_) | Operation::Flatten => {}
            // The backbone's values are positive already.
            Operation::Activation if layer.activation == Some(Function::Relu) => *keep = false,
            _ => break,
        }
    }
    for at in 0..trained.len() {
        let Arrays::ScaleShift { scale, shift } = trained[at].arrays.clone() else { continue };
        let is_linear = |trained: &Trained| {
            let operation = trained.layer.operation;
            matches!(
                operation,
                Operation::Flatten | Operation::AveragePool(_) | Operation::GlobalPool(GlobalPool::Average)
            )
        };
        let next = (at + 1..trained.len()).find(|&next| keep[next] && !is_linear(&trained[next]));
        let before = (0..at).rfind(|&before| keep[before]);
        if let Some(before) = before
            && let Arrays::Dense { kernel, bias } = &mut trained[before].arrays
        {
            for row in kernel.chunks_exact_mut(scale.len()) {
                row.iter_mut().zip(&scale).for_each(|(value, scale)| *value = (f64::from(*value) * scale) as f32);
            }
            for ((bias, scale), shift) in bias.iter_mut().zip(&scale).zip(&shift) {
                *bias = (f64::from(*bias) * scale + shift) as f32;
            }
            keep[at] = false;
        } else if let Some(next) = next
            && let Arrays::Dense { kernel, bias } = &mut trained[next].arrays
        {
            let units = bias.len();
            let mut sums: Vec<f64> = bias.iter().map(|&bias| bias.into()).collect();
            for (input, row) in kernel.chunks_exact_mut(units).enumerate() {
                let (scale, shift) = (scale[input % scale.len()], shift[input % shift.len()]);
                for (value, sum) in row.iter_mut().zip(&mut sums) {
                    *sum += f64::from(*value) * shift;
                    *value = (f64::from(*value) * scale) as f32;
                }
            }
            *bias = sums.into_iter().map(|sum| sum as f32).collect();
            keep[at] = false;
        }
    }
    let (mut layers, mut tensors): (Vec<HeadLayer>, _) = (Vec::new(), Vec::new());
    for ((trained, shape), _) in trained.into_iter().zip(&shapes).zip(keep).filter(|(_, keep)| *keep) {
        let Trained { layer, arrays } = trained;
        if layer.operation == Operation::Activation
            && let Some(dense) = layers.last_mut()
            && dense.operation == Operation::Dense
            && dense.activation.is_none()
        {
            dense.activation = layer.activation;
            continue;
        }
        let pad = |mut values: Vec<f32>| {
            values.resize(values.len().next_multiple_of(4), 0.0);
            values
        };
        let narrow = |values: Vec<f64>| pad(values.into_iter().map(|value| value as f32).collect());
        let new = match arrays {
            Arrays::None => vec![],
            Arrays::Dense { kernel, bias } => vec![rows(shape, &kernel), pad(bias)],
            Arrays::ScaleShift { scale, shift } => vec![narrow(scale), narrow(shift)],
            Arrays::Slope(slope) => vec![pad(slope)],
        };
        for values in new {
            tensors.push(finite(&layer.name, values)?);
        }
        layers.push(layer);
    }
    Ok((layers, tensors))
}

/// The shapes of trained layers, whose arrays fit them.
fn check(features: Shape, trained: &[Trained]) -> Result<Vec<Layer>> {
    let layers: Vec<HeadLayer> = trained.iter().map(|trained| trained.layer.clone()).collect();
    let layers = head::layers(features, &layers)?;
    for (Trained { layer, arrays }, shape) in trained.iter().zip(&layers) {
        let (input, output) = (shape.input, shape.output);
        let fits = match arrays {
            Arrays::None => true,
            Arrays::Dense { kernel, bias } => kernel.len() == input.len() * output.len() && bias.len() == output.len(),
            Arrays::ScaleShift { scale, shift } => scale.len() == input.channels && shift.len() == input.channels,
            Arrays::Slope(slope) => shape.parameters()[0].1 == [slope.len()],
        };
        if !fits {
            return Err(Error::Weights(format!(
                "the arrays of {} do not fit the {input} values that it reads",
                layer.name
            )));
        }
    }
    Ok(layers)
}

/// Whether at most one of some dense layers, `(inputs, units)`, can come next: one that takes `features`, and behind which another
/// can follow if any is left.
pub(super) fn is_one_way(left: &[(usize, usize)], features: usize) -> bool {
    let goes_on = |&(at, &(inputs, units)): &(usize, &(usize, usize))| {
        let follows = |(other, &(inputs, _)): (usize, &(usize, usize))| other != at && inputs == units;
        inputs == features && (left.len() == 1 || left.iter().enumerate().any(follows))
    };
    left.iter().enumerate().filter(goes_on).count() < 2
}

/// A kernel, `[in, out]`, as a row for each output, padded with zeros.
fn rows(layer: &Layer, kernel: &[f32]) -> Vec<f32> {
    let (outputs, row) = (layer.output.len(), layer.input.stored());
    let mut rows = vec![0.0; outputs * row];
    for (input, values) in kernel.chunks_exact(outputs).enumerate() {
        for (output, &value) in values.iter().enumerate() {
            rows[output * row + input] = value;
        }
    }
    rows
}
