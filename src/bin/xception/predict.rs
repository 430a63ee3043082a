//! `xception predict`: photos in, the model's own output out.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use xception::classifier::Classifier;
use xception::image;

use crate::model::Device;
use crate::{Failure, Run, about, print, report};

/// Prints the model's own output for each photo; whether all could be read.
pub async fn predict<D: Device>(run: &Run, device: &D, images: &[PathBuf]) -> Result<bool, Failure> {
    let mut model = run.load(device, 1).await?;
    let mut all_good = true;
    for path in images {
        match output(&mut model, path).await {
            Ok(output) if run.json => print(&json!({"file": path.display().to_string(), "output": output}).to_string()),
            Ok(output) => {
                let values: Vec<String> = output.iter().map(f32::to_string).collect();
                print(&format!("{}\n  {}", path.display(), values.join(" ")));
            }
            Err(failure) => {
                report(&failure);
                all_good = false;
            }
        }
    }
    Ok(all_good)
}

/// The model's own output for a photo.
pub async fn output<D: Device>(model: &mut Classifier<D>, path: &Path) -> Result<Vec<f32>, Failure> {
    let file = fs::read(path).map_err(about(path))?;
    model.upload(&image::decode(&file).map_err(about(path))?).await.map_err(about(path))?;
    model.predict().await.map_err(about(path))
}
