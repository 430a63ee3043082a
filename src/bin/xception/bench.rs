//! `xception bench`: how long loading and a photo take on this machine's GPU.

use std::time::Instant;

use serde_json::json;
use xception::classifier::Classifier;
use xception::resize::Rgba;

use crate::{Failure, Run, about, megabytes, print};

/// Width and height of the photo: what a page shows. Its pixels do not matter.
const PHOTO: [usize; 2] = [640, 480];

/// Loads a model, runs it `runs` times and prints what that took.
pub async fn bench(run: &Run, runs: usize) -> Result<(), Failure> {
    let start = Instant::now();
    let mut classifier = run.load().await?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;

    let [width, height] = PHOTO;
    let pixels = (0..width * height * 4).map(|i| (i * 31 % 251) as u8).collect();
    let photo = Rgba::new(width, height, pixels).map_err(|error| error.to_string())?;
    let first = once(&mut classifier, &photo).await.map_err(about(&run.model))?;
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(once(&mut classifier, &photo).await.map_err(about(&run.model))?);
    }
    times.sort_by(f64::total_cmp);
    let (min, median, max) = (times[0], times[runs / 2], times[runs - 1]);

    let (plan, runner, info) = (classifier.plan(), classifier.runner(), &classifier.gpu().info);
    let macs = classifier.meta().network().map_err(about(&run.model))?.macs();
    let gflops = 2.0 * macs as f64 / median / 1e6;
    let bytes = plan.weight_bytes() + plan.activation_bytes();
    let (dispatches, pipelines) = (runner.dispatches() + 2, runner.pipelines() + 2);
    if run.json {
        print(
            &json!({
                "adapter": info.name, "driver": info.driver, "driverInfo": info.driver_info,
                "backend": info.backend.to_string(), "dtype": plan.storage, "inputSize": classifier.meta().input_size,
                "loadMs": load_ms, "firstMs": first, "runs": runs,
                "ms": {"median": median, "min": min, "max": max}, "gflops": gflops,
                "dispatches": dispatches, "pipelines": pipelines, "gpuBytes": bytes,
            })
            .to_string(),
        );
        return Ok(());
    }
    let [rows, columns] = classifier.meta().input_size;
    let lines = [
        format!("adapter     {} ({}, {} {})", info.name, info.backend, info.driver, info.driver_info),
        format!("model       input {rows}×{columns}, {:.3} GMAC, stored as {}", macs as f64 / 1e9, plan.storage),
        format!("GPU memory  {} MB", megabytes(bytes)),
        format!("dispatches  {dispatches}, of {pipelines} pipelines"),
        format!("load        {load_ms:.0} ms"),
        format!("first       {first:.2} ms"),
        format!("photo       {median:.2} ms (median of {runs}; {min:.2} to {max:.2}), upload to answer"),
        format!("            {gflops:.1} GFLOP/s"),
    ];
    print(&lines.join("\n"));
    Ok(())
}

/// Milliseconds from the pixels of a photo to its five classes.
async fn once(classifier: &mut Classifier, photo: &Rgba) -> xception::error::Result<f64> {
    let start = Instant::now();
    classifier.upload(photo).await?;
    classifier.classify(5).await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
