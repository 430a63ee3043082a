//! `xception compare`: the first layer whose activations are not those of an oracle.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use xception::backend::Readback;
use xception::classifier::Classifier;
use xception::dtype::Dtype;

use crate::model::Device;
use crate::{Failure, Run, about, print, read_photo};

/// How far values may be apart: this much, and this share of the oracle's.
#[derive(Clone, Copy, clap::Args)]
pub struct Tolerance {
    /// How far values may be apart.
    #[arg(long, default_value_t = 1e-3)]
    atol: f32,
    /// Relative tolerance: a share of the oracle's value, added to `--atol`.
    #[arg(long, default_value_t = 1e-3)]
    rtol: f32,
}

/// Compares layers in their order with the tensors of their names in a safetensors file, the first of which may be `input`, until
/// one is off; whether none is.
pub async fn compare<D: Device>(
    run: &Run,
    device: &D,
    against: &Path,
    photo: &Path,
    tolerance: Tolerance,
) -> Result<bool, Failure> {
    let oracle = fs::read(against).map_err(about(against))?;
    let oracle = SafeTensors::deserialize(&oracle).map_err(about(against))?;
    let pixels = read_photo(photo, run.limits())?;
    let mut model = run.load(device, 1).await?;
    let failed = about::<xception::error::Error>(&run.model);
    model.upload(&pixels).await.map_err(&failed)?;
    let layers: Vec<(String, Vec<usize>)> = model
        .network()
        .readable()
        .map(|(name, shape)| (name.to_owned(), vec![shape.height, shape.width, shape.channels]))
        .collect();
    let [height, width] = model.meta().input_size;
    let names = [("input".to_owned(), vec![height, width, 3])].into_iter().chain(layers);
    print(&format!("{:<18} {:>16} {:>12} {:>12}", "layer", "shape", "largest", "mean error"));
    let mut compared = 0;
    for (name, shape) in names {
        let Ok(tensor) = oracle.tensor(&name) else { continue };
        if tensor.dtype() != safetensors::Dtype::F32 {
            return Err(format!("{}: {name} is {:?}: store f32", against.display(), tensor.dtype()));
        }
        let without_ones = |shape: &[usize]| shape.iter().copied().filter(|&length| length != 1).collect::<Vec<_>>();
        if without_ones(tensor.shape()) != without_ones(&shape) {
            let (theirs, path) = (tensor.shape(), against.display());
            return Err(format!("{path}: {name} has the shape {theirs:?}, and in the model {shape:?}"));
        }
        let expected = Dtype::F32.decode(tensor.data());
        let values = activations(&mut model, &name).await.map_err(&failed)?;
        let errors = || values.iter().zip(&expected).map(|(value, expected)| (value - expected).abs());
        let (largest, mean) = (errors().fold(0.0, f32::max), errors().sum::<f32>() / expected.len() as f32);
        print(&format!("{name:<18} {:>16} {largest:>12.3e} {mean:>12.3e}", format!("{shape:?}")));
        compared += 1;
        let off = |(error, expected): &(f32, &f32)| {
            // NaN is off too.
            error.is_nan() || *error > tolerance.atol + tolerance.rtol * expected.abs()
        };
        if let Some(place) = errors().zip(&expected).position(|pair| off(&pair)) {
            let (value, expected) = (values[place], expected[place]);
            print(&format!("{name} is the first that is off: value {place} is {value} instead of {expected}"));
            return Ok(false);
        }
    }
    if compared == 0 {
        return Err(format!("{}: no tensor is called input or as a layer of the model", against.display()));
    }
    print(&format!("all {compared} agree"));
    Ok(true)
}

/// The activations of a layer; those of `input` are `[height][width][3]`.
async fn activations<D: Device>(model: &mut Classifier<D>, name: &str) -> xception::error::Result<Vec<f32>> {
    if name != "input" {
        return model.activations(name)?.read().await;
    }
    let values = model.input().await?;
    Ok(values.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect())
}
