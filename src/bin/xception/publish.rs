//! `xception publish`: a folder that is a repository of the Hugging Face hub.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use xception::dtype::Dtype;
use xception::learn::interval;
use xception::weights::Overrides;
use xception::weights::safetensors::{Header, Meta};

use crate::evaluate::{Tally, count};
use crate::inspect::{normalisation, outputs};
use crate::model::{Device, on_device};
use crate::{Failure, Run, about, labels, megabytes, print, read_model, remedy, report_assumed};

/// The files of weights: the one that is taken where none is named, and a smaller one.
const FILES: [(&str, Dtype); 2] = [("model.safetensors", Dtype::F16), ("model-i8.safetensors", Dtype::I8)];

/// The published folder and repository.
#[derive(Args)]
pub struct Publication {
    /// The folder to write, new or empty.
    folder: PathBuf,
    /// The repository's name on the hub: owner/name.
    #[arg(long, value_parser = repository)]
    name: String,
    /// The licence of the weights by its SPDX identifier, such as apache-2.0, or in words; by default what the file tells.
    #[arg(long)]
    license: Option<String>,
    /// Names of the classes, as `convert` takes them.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// A folder of photos to evaluate both files with, for the model card.
    #[arg(long, requires = "eval_labels")]
    eval_images: Option<PathBuf>,
    /// A CSV file with the classes of these photos, as `eval` takes it.
    #[arg(long, requires = "eval_images")]
    eval_labels: Option<PathBuf>,
}

/// A file of weights that was written.
struct Written {
    path: PathBuf,
    name: &'static str,
    dtype: Dtype,
    bytes: usize,
    sha256: String,
    tally: Tally,
}

/// Writes the folder; whether all photos of an evaluation could be read.
pub async fn publish(run: &Run, publication: &Publication) -> Result<bool, Failure> {
    let Publication { folder, eval_images, eval_labels, .. } = publication;
    let (header, mut files) = write_weights(run, publication)?;
    let mut all_read = true;
    if let (Some(images), Some(labels)) = (eval_images, eval_labels) {
        for file in &mut files {
            on_device!(run, device => evaluate(run, &device, file, images, labels).await)?;
            all_read &= file.tally.all_read();
        }
    }
    let text = |name: &str, text: String| fs::write(folder.join(name), text).map_err(about(&folder.join(name)));
    let Header { meta, .. } = &header;
    if !meta.labels.is_empty() {
        text("labels.txt", meta.labels.join("\n") + "\n")?;
    }
    text("SHA256SUMS", files.iter().map(|Written { name, sha256, .. }| format!("{sha256}  {name}\n")).collect())?;
    let entries = entries(publication, meta, &files);
    text("models.json", format!("{entries:#}\n"))?;
    text("README.md", card(publication, &header, &files))?;
    if run.json {
        print(&entries.to_string());
    } else {
        let weight = |Written { name, bytes, .. }: &Written| format!("{name} ({} MB)", megabytes(*bytes as u64));
        let list = files.iter().map(weight).collect::<Vec<_>>().join(", ");
        print(&format!("{}: {list}, README.md, models.json, SHA256SUMS", folder.display()));
        print(&format!("to publish it: hf upload {} {}", publication.name, folder.display()));
    }
    Ok(all_read)
}

/// Writes the weights as f16 and as i8.
fn write_weights(run: &Run, publication: &Publication) -> Result<(Header, Vec<Written>), Failure> {
    let Publication { folder, license, labels: names, .. } = publication;
    fs::create_dir_all(folder).map_err(about(folder))?;
    if fs::read_dir(folder).map_err(about(folder))?.next().is_some() {
        return Err(about(folder)("it is not empty: name a new folder"));
    }
    let names = names.as_deref().map(labels).transpose()?;
    let mut files = Vec::new();
    let mut first = None;
    for (name, dtype) in FILES {
        let (labels, license, dtype) = (names.clone(), license.clone(), Some(dtype));
        let file = read_model(&run.model, Overrides { labels, license, dtype, ..run.overrides()? })?;
        let header = Header::parse(&file).map_err(about(&run.model))?;
        if first.is_none() {
            check(&run.model, &header)?;
            report_assumed(&run.model, &header.meta);
        }
        let path = folder.join(name);
        fs::write(&path, &file).map_err(about(&path))?;
        let sha256 = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        files.push(Written { path, name, dtype: header.dtype, bytes: file.len(), sha256, tally: Tally::default() });
        first.get_or_insert(header);
    }
    // There are two files.
    first.map(|header| (header, files)).ok_or_else(|| about(folder)("nothing was written"))
}

/// Refuses a model of which others could not know what they may do with it, or what it answers.
fn check(path: &Path, Header { meta, network, .. }: &Header) -> Result<(), Failure> {
    if meta.source.license.is_empty() {
        return Err(about(path)(
            "the file does not tell the licence of its weights: give it by --license, such as apache-2.0",
        ));
    }
    if meta.labels.is_empty() && network.classes() > 0 {
        return Err(about(path)("its classes have no names: give them by --labels"));
    }
    Ok(())
}

async fn evaluate<D: Device>(
    run: &Run,
    device: &D,
    file: &mut Written,
    images: &Path,
    labels: &Path,
) -> Result<(), Failure> {
    let overrides = Overrides { limits: *run.limits(), ..Overrides::default() };
    let mut model = run.load_file(device, &file.path, overrides, None, 1).await?;
    count(run, device, &mut model, None, images, Some(labels), &mut file.tally).await
}

/// Entries of a gallery's list of models, after docs/models.schema.json.
fn entries(Publication { name, .. }: &Publication, meta: &Meta, files: &[Written]) -> Value {
    let entry = |Written { name: file, dtype, bytes, sha256, .. }: &Written| {
        json!({
            "name": format!("{name} ({dtype})"),
            "url": format!("https://huggingface.co/{name}/resolve/main/{file}"),
            "bytes": bytes,
            "integrity": sha256,
            "license": meta.source.license,
        })
    };
    files.iter().map(entry).collect()
}

/// The model card, behind its front matter.
fn card(publication: &Publication, header: &Header, files: &[Written]) -> String {
    let Publication { name, eval_images, .. } = publication;
    let Header { meta, network, .. } = header;
    let title = name.split_once('/').map_or(&**name, |(_, name)| name);
    let [height, width] = meta.input_size;
    let preprocessing = &meta.preprocessing;
    let crop = if preprocessing.crop == 1.0 { String::new() } else { format!(" to {}", preprocessing.crop) };
    let mut lines = front(publication, meta, files);
    lines.extend([
        format!("# {title}"),
        String::new(),
        format!("{}: {}, from photos of {height}×{width} pixels.", meta.architecture, outputs(network)),
        String::new(),
        "```js".to_owned(),
        "import { Xception } from 'xception-webgpu';".to_owned(),
        format!("const model = await Xception.load({{ weights: 'hf:{name}' }});"),
        if network.classes() > 0 {
            "const { predictions } = await model.classify(photo);".to_owned()
        } else {
            "const values = await model.predict(photo);".to_owned()
        },
        "```".to_owned(),
        String::new(),
        "| file | weights | MB | SHA-256 |".to_owned(),
        "| --- | --- | --- | --- |".to_owned(),
    ]);
    lines.extend(files.iter().map(|Written { name, dtype, bytes, sha256, .. }| {
        format!("| {name} | {dtype} | {} | `{sha256}` |", megabytes(*bytes as u64))
    }));
    lines.extend([
        String::new(),
        format!("- Parameters: {}; multiply-accumulates: {}", network.parameter_count(), network.macs()),
        format!("- Photos: {}, {}{crop}; {}", preprocessing.filter, preprocessing.fit, normalisation(preprocessing)),
        format!("- Output: {}", network.output),
        format!("- Made from: {}, SHA-256 `{}`", meta.source.kind, meta.source.sha256),
        format!("- Licence of the weights: {}", meta.source.license),
    ]);
    lines.extend(meta.assumed.iter().map(|assumption| {
        format!(
            "- Assumed, because the file did not tell it: {} = {} ({})",
            assumption.name,
            assumption.value,
            remedy(assumption)
        )
    }));
    if let Some(images) = eval_images {
        lines.extend([
            String::new(),
            format!("## Evaluation\n\nOn the photos of `{}`:", folder_name(images)),
            String::new(),
            "| weights | photos | top-1 | 95 % interval | top-5 |".to_owned(),
            "| --- | --- | --- | --- | --- |".to_owned(),
        ]);
        lines.extend(files.iter().map(|Written { dtype, tally: Tally { labelled, top1, top5, .. }, .. }| {
            let share = |right: usize| format!("{:.1} %", percent(right, *labelled));
            let [low, high] = interval(*top1, *labelled).map(|bound| 100.0 * bound);
            format!("| {dtype} | {labelled} | {} | {low:.1} % to {high:.1} % | {} |", share(*top1), share(*top5))
        }));
    }
    if !meta.labels.is_empty() {
        lines.extend([String::new(), "## Labels".to_owned(), String::new()]);
        let listed = meta.labels.len().min(20);
        lines.push((0..listed).map(|class| meta.label(class)).collect::<Vec<_>>().join(", "));
        lines.push(format!("\nAll {} are in [labels.txt](labels.txt), in order.", meta.labels.len()));
    }
    lines.join("\n") + "\n"
}

/// The card's front matter, which the hub reads. JSON strings are YAML strings.
fn front(Publication { name, eval_images, .. }: &Publication, meta: &Meta, files: &[Written]) -> Vec<String> {
    let mut lines = vec!["---".to_owned()];
    let license = &meta.source.license;
    if is_identifier(license) {
        lines.push(format!("license: {}", license.to_lowercase()));
    } else {
        lines.extend(["license: other".to_owned(), format!("license_name: {}", json!(license))]);
    }
    lines.extend(["library_name: xception-webgpu", "pipeline_tag: image-classification", "tags:"].map(str::to_owned));
    lines.extend(["xception", "webgpu"].map(|tag| format!("- {tag}")));
    if let (Some(images), Some(Written { tally, .. })) = (eval_images, files.first()) {
        let metric = |name: &str, right| {
            [
                "    - type: accuracy".to_owned(),
                format!("      name: {name}"),
                format!("      value: {:.4}", percent(right, tally.labelled) / 100.0),
            ]
        };
        lines.extend([
            "model-index:".to_owned(),
            format!("- name: {}", json!(name)),
            "  results:".to_owned(),
            "  - task:".to_owned(),
            "      type: image-classification".to_owned(),
            "    dataset:".to_owned(),
            format!("      name: {}", json!(folder_name(images))),
            "      type: imagefolder".to_owned(),
            "    metrics:".to_owned(),
        ]);
        lines.extend([metric("top-1", tally.top1), metric("top-5", tally.top5)].concat());
    }
    lines.extend(["---".to_owned(), String::new()]);
    lines
}

/// Whether a licence is an identifier, which the hub wants in lower case, rather than words.
fn is_identifier(license: &str) -> bool {
    license.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.+".contains(letter))
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn folder_name(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The name of a repository: `owner/name`.
fn repository(text: &str) -> Result<String, String> {
    let is_part = |part: &str| {
        !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
    };
    match text.split('/').collect::<Vec<_>>()[..] {
        [owner, name] if is_part(owner) && is_part(name) => Ok(text.to_owned()),
        _ => Err(format!("{text} is no name of a repository: give owner/name")),
    }
}
