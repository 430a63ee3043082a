//! `xception bench`: how long loading and a photo take on this machine's GPU or CPU.

use std::time::Instant;

use serde_json::{Value, json};
use xception::classifier::Classifier;
use xception::resize::Rgba;

use crate::model::Device;
use crate::profile::table;
use crate::{Failure, Run, about, print};

/// Width and height of the photo: what a page shows. Its pixels do not matter.
const PHOTO: [usize; 2] = [640, 480];

/// Loads a model, runs it `runs` times on `batch` photos at once and prints what that took; each pass too if asked.
pub async fn bench<D: Device>(run: &Run, device: &D, runs: usize, batch: usize, layers: bool) -> Result<(), Failure> {
    let failed = about::<xception::error::Error>(&run.model);
    let start = Instant::now();
    let mut model = run.load(device, batch).await?;
    let most = model.max_batch();
    if batch > most {
        return Err(format!("--batch {batch} is more than the {most} photos that this device computes at once"));
    }
    if batch > 1 {
        model.reserve(batch).await.map_err(&failed)?;
    }
    model.warm_up().await.map_err(&failed)?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let profile = if layers { Some(D::profile(&model, batch, 3).await?) } else { None };

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
    let (backend, backend_lines) = D::figures(&model, batch).await.map_err(&failed)?;
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

/// Milliseconds from the pixels of some photos to their five classes.
async fn once<D: Device>(model: &mut Classifier<D>, photos: &[Rgba]) -> xception::error::Result<f64> {
    let start = Instant::now();
    model.classify_batch(photos, 5).await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
