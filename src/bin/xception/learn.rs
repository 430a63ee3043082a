//! `xception learn`: a head for classes of one's own, from folders of photos.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use xception::backend::Readback;
use xception::classifier::Classifier;
use xception::learn::{Accuracy, Examples, Head, Learned, Learner, Options, mean};
use xception::network::Output;
use xception::network::layer::Shape;
use xception::resize::Rgba;
use xception::weights::learned::LearnedHead;

use crate::model::{Device, lost};
use crate::{Failure, Progress, Run, about, print, read_photo, report};

/// The photos, and how they are learned.
#[derive(clap::Args)]
pub struct Learning {
    /// A folder with a folder of photos for each class, which has its name.
    #[arg(long)]
    images: PathBuf,
    /// Another such folder, of which photos are only classified.
    #[arg(long)]
    validate: Option<PathBuf>,
    /// The head to write: `--head` takes it.
    #[arg(short, long)]
    output: PathBuf,
    /// Learn each class by itself (sigmoid): a photo may be of several, or of none.
    #[arg(long)]
    one_vs_rest: bool,
    /// The penalty on the squares of weights: scikit-learn's 1 / C.
    #[arg(long, default_value_t = 1.0)]
    penalty: f64,
    /// Learn mirror images too.
    #[arg(long)]
    flip: bool,
    /// Let frequent classes count more than rare ones.
    #[arg(long)]
    unbalanced: bool,
    /// The seed of the choice of photos that are held out.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Photos with their features.
#[derive(Default)]
struct Photos {
    paths: Vec<PathBuf>,
    examples: Examples,
    /// How many files were none, or were there already.
    left_out: usize,
}

/// How many photos were classified rightly, and which were not.
#[derive(Serialize)]
struct Answers {
    #[serde(flatten)]
    accuracy: Accuracy,
    wrong: Vec<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    file: String,
    class: String,
    predicted: String,
}

impl Photos {
    /// How good predictions of some of the photos are.
    fn answers(&self, labels: &[String], predicted: impl IntoIterator<Item = (usize, usize)>) -> Answers {
        let answers = predicted.into_iter().map(|(photo, class)| (photo, self.examples.classes[photo], class));
        let mut accuracy = Accuracy::new(labels.len(), answers);
        let name = |(photo, class, predicted): (usize, usize, usize)| {
            let [class, predicted] = [class, predicted].map(|class| labels[class].clone());
            Wrong { file: self.paths[photo].display().to_string(), class, predicted }
        };
        let wrong = std::mem::take(&mut accuracy.wrong).into_iter().map(name).collect();
        Answers { accuracy, wrong }
    }
}

impl Answers {
    /// Lines of text, `what` in front.
    fn text(&self, what: &str, labels: &[String]) -> String {
        let Accuracy { photos, right, interval: [low, high], ref confusion, .. } = self.accuracy;
        let share = 100.0 * right as f64 / photos.max(1) as f64;
        let mut lines = vec![format!(
            "{what:<12}{right} of {photos} right ({share:.1} %, by 95 % between {:.1} and {:.1} %)",
            100.0 * low,
            100.0 * high
        )];
        let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max(5);
        for (label, row) in labels.iter().zip(confusion) {
            let cells: String = row.iter().map(|count| format!("{count:>6}")).collect();
            lines.push(format!("  {label:<width$}{cells}"));
        }
        for Wrong { file, class, predicted } in &self.wrong {
            lines.push(format!("  {file}: {class}, taken for {predicted}"));
        }
        lines.join("\n")
    }
}

/// Learns the classes of folders and writes the head.
pub async fn learn_classes<D: Device>(run: &Run, device: &D, learning: &Learning) -> Result<bool, Failure> {
    let folders = folders(&learning.images)?;
    let labels: Vec<String> = folders.keys().cloned().collect();
    if labels.len() < 2 {
        let found = labels.first().map_or("none".to_owned(), |label| format!("{label} alone"));
        return Err(about(&learning.images)(format!(
            "it must have a folder of photos for each of two or more classes, and has {found}"
        )));
    }
    let mut model = run.load(device, 1).await?;
    let photos = read(run, &mut model, folders, learning.flip).await?;
    for (class, label) in labels.iter().enumerate() {
        if !photos.examples.classes.contains(&class) {
            return Err(about(&learning.images.join(label))(
                "there is no photo in it: add some, or remove it".to_owned(),
            ));
        }
    }
    let output = if learning.one_vs_rest { Output::Sigmoid } else { Output::Softmax };
    let options = Options {
        output,
        penalty: learning.penalty,
        is_balanced: !learning.unbalanced,
        seed: learning.seed,
        ..Options::default()
    };
    let learner = Learner::new(photos.examples.clone(), labels.len(), options).map_err(|error| error.to_string())?;
    let Learned { linear, rounds, curve, held_out } = learner.finish();
    let held_out = photos.answers(&labels, held_out);
    let validated = match &learning.validate {
        Some(folder) => {
            let mut others = self::folders(folder)?;
            if let Some(unknown) = others.keys().find(|label| !labels.contains(label)) {
                return Err(about(folder)(format!("{unknown} is none of the classes that were learned")));
            }
            let known = labels.iter().map(|label| (label.clone(), others.remove(label).unwrap_or_default())).collect();
            let photos = read(run, &mut model, known, false).await?;
            let predicted = photos.examples.features.iter().map(|features| linear.class(features)).enumerate();
            Some(photos.answers(&labels, predicted))
        }
        None => None,
    };
    let description = LearnedHead::new(model.meta().source.sha256.clone(), labels.clone(), output);
    let file = Head::of_linear(&description, &linear).map_err(|error| error.to_string())?;
    fs::write(&learning.output, &file).map_err(about(&learning.output))?;
    let counts = photos.examples.counts(labels.len());
    print(&if run.json {
        json!({
            "labels": labels, "photos": counts, "leftOut": photos.left_out, "rounds": rounds, "curve": curve,
            "heldOut": held_out, "validated": validated, "bytes": file.len(),
        })
        .to_string()
    } else {
        let each = labels.iter().zip(&counts).map(|(label, count)| format!("{label} {count}"));
        let mut lines = vec![format!(
            "{:<12}{} photos: {} ({rounds} rounds; {} files left out)",
            "learned",
            counts.iter().sum::<usize>(),
            each.collect::<Vec<_>>().join(", "),
            photos.left_out
        )];
        lines.push(held_out.text("held out", &labels));
        lines.extend(validated.map(|validated| validated.text("validated", &labels)));
        lines.push(format!("{}: {} classes, {} bytes", learning.output.display(), labels.len(), file.len()));
        lines.join("\n")
    });
    Ok(photos.left_out == 0)
}

/// The files in each folder of a folder, by the folder's name, in order.
fn folders(folder: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, Failure> {
    let mut found = BTreeMap::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let files = entries(&path)?.into_iter().filter(|path| path.is_file()).collect();
            found.insert(name, files);
        } else {
            report(&about(&path)("it is in no class's folder: left out"));
        }
    }
    Ok(found)
}

/// The paths in a folder in order, but for hidden ones.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let paths = fs::read_dir(folder).map_err(about(folder))?;
    let mut paths: Vec<PathBuf> =
        paths.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>().map_err(about(folder))?;
    paths.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}

/// Reads the photos of folders and makes their features. Files that are no photos are named and left out.
async fn read<D: Device>(
    run: &Run,
    model: &mut Classifier<D>,
    folders: BTreeMap<String, Vec<PathBuf>>,
    flip: bool,
) -> Result<Photos, Failure> {
    let mut photos = Photos::default();
    let count = folders.values().map(Vec::len).sum::<usize>();
    let progress = Progress::new(Some(count as u64), "looking at {wide_bar} {pos}/{len} {elapsed}");
    for (class, paths) in folders.into_values().enumerate() {
        for path in paths {
            progress.bar.inc(1);
            let photo = match read_photo(&path, run.limits()) {
                Ok(photo) => photo,
                Err(failure) => {
                    progress.bar.suspend(|| report(&format!("{failure}: left out")));
                    photos.left_out += 1;
                    continue;
                }
            };
            let mut look = async |photo: &Rgba| match features(model, photo).await {
                Ok(features) => Ok(features),
                Err(error) => Err(lost(model.backend()).unwrap_or_else(|| about(&path)(error))),
            };
            let own = look(&photo).await?;
            if let Some(first) = photos.examples.find(&own) {
                let name = photos.paths[first].display();
                if photos.examples.classes[first] != class {
                    let message = format!("this is the photo {name} of another class: remove one of them");
                    return Err(about(&path)(message));
                }
                // The same photo twice would be in both parts.
                progress.bar.suspend(|| report(&about(&path)(format!("this is the photo {name} again: left out"))));
                photos.left_out += 1;
                continue;
            }
            let origin = photos.paths.len();
            photos.examples.push(own, class);
            if flip {
                let mirrored = look(&mirror(&photo).map_err(about(&path))?).await?;
                photos.examples.push_variant(mirrored, origin);
                photos.paths.push(path.clone());
            }
            photos.paths.push(path);
        }
    }
    Ok(photos)
}

/// The features of a photo: the first vector, or the mean of the last activation where that is none.
async fn features<D: Device>(model: &mut Classifier<D>, photo: &Rgba) -> xception::error::Result<Vec<f32>> {
    model.upload(photo).await?;
    let values = model.embed(None)?.read().await?;
    let Shape { height, width, channels } = model.network().features();
    let has_vector = model.meta().head.iter().any(|layer| layer.operation.makes_vector());
    Ok(if has_vector { values } else { mean(&values, height * width, channels) })
}

/// A photo's mirror image.
fn mirror(photo: &Rgba) -> xception::error::Result<Rgba> {
    let (width, height) = (photo.width(), photo.height());
    let rows = photo.data().chunks_exact(4 * width);
    let data = rows.flat_map(|row| row.chunks_exact(4).rev().flatten().copied()).collect();
    Rgba::new(width, height, data)
}
