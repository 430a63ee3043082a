//! `xception eval`: how often a model is right, and how far it is from another one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use xception::classifier::Classifier;
use xception::dtype::Dtype;
use xception::prediction::Prediction;
use xception::resize::{Preprocessing, Rgba};
use xception::weights::Overrides;
use xception::weights::safetensors::Meta;

use crate::model::{Device, lost};
use crate::progress::Progress;
use crate::{Failure, Run, about, print, read_photo, report};

/// The counts.
#[derive(Default)]
pub struct Tally {
    /// Photos that were looked at, also those that could not be read.
    seen: usize,
    photos: usize,
    /// Those whose class is known.
    pub labelled: usize,
    /// Those of them whose class is the most likely one.
    pub top1: usize,
    /// Those of them whose class is among the five most likely ones.
    pub top5: usize,
    agree: usize,
    /// The largest difference of a probability.
    apart: f32,
}

/// Classifies the photos of a folder that `tally` has not seen yet, and prints the counts; whether all could be read. The weights it is
/// measured against are stored as f32.
pub async fn evaluate<D: Device>(
    run: &Run,
    device: &D,
    images: &Path,
    labels: Option<&Path>,
    against: Option<&Path>,
    tally: &mut Tally,
) -> Result<bool, Failure> {
    let mut model = run.load(device, 1).await?;
    let mut other = match against {
        Some(path) => {
            // The weights are compared, not the preprocessing.
            let &Meta { preprocessing: Preprocessing { filter, fit, .. }, input_size, .. } = model.meta();
            let (filter, fit, input_size) = (Some(filter), Some(fit), Some(input_size));
            let limits = *run.limits();
            let overrides = Overrides { filter, fit, input_size, limits, ..Overrides::default() };
            Some((path, run.load_file(device, path, overrides, Some(Dtype::F32), 1).await?))
        }
        None => None,
    };
    if let Some((path, other)) = &other
        && other.network().classes() != model.network().classes()
    {
        let (classes, others) = (model.network().classes(), other.network().classes());
        return Err(about(path)(format!("it has {others} classes, and {} has {classes}", run.model.display())));
    }
    let against = other.as_mut().map(|(_, other)| other);
    count(run, device, &mut model, against, images, labels, tally).await?;
    print(&tally.text(model.storage(), labels.is_some(), other.is_some(), run.json));
    Ok(tally.all_read())
}

/// Counts the photos of a folder that `tally` has not seen yet.
pub async fn count<D: Device>(
    run: &Run,
    device: &D,
    model: &mut Classifier<D>,
    mut other: Option<&mut Classifier<D>>,
    images: &Path,
    labels: Option<&Path>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let classes = labels.map(|path| classes(path, model.meta()).map_err(about(path))).transpose()?;
    let photos = photos(images).map_err(about(images))?;
    let progress = Progress::new(Some(photos.len() as u64), "classifying {wide_bar} {pos}/{len} {elapsed}");
    progress.bar.inc(tally.seen as u64);
    for (name, path) in photos.iter().skip(tally.seen) {
        let outcome = async {
            let photo = read_photo(path, run.limits())?;
            let ranked = rank(model, &photo).await.map_err(about(path))?;
            let others = match &mut other {
                Some(other) => Some(rank(other, &photo).await.map_err(about(path))?),
                None => None,
            };
            Ok::<_, Failure>((ranked, others))
        };
        progress.bar.inc(1);
        let (ranked, others) = match outcome.await {
            Ok(both) => both,
            Err(failure) if lost(device).is_some() => return Err(failure),
            Err(failure) => {
                progress.bar.suspend(|| report(&failure));
                tally.seen += 1;
                continue;
            }
        };
        tally.seen += 1;
        tally.photos += 1;
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        let class = classes.as_ref().and_then(|classes| classes.get(&file).or_else(|| classes.get(name)));
        if let Some(&class) = class {
            tally.labelled += 1;
            tally.top1 += usize::from(ranked[0].index == class);
            tally.top5 += usize::from(ranked.iter().take(5).any(|prediction| prediction.index == class));
        }
        if let Some(others) = others {
            tally.agree += usize::from(ranked[0].index == others[0].index);
            for (score, other) in scores(&ranked).iter().zip(scores(&others)) {
                tally.apart = tally.apart.max((score - other).abs());
            }
        }
    }
    drop(progress);
    if classes.is_some() && tally.labelled == 0 {
        return Err(format!("{}: none of its photos is among the labels", images.display()));
    }
    Ok(())
}

impl Tally {
    /// Whether every photo could be read.
    pub fn all_read(&self) -> bool {
        self.photos == self.seen
    }

    fn text(&self, dtype: Dtype, labelled: bool, compared: bool, json: bool) -> String {
        let Self { photos, labelled: known, top1, top5, agree, apart, .. } = self;
        let share = |part: &usize, whole: &usize| 100.0 * *part as f64 / (*whole).max(1) as f64;
        if json {
            let accuracy = labelled.then(|| json!({"photos": known, "top1": top1, "top5": top5}));
            let comparison = compared.then(|| json!({"agree": agree, "largestDifference": apart}));
            return json!({"photos": photos, "dtype": dtype, "labelled": accuracy, "against": comparison}).to_string();
        }
        let mut lines = vec![format!("photos      {photos}, computed from {dtype}")];
        if labelled {
            lines.push(format!("top-1       {top1} of {known} ({:.1} %)", share(top1, known)));
            lines.push(format!("top-5       {top5} of {known} ({:.1} %)", share(top5, known)));
        }
        if compared {
            lines.push(format!("agree       {agree} of {photos} ({:.1} %)", share(agree, photos)));
            lines.push(format!("difference  {apart:.5} at most, of a probability"));
        }
        lines.join("\n")
    }
}

/// All classes of a photo, most likely first.
async fn rank<D: Device>(model: &mut Classifier<D>, photo: &Rgba) -> xception::error::Result<Vec<Prediction>> {
    model.upload(photo).await?;
    model.classify(usize::MAX).await
}

/// Probabilities by class.
fn scores(ranked: &[Prediction]) -> Vec<f32> {
    let mut scores = vec![0.0; ranked.len()];
    ranked.iter().for_each(|prediction| scores[prediction.index] = prediction.score);
    scores
}

/// The files of a folder with their names without the ending.
fn photos(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.is_file());
    paths.sort();
    let name = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(paths.into_iter().map(|path| (name(&path), path)).collect())
}

/// The classes in a CSV file, by photo.
fn classes(path: &Path, meta: &Meta) -> Result<BTreeMap<String, usize>, Failure> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| error.to_string())?;
    let units = meta.network().map_err(|error| error.to_string())?.classes();
    // Classes by name and WordNet number; none where two have the same.
    let mut names: BTreeMap<String, Option<usize>> = BTreeMap::new();
    for class in 0..meta.labels.len() {
        for name in [Some(meta.label(class)), meta.wnid(class).map(str::to_owned)].into_iter().flatten() {
            names.entry(name).and_modify(|known| *known = None).or_insert(Some(class));
        }
    }
    let mut classes = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let (Some(photo), Some(class)) = (record.get(0), record.get(1)) else {
            return Err("each line must have a photo and its class".to_owned());
        };
        let number = match names.get(class) {
            Some(&Some(number)) => number,
            Some(None) => {
                return Err(format!("two classes are called {class:?}, the label of {photo}: give its WordNet number"));
            }
            None => {
                let number = class.parse().ok().filter(|number| *number < units);
                number.ok_or_else(|| format!("the model has no class {class:?}, the label of {photo}"))?
            }
        };
        classes.insert(photo.to_owned(), number);
    }
    Ok(classes)
}
