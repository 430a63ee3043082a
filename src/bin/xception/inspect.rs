//! `xception inspect`: a model's layers, and what becomes of a photo.

use std::path::Path;

use xception::backend::gpu::Preprocessor;
use xception::dtype::Dtype;
use xception::network::Network;
use xception::plan::Plan;
use xception::resize::Preprocessing;
use xception::tile::{GpuKind, Tuning};
use xception::weights::assumed::Assumption;
use xception::weights::safetensors::Header;

use crate::options::Options;
use crate::{Failure, about, megabytes, print, read_model, remedy};

/// The outputs of a network: `7 classes`, `1 output (linear)`.
pub fn outputs(network: &Network) -> String {
    match (network.classes(), network.outputs()) {
        (0, 1) => format!("1 output ({})", network.output),
        (0, outputs) => format!("{outputs} outputs ({})", network.output),
        (classes, _) => format!("{classes} classes"),
    }
}

/// The normalisation of a pixel: `RGB: level · 0.0078 − 1`.
pub fn normalisation(preprocessing: &Preprocessing) -> String {
    let Preprocessing { scale, offset, bgr, .. } = preprocessing;
    let step = |c: usize| {
        let sign = if offset[c] < 0.0 { '−' } else { '+' };
        format!("level · {} {sign} {}", scale[c], offset[c].abs())
    };
    let all = [0, 1, 2].map(step);
    let order = if *bgr { "BGR" } else { "RGB" };
    if all.iter().all(|other| *other == all[0]) {
        format!("{order}: {}", all[0])
    } else {
        format!("{order}: {}", all.join(", "))
    }
}

/// Prints a model's layers and everything else about it.
pub fn inspect(path: &Path, options: &Options) -> Result<(), Failure> {
    let file = read_model(path, options.overrides()?)?;
    let Header { meta, network, dtype, .. } = Header::parse(&file).map_err(about(path))?;
    let plan = |storage, kind| Plan::new(&network, storage, &Tuning::untuned(kind), 1);
    let gpu = GpuKind::default();
    let [plan, half, software] = [plan(Dtype::F32, gpu), plan(Dtype::F16, gpu), plan(Dtype::F32, GpuKind::Software)];
    let width = network.layers.iter().map(|layer| layer.name.chars().count()).max().unwrap_or_default().max(18);
    let mut lines =
        vec![format!("{:<width$} {:>13} {:>13} {:>12} {:>9}", "layer", "input", "output", "parameters", "MMAC")];
    for layer in &network.layers {
        let parameters: usize = layer.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let macs = layer.macs() as f64 / 1e6;
        lines.push(format!(
            "{:<width$} {:>13} {:>13} {parameters:>12} {macs:>9.1}",
            layer.name, layer.input, layer.output
        ));
    }
    let [height, width] = meta.input_size;
    let labels = if meta.labels.is_empty() { "none".to_owned() } else { meta.labels.len().to_string() };
    let preprocessing = meta.preprocessing;
    let assumed = meta.assumed.iter().map(|assumption| {
        let Assumption { name, value } = assumption;
        format!("assumed      {name}: {value}; {}", remedy(assumption))
    });
    lines.extend([
        String::new(),
        format!("network      {}", meta.architecture),
        format!("source       {}", meta.source.kind),
        format!("sha256       {}", meta.source.sha256),
        format!("licence      {}", if meta.source.license.is_empty() { "not stated" } else { &meta.source.license }),
        format!("input        {height}×{width}, {}, {}", preprocessing.filter, preprocessing.fit)
            + &if preprocessing.crop == 1.0 { String::new() } else { format!(" to {}", preprocessing.crop) },
        format!("pixels       {}", normalisation(&preprocessing)),
        format!("output       {}, {}, labels: {labels}", network.output, outputs(&network))
            + if meta.is_logits { "; the model itself gives logits" } else { "" },
        format!("parameters   {}", network.parameter_count()),
        format!("GMAC         {:.3}", network.macs() as f64 / 1e9),
        format!(
            "passes       {}, on software adapters {}; and {} to resize the photo",
            plan.passes.len(),
            software.passes.len(),
            Preprocessor::pipelines(preprocessing, meta.input_size, Dtype::F32).len()
        ),
        format!("safetensors  {} MB as {dtype}", megabytes(file.len() as u64)),
        format!(
            "GPU weights  {} MB as f32, {} MB as f16",
            megabytes(plan.weight_bytes()),
            megabytes(half.weight_bytes())
        ),
        format!(
            "GPU slots    {}: {} MB as f32, {} MB as f16",
            plan.slots.len(),
            megabytes(plan.activation_bytes()),
            megabytes(half.activation_bytes())
        ),
    ]);
    lines.extend(assumed);
    print(&lines.join("\n"));
    Ok(())
}
