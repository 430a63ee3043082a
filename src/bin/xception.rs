//! Xception on the command line: classify photos, convert and inspect weights.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use xception::classifier::{Classifier, Loader, Prediction};
use xception::gpu::Gpu;
use xception::image;
use xception::plan::Plan;
use xception::resize::{Filter, Fit};
use xception::weights::safetensors::Header;
use xception::weights::{self, Overrides};

/// Chollet's Xception on the GPU: a photo in, the most likely classes out.
///
/// Exit code 0 for success, 1 for bad input or a failing GPU, 2 for bad usage.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name the most likely classes of photos.
    Classify {
        /// Weights: .safetensors of this project or timm's, or Keras's .keras, .weights.h5, .h5.
        #[arg(long)]
        model: PathBuf,
        /// How many classes to print.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        top: u32,
        /// Print one JSON object per image.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        preprocessing: Preprocessing,
        /// Photos: JPEG, PNG, WebP, GIF or BMP.
        #[arg(required = true)]
        images: Vec<PathBuf>,
    },
    /// Convert weights to this project's safetensors, batch norm folded.
    Convert {
        /// The weights to read.
        input: PathBuf,
        /// The file to write.
        output: PathBuf,
        /// Names of the classes: one a line, a JSON array, or Keras's imagenet_class_index.json.
        #[arg(long)]
        labels: Option<PathBuf>,
        #[command(flatten)]
        preprocessing: Preprocessing,
    },
    /// Print a model's layers with shapes, parameters and multiply-accumulates.
    Inspect {
        /// The weights to read.
        model: PathBuf,
    },
}

/// How photos become input, where the weights do not say it or say it wrongly.
#[derive(Args)]
struct Preprocessing {
    /// Resampling filter, as PIL's; by default what the weights say, else bilinear.
    #[arg(long)]
    filter: Option<Filter>,
    /// What happens to other aspect ratios; by default what the weights say, else squash.
    #[arg(long)]
    fit: Option<Fit>,
    /// Side of the network's input in pixels; by default what the weights say, else 299.
    #[arg(long)]
    size: Option<usize>,
}

impl Preprocessing {
    fn with(self, labels: Option<Vec<String>>) -> Overrides {
        Overrides { labels, filter: self.filter, fit: self.fit, input_size: self.size.map(|side| [side; 2]) }
    }
}

/// A sentence that names the file it is about.
type Failure = String;

fn main() -> ExitCode {
    // Only errors of wgpu itself, and only where RUST_LOG asks for them.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
    let result = match Arguments::parse().command {
        Command::Classify { model, top, json, preprocessing, images } => {
            pollster::block_on(classify(&model, top as usize, json, preprocessing, &images))
        }
        Command::Convert { input, output, labels, preprocessing } => {
            convert(&input, &output, labels.as_deref(), preprocessing).map(|()| true)
        }
        Command::Inspect { model } => inspect(&model).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            report(&failure);
            ExitCode::FAILURE
        }
    }
}

fn report(failure: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "xception: {failure}");
}

/// Names the file in front of what is wrong with it.
fn about<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Failure {
    move |error| format!("{}: {error}", path.display())
}

/// Writes to stdout; a reader that went away ends the program quietly.
fn print(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// A bar on stderr that appears after a second and then keeps moving, and only where stderr is a terminal.
struct Progress {
    bar: ProgressBar,
    watch: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// A bar of `total` steps, or a spinner where that is not known.
    fn new(total: Option<u64>, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let watch = std::io::stderr().is_terminal().then(|| {
            let (done, finished) = channel();
            let late = bar.clone();
            let show = move || {
                if finished.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    late.set_draw_target(ProgressDrawTarget::stderr());
                    late.enable_steady_tick(Duration::from_millis(100));
                }
            };
            (done, std::thread::spawn(show))
        });
        Self { bar, watch }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, watch)) = self.watch.take() {
            drop(done);
            // It only waits for what was just dropped.
            let _ = watch.join();
        }
        self.bar.finish_and_clear();
    }
}

/// A model's file in the project's own format.
fn read_model(path: &Path, overrides: Overrides) -> Result<Vec<u8>, Failure> {
    let _progress = Progress::new(None, "{spinner} reading the weights {elapsed}");
    weights::convert(fs::read(path).map_err(about(path))?, overrides).map_err(about(path))
}

async fn classify(
    model: &Path,
    top: usize,
    json: bool,
    preprocessing: Preprocessing,
    images: &[PathBuf],
) -> Result<bool, Failure> {
    let file = read_model(model, preprocessing.with(None))?;
    let header = Header::parse(&file).map_err(about(model))?;
    let data = &file[header.data_start..];
    let progress = Progress::new(Some(data.len() as u64), "loading {wide_bar} {bytes}/{total_bytes} {elapsed}");
    let gpu = Gpu::new().await.map_err(|error| error.to_string())?;
    let mut loader = Loader::new(&gpu, header).await.map_err(about(model))?;
    for piece in data.chunks(1 << 22) {
        loader.push(piece).map_err(about(model))?;
        progress.bar.inc(piece.len() as u64);
    }
    let mut classifier = loader.finish().map_err(about(model))?;
    drop((progress, file));

    let progress = Progress::new(Some(images.len() as u64), "classifying {wide_bar} {pos}/{len} {elapsed}");
    let mut all_good = true;
    for path in images {
        // The bar must not run through what is printed.
        let outcome = classify_one(&mut classifier, path, top).await;
        progress.bar.suspend(|| match outcome {
            Ok((predictions, ms)) if json => {
                print(&json!({"file": path.display().to_string(), "predictions": predictions, "ms": ms}).to_string());
            }
            Ok((predictions, _)) => {
                let lines = predictions.iter().map(|p| format!("  {:6.2} %  {}", 100.0 * p.score, p.label));
                print(&format!("{}\n{}", path.display(), lines.collect::<Vec<_>>().join("\n")));
            }
            Err(failure) => {
                report(&failure);
                all_good = false;
            }
        });
        progress.bar.inc(1);
    }
    Ok(all_good)
}

async fn classify_one(
    classifier: &mut Classifier,
    path: &Path,
    top: usize,
) -> Result<(Vec<Prediction>, serde_json::Value), Failure> {
    let start = Instant::now();
    let mut lap = start;
    let mut ms = move || {
        let elapsed = lap.elapsed();
        lap = Instant::now();
        elapsed.as_secs_f64() * 1e3
    };
    let photo = image::decode(&fs::read(path).map_err(about(path))?).map_err(about(path))?;
    let decode = ms();
    classifier.upload(&photo).await.map_err(about(path))?;
    let preprocess = ms();
    let predictions = classifier.classify(top).await.map_err(about(path))?;
    let gpu = ms();
    let total = start.elapsed().as_secs_f64() * 1e3;
    Ok((predictions, json!({"decode": decode, "preprocess": preprocess, "gpu": gpu, "total": total})))
}

fn convert(input: &Path, output: &Path, labels: Option<&Path>, preprocessing: Preprocessing) -> Result<(), Failure> {
    let labels = match labels {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(about(path))?;
            Some(weights::labels::parse(&text).map_err(about(path))?)
        }
        None => None,
    };
    let file = read_model(input, preprocessing.with(labels))?;
    let header = Header::parse(&file).map_err(about(input))?;
    fs::write(output, &file).map_err(about(output))?;
    let (classes, [height, width]) = (header.network.classes(), header.meta.input_size);
    print(&format!("{}: {classes} classes, input {height}×{width}, {} bytes", output.display(), file.len()));
    Ok(())
}

fn inspect(path: &Path) -> Result<(), Failure> {
    let file = read_model(path, Overrides::default())?;
    let Header { meta, network, .. } = Header::parse(&file).map_err(about(path))?;
    let plan = Plan::new(&network);
    let mut lines =
        vec![format!("{:<18} {:>13} {:>13} {:>12} {:>9}", "layer", "input", "output", "parameters", "MMAC")];
    for layer in &network.layers {
        let parameters: usize = layer.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let macs = layer.macs() as f64 / 1e6;
        lines.push(format!("{:<18} {:>13} {:>13} {parameters:>12} {macs:>9.1}", layer.name, layer.input, layer.output));
    }
    let [height, width] = meta.input_size;
    let labels = if meta.labels.is_empty() { "none".to_owned() } else { meta.labels.len().to_string() };
    let preprocessing = meta.preprocessing;
    lines.extend([
        String::new(),
        format!("source       {}", meta.source),
        format!("input        {height}×{width}, {:?}, {:?}", preprocessing.filter, preprocessing.fit).to_lowercase()
            + &if preprocessing.crop == 1.0 { String::new() } else { format!(" to {:.3}", preprocessing.crop) },
        format!("classes      {}, labels: {labels}", network.classes()),
        format!("parameters   {}", network.parameter_count()),
        format!("GMAC         {:.3}", network.macs() as f64 / 1e9),
        format!("passes       {}, and 2 to resize the photo", plan.passes.len()),
        format!("GPU weights  {:.1} MB", plan.weight_bytes() as f64 / 1e6),
        format!("GPU slots    {}, {:.1} MB", plan.slots.len(), plan.activation_bytes() as f64 / 1e6),
    ]);
    print(&lines.join("\n"));
    Ok(())
}
