//! `xception classify`: photos in, the most likely classes out.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use xception::classifier::Classifier;
use xception::limits::Limits;
use xception::prediction::Prediction;

use crate::losses::Left;
use crate::model::{Device, lost};
use crate::predict::output;
use crate::{Failure, Progress, Run, about, print, read_photo, report};

/// Classifies photos that are left, `batch` at once, and prints the `top` classes of each; whether all could be.
pub async fn classify<D: Device>(
    run: &Run,
    device: &D,
    top: usize,
    batch: usize,
    left: &mut Left<'_>,
) -> Result<bool, Failure> {
    let mut model = run.load(device, batch).await?;
    if model.network().classes() == 0 {
        return values(run, &mut model, left).await;
    }
    let progress = Progress::new(Some(left.images.len() as u64), "classifying {wide_bar} {pos}/{len} {elapsed}");
    while !left.images.is_empty() {
        let (paths, rest) = left.images.split_at(batch.min(left.images.len()));
        let answers = together(&mut model, paths, top, run.limits()).await;
        if answers.iter().any(Result::is_err)
            && let Some(reason) = lost(device)
        {
            return Err(reason);
        }
        for (path, answer) in paths.iter().zip(answers) {
            // The bar must not run through what is printed.
            progress.bar.suspend(|| match answer {
                Ok((predictions, ms)) if run.json => print(
                    &json!({"file": path.display().to_string(), "predictions": predictions, "ms": ms}).to_string(),
                ),
                Ok((predictions, _)) => {
                    let lines = predictions.iter().map(|p| format!("  {:6.2} %  {}", 100.0 * p.score, p.label));
                    print(&format!("{}\n{}", path.display(), lines.collect::<Vec<_>>().join("\n")));
                }
                Err(failure) => {
                    report(&failure);
                    left.all_good = false;
                }
            });
            progress.bar.inc(1);
        }
        left.images = rest;
    }
    Ok(left.all_good)
}

/// Prints the outputs of a model without classes, each with its label.
async fn values<D: Device>(run: &Run, model: &mut Classifier<D>, left: &mut Left<'_>) -> Result<bool, Failure> {
    while let Some((path, rest)) = left.images.split_first() {
        match output(model, path, run.limits()).await {
            Ok(values) if run.json => print(&json!({"file": path.display().to_string(), "values": values}).to_string()),
            Ok(values) => {
                let is_named = !model.meta().labels.is_empty();
                let name = |index: usize| if is_named { model.meta().label(index) } else { format!("output {index}") };
                let lines = values.iter().enumerate().map(|(index, value)| format!("  {value:10.4}  {}", name(index)));
                print(&format!("{}\n{}", path.display(), lines.collect::<Vec<_>>().join("\n")));
            }
            Err(failure) if lost(model.backend()).is_some() => return Err(failure),
            Err(failure) => {
                report(&failure);
                left.all_good = false;
            }
        }
        left.images = rest;
    }
    Ok(left.all_good)
}

/// A photo's classes and times.
type Answer = Result<(Vec<Prediction>, serde_json::Value), Failure>;

/// Classifies photos at once; what is wrong with one is no other's failure.
async fn together<D: Device>(model: &mut Classifier<D>, paths: &[PathBuf], top: usize, limits: &Limits) -> Vec<Answer> {
    let mut lap = Instant::now();
    let mut ms = move || std::mem::replace(&mut lap, Instant::now()).elapsed().as_secs_f64() * 1e3;
    let (mut photos, mut decoded) = (Vec::new(), Vec::new());
    for path in paths {
        decoded.push(read_photo(path, limits).map(|photo| {
            photos.push(photo);
            ms()
        }));
    }
    let mut preprocess = 0.0;
    let answers = match &photos[..] {
        // The upload of one by itself is a time of its own.
        [photo] => match model.upload(photo).await {
            Ok(()) => {
                preprocess = ms();
                model.classify(top).await.map(|predictions| vec![predictions])
            }
            Err(error) => Err(error),
        },
        photos => model.classify_batch(photos, top).await,
    };
    let inference = ms() / photos.len().max(1) as f64;
    let mut answers = answers.map(Vec::into_iter);
    let answer = |(path, decode): (&PathBuf, Result<f64, Failure>)| {
        let decode = decode?;
        let answers = answers.as_mut().map_err(|error| about(path)(error))?;
        let total = decode + preprocess + inference;
        let ms = json!({"decode": decode, "preprocess": preprocess, "inference": inference, "total": total});
        Ok((answers.next().unwrap_or_default(), ms))
    };
    paths.iter().zip(decoded).map(answer).collect()
}
