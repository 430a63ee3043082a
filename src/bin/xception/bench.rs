//! `xception bench`: how long loading and a photo take on this machine's GPU or CPU.

use std::time::Instant;

use serde_json::{Value, json};
use xception::classifier::Classifier;
use xception::cpu;
use xception::profile::Profile;
use xception::resize::Rgba;

use crate::model::Model;
use crate::profile::table;
use crate::{Failure, Run, about, megabytes, print};

/// Width and height of the photo: what a page shows. Its pixels do not matter.
const PHOTO: [usize; 2] = [640, 480];

/// Loads a model, runs it `runs` times on `batch` photos at once and prints what that took; each pass too if asked.
pub async fn bench(run: &Run, runs: usize, batch: usize, layers: bool) -> Result<(), Failure> {
    let failed = about::<xception::error::Error>(&run.model);
    let start = Instant::now();
    let mut model = run.load(batch).await?;
    if let Model::Gpu(classifier) = &mut model {
        let most = classifier.max_batch();
        if batch > most {
            return Err(format!("--batch {batch} is more than the {most} photos that this GPU computes at once"));
        }
        if batch > 1 {
            classifier.reserve(batch).await.map_err(&failed)?;
        }
        classifier.warm_up().await.map_err(&failed)?;
    } else if layers {
        return Err("passes are those of a GPU: leave out --layers".to_owned());
    }
    let load_ms = start.elapsed().as_secs_f64() * 1e3;

    let [width, height] = PHOTO;
    let pixels = (0..width * height * 4).map(|i| (i * 31 % 251) as u8).collect();
    let photos = vec![Rgba::new(width, height, pixels).map_err(|error| error.to_string())?; batch];
    let first = once(&mut model, &photos).await.map_err(&failed)?;
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(once(&mut model, &photos).await.map_err(&failed)?);
    }
    times.sort_by(f64::total_cmp);
    let (min, median, max) = (times[0], times[runs / 2], times[runs - 1]);
    let macs = model.network().macs();
    let (backend, backend_lines) = match &model {
        Model::Gpu(classifier) => on_gpu(classifier, batch, macs).await.map_err(&failed)?,
        Model::Cpu(classifier) => on_cpu(classifier),
    };
    let profile = match &model {
        Model::Gpu(classifier) if layers => Some(Profile::new(classifier, batch, 3).await.map_err(&failed)?),
        _ => None,
    };
    let (dtype, [rows, columns]) = (model.storage(), model.meta().input_size);
    if run.json {
        let mut json = json!({
            "dtype": dtype, "inputSize": [rows, columns], "batch": batch, "loadMs": load_ms, "firstMs": first,
            "runs": runs, "ms": {"median": median, "min": min, "max": max}, "layers": profile,
        });
        if let (Value::Object(json), Value::Object(backend)) = (&mut json, backend) {
            json.extend(backend);
        }
        print(&json.to_string());
        return Ok(());
    }
    let each = if batch > 1 { format!(", {:.2} ms each", median / batch as f64) } else { String::new() };
    let lines = [
        backend_lines,
        format!("model       input {rows}×{columns}, {:.3} GMAC, stored as {dtype}", macs as f64 / 1e9),
        format!("load        {load_ms:.0} ms"),
        format!("first       {first:.2} ms"),
        format!(
            "photos      {batch} in {median:.2} ms (median of {runs}; {min:.2} to {max:.2}){each}, upload to answer"
        ),
    ];
    print(&lines.join("\n"));
    if let Some(profile) = profile {
        print(&format!("\n{}", table(&profile)));
    }
    Ok(())
}

/// What there is to tell of a GPU, as JSON and as lines.
async fn on_gpu(classifier: &Classifier, batch: usize, macs: u64) -> xception::error::Result<(Value, String)> {
    let engine = classifier.engine(batch);
    let ms = engine.time(.., batch).await?.as_secs_f64() * 1e3;
    let gflops = 2.0 * (macs * batch as u64) as f64 / ms / 1e6;
    let (info, bytes) = (&classifier.gpu().info, classifier.gpu_bytes());
    let (dispatches, pipelines) = (engine.runner.dispatches() + 2, engine.runner.pipelines() + 2);
    let json = json!({
        "adapter": info.name, "driver": info.driver, "driverInfo": info.driver_info,
        "backend": info.backend.to_string(), "gpuMs": ms, "gflops": gflops,
        "dispatches": dispatches, "pipelines": pipelines, "gpuBytes": bytes,
    });
    let lines = [
        format!("adapter     {} ({}, {} {})", info.name, info.backend, info.driver, info.driver_info),
        format!("GPU memory  {} MB", megabytes(bytes)),
        format!("dispatches  {dispatches}, of {pipelines} pipelines"),
        format!("network     {ms:.2} ms, {gflops:.1} GFLOP/s"),
    ];
    Ok((json, lines.join("\n")))
}

/// The same of a CPU.
fn on_cpu(classifier: &cpu::Classifier) -> (Value, String) {
    let (name, bytes) = (classifier.name(), classifier.bytes());
    let lines = format!("CPU         {name}\nmemory      {} MB", megabytes(bytes));
    (json!({"backend": "cpu", "adapter": name, "bytes": bytes}), lines)
}

/// Milliseconds from the pixels of some photos to their five classes.
async fn once(model: &mut Model, photos: &[Rgba]) -> xception::error::Result<f64> {
    let start = Instant::now();
    model.classify_batch(photos, 5).await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
