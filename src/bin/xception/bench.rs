//! `xception bench`: how long loading and a photo take on this machine's GPU.

use std::time::Instant;

use serde_json::json;
use xception::classifier::Classifier;
use xception::profile::Profile;
use xception::resize::Rgba;

use crate::profile::table;
use crate::{Failure, Run, about, megabytes, print};

/// Width and height of the photo: what a page shows. Its pixels do not matter.
const PHOTO: [usize; 2] = [640, 480];

/// Loads a model, runs it `runs` times on `batch` photos at once and prints what that took; each pass too if asked.
pub async fn bench(run: &Run, runs: usize, batch: usize, layers: bool) -> Result<(), Failure> {
    let failed = about::<xception::error::Error>(&run.model);
    let start = Instant::now();
    let mut classifier = run.load(batch).await?;
    let most = classifier.max_batch();
    if batch > most {
        return Err(format!("--batch {batch} is more than the {most} photos that this GPU computes at once"));
    }
    if batch > 1 {
        classifier.reserve(batch).await.map_err(&failed)?;
    }
    classifier.warm_up().await.map_err(&failed)?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;

    let [width, height] = PHOTO;
    let pixels = (0..width * height * 4).map(|i| (i * 31 % 251) as u8).collect();
    let photos = vec![Rgba::new(width, height, pixels).map_err(|error| error.to_string())?; batch];
    let first = once(&mut classifier, &photos).await.map_err(&failed)?;
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(once(&mut classifier, &photos).await.map_err(&failed)?);
    }
    times.sort_by(f64::total_cmp);
    let (min, median, max) = (times[0], times[runs / 2], times[runs - 1]);
    let engine = classifier.engine(batch);
    let engine_ms = engine.time(.., batch).await.map_err(&failed)?.as_secs_f64() * 1e3;

    let (plan, runner, info) = (&engine.plan, &engine.runner, &classifier.gpu().info);
    let macs = classifier.meta().network().map_err(&failed)?.macs();
    let gflops = 2.0 * (macs * batch as u64) as f64 / engine_ms / 1e6;
    let bytes = classifier.gpu_bytes();
    let (dispatches, pipelines) = (runner.dispatches() + 2, runner.pipelines() + 2);
    let profile = if layers { Some(Profile::new(&classifier, batch, 3).await.map_err(&failed)?) } else { None };
    if run.json {
        print(
            &json!({
                "adapter": info.name, "driver": info.driver, "driverInfo": info.driver_info,
                "backend": info.backend.to_string(), "dtype": plan.storage, "inputSize": classifier.meta().input_size,
                "batch": batch, "loadMs": load_ms, "firstMs": first, "runs": runs,
                "ms": {"median": median, "min": min, "max": max}, "gpuMs": engine_ms, "gflops": gflops,
                "dispatches": dispatches, "pipelines": pipelines, "gpuBytes": bytes, "layers": profile,
            })
            .to_string(),
        );
        return Ok(());
    }
    let [rows, columns] = classifier.meta().input_size;
    let each = if batch > 1 { format!(", {:.2} ms each", median / batch as f64) } else { String::new() };
    let lines = [
        format!("adapter     {} ({}, {} {})", info.name, info.backend, info.driver, info.driver_info),
        format!("model       input {rows}×{columns}, {:.3} GMAC, stored as {}", macs as f64 / 1e9, plan.storage),
        format!("GPU memory  {} MB", megabytes(bytes)),
        format!("dispatches  {dispatches}, of {pipelines} pipelines"),
        format!("load        {load_ms:.0} ms"),
        format!("first       {first:.2} ms"),
        format!(
            "photos      {batch} in {median:.2} ms (median of {runs}; {min:.2} to {max:.2}){each}, upload to answer"
        ),
        format!("network     {engine_ms:.2} ms, {gflops:.1} GFLOP/s"),
    ];
    print(&lines.join("\n"));
    if let Some(profile) = profile {
        print(&format!("\n{}", table(&profile)));
    }
    Ok(())
}

/// Milliseconds from the pixels of some photos to their five classes.
async fn once(classifier: &mut Classifier, photos: &[Rgba]) -> xception::error::Result<f64> {
    let start = Instant::now();
    classifier.classify_batch(photos, 5).await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
