//! `xception predict`: photos in, the model's own output out.

use std::path::Path;

use serde_json::json;
use xception::classifier::Classifier;
use xception::limits::Limits;

use crate::losses::Left;
use crate::model::{Device, lost};
use crate::{Failure, Run, about, print, read_photo, report};

/// Prints the model's own output for each photo; whether all could be read.
pub async fn predict<D: Device>(run: &Run, device: &D, left: &mut Left<'_>) -> Result<bool, Failure> {
    let mut model = run.load(device, 1).await?;
    while let Some((path, rest)) = left.images.split_first() {
        match output(&mut model, path, run.limits()).await {
            Ok(output) if run.json => print(&json!({"file": path.display().to_string(), "output": output}).to_string()),
            Ok(output) => {
                let values: Vec<String> = output.iter().map(f32::to_string).collect();
                print(&format!("{}\n  {}", path.display(), values.join(" ")));
            }
            Err(failure) if lost(device).is_some() => return Err(failure),
            Err(failure) => {
                report(&failure);
                left.all_good = false;
            }
        }
        left.images = rest;
    }
    Ok(left.all_good)
}

/// The model's own output for a photo.
pub async fn output<D: Device>(model: &mut Classifier<D>, path: &Path, limits: &Limits) -> Result<Vec<f32>, Failure> {
    model.upload(&read_photo(path, limits)?).await.map_err(about(path))?;
    model.predict().await.map_err(about(path))
}
