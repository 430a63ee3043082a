//! Xception on the command line: classify photos, convert, inspect, evaluate and time weights.

mod bench;
mod classify;
mod compare;
mod evaluate;
mod model;
mod predict;
mod profile;
mod progress;
mod tune;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use model::{Run, on_device};
use progress::Progress;
use xception::backend::gpu::Preprocessor;
use xception::dtype::Dtype;
use xception::network::{Network, Output};
use xception::plan::Plan;
use xception::resize::{Filter, Fit, Pixels, Preprocessing};
use xception::tile::Tuning;
use xception::weights::assumed::Assumption;
use xception::weights::safetensors::{Header, Meta};
use xception::weights::{self, Overrides};

/// Chollet's Xception on the GPU, or without one on the CPU: a photo in, the most likely classes out.
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
        #[command(flatten)]
        run: Run,
        /// How many classes to print.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        top: u32,
        /// How many photos to compute at once; more take more memory and less time each. A GPU computes at most 32, or as many as it
        /// has room for.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        batch: u32,
        /// Photos: JPEG, PNG, WebP, GIF or BMP.
        #[arg(required = true)]
        images: Vec<PathBuf>,
    },
    /// Print the model's own output for photos, as its framework gives it: probabilities, logits, numbers or features.
    Predict {
        #[command(flatten)]
        run: Run,
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
        /// How to store weights: i8 has a scale for each output channel. By default as in a file of this project, else f32.
        #[arg(long, value_parser = PossibleValuesParser::new(["f32", "f16", "i8"]).try_map(|name| name.parse::<Dtype>()))]
        dtype: Option<Dtype>,
        /// Names of the classes: one a line, a JSON array, or Keras's imagenet_class_index.json.
        #[arg(long)]
        labels: Option<PathBuf>,
        /// The licence of the weights, for the file's metadata.
        #[arg(long)]
        license: Option<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Measure a model on photos whose classes are known, or against another model.
    Eval {
        #[command(flatten)]
        run: Run,
        /// A folder of photos.
        #[arg(long)]
        images: PathBuf,
        /// A CSV file with a header line: a photo's name, with or without its ending, and its class by name, WordNet
        /// number or number.
        #[arg(long, required_unless_present = "against")]
        labels: Option<PathBuf>,
        /// Other weights, to be computed from f32 on the same input: how often both agree on the most likely class, and
        /// how far their probabilities are apart.
        #[arg(long)]
        against: Option<PathBuf>,
    },
    /// Measure how long loading and a photo take, from its pixels to its classes.
    Bench {
        #[command(flatten)]
        run: Run,
        /// How many times to run, after a first time.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// How many photos to compute at once.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        batch: u32,
        /// Time each pass by itself too: achieved GFLOP/s and GB/s, and their share of what the GPU can do.
        #[arg(long)]
        layers: bool,
    },
    /// Time each pass of the network on a photo, by the GPU's own clock where it has one.
    Profile {
        #[command(flatten)]
        run: Run,
        /// How many times to run, after a first time.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        #[command(flatten)]
        outputs: profile::Outputs,
        /// A photo: JPEG, PNG, WebP, GIF or BMP.
        image: PathBuf,
    },
    /// Find the first layer whose activations are not those that another framework has for the same photo.
    Compare {
        #[command(flatten)]
        run: Run,
        /// A safetensors file of f32 tensors by the names of layers, and `input`; docs/debugging.md tells how to make one.
        #[arg(long)]
        against: PathBuf,
        #[command(flatten)]
        tolerance: compare::Tolerance,
        /// The photo.
        image: PathBuf,
    },
    /// Print a model's layers with shapes, parameters and multiply-accumulates.
    Inspect {
        /// The weights to read.
        model: PathBuf,
        #[command(flatten)]
        options: Options,
    },
}

/// Caller overrides of what the weights say.
#[derive(Args)]
struct Options {
    /// Resampling filter, Pillow's or (tf-) TensorFlow's; by default what the weights say, else bilinear.
    #[arg(long)]
    filter: Option<Filter>,
    /// Treatment of other aspect ratios; by default what the weights say, else squash.
    #[arg(long)]
    fit: Option<Fit>,
    /// Share of the largest possible centre that --fit crop keeps, such as timm's crop_pct.
    #[arg(long)]
    crop: Option<f64>,
    /// Scale of pixel values; by default what the weights say, else tf, which is −1 to 1.
    #[arg(long)]
    pixels: Option<Pixels>,
    /// Mean of each channel, of pixels from 0 to 1: R,G,B. Needs --std.
    #[arg(long, value_delimiter = ',', num_args = 1, allow_hyphen_values = true)]
    mean: Vec<f32>,
    /// Deviation of each channel, of pixels from 0 to 1: R,G,B. Needs --mean.
    #[arg(long, value_delimiter = ',', num_args = 1)]
    std: Vec<f32>,
    /// Activation behind the last layer; by default what the weights say, else softmax, or sigmoid of a single output.
    #[arg(long)]
    activation: Option<Output>,
    /// Height and width of the network's input in pixels, 299 or 200x320; by default what the weights say, else 299.
    #[arg(long, value_parser = size)]
    size: Option<[usize; 2]>,
    /// Another file whose layers are the head, for "notop" weights: Keras's, or PyTorch's safetensors.
    #[arg(long)]
    head: Option<PathBuf>,
}

impl Options {
    fn overrides(&self) -> Result<Overrides, Failure> {
        let head = self.head.as_ref().map(|path| fs::read(path).map_err(about(path))).transpose()?;
        let by_channel = |option: &str, values: &[f32]| match *values {
            [] => Ok(None),
            [all] => Ok(Some([all; 3])),
            [red, green, blue] => Ok(Some([red, green, blue])),
            _ => Err(format!("--{option} takes a number for each of the three channels: R,G,B")),
        };
        Ok(Overrides {
            filter: self.filter,
            fit: self.fit,
            crop: self.crop,
            pixels: self.pixels,
            mean: by_channel("mean", &self.mean)?,
            std: by_channel("std", &self.std)?,
            activation: self.activation,
            input_size: self.size,
            head,
            ..Overrides::default()
        })
    }
}

/// Height and width: `299`, or `200x320`.
fn size(text: &str) -> Result<[usize; 2], String> {
    let (height, width) = text.split_once(['x', '×']).unwrap_or((text, text));
    let side =
        |side: &str| side.parse().map_err(|_| format!("{text} is no size: give 299, or height and width as 200x320"));
    Ok([side(height)?, side(width)?])
}

/// A sentence that names the file it is about.
type Failure = String;

fn main() -> ExitCode {
    // Only errors of wgpu itself, and only where RUST_LOG asks for them.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
    let result = pollster::block_on(execute(Arguments::parse().command));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            report(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well.
async fn execute(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Classify { run, top, batch, images } => {
            on_device!(run, device => classify::classify(&run, &device, top as usize, batch as usize, &images).await)
        }
        Command::Predict { run, images } => on_device!(run, device => predict::predict(&run, &device, &images).await),
        Command::Convert { input, output, dtype, labels, license, options } => {
            convert(&input, &output, dtype, labels.as_deref(), license, &options).map(|()| true)
        }
        Command::Eval { run, images, labels, against } => {
            on_device!(run, device => {
                evaluate::evaluate(&run, &device, &images, labels.as_deref(), against.as_deref()).await
            })
        }
        Command::Bench { run, runs, batch, layers } => {
            let (runs, batch) = (runs as usize, batch as usize);
            on_device!(run, device => bench::bench(&run, &device, runs, batch, layers).await.map(|()| true))
        }
        Command::Profile { run, runs, outputs, image } => {
            profile::profile(&run, runs as usize, &image, &outputs).await.map(|()| true)
        }
        Command::Compare { run, against, tolerance, image } => {
            on_device!(run, device => compare::compare(&run, &device, &against, &image, tolerance).await)
        }
        Command::Inspect { model, options } => inspect(&model, &options).map(|()| true),
    }
}

fn report(failure: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "xception: {failure}");
}

/// Says what a model's file does not tell.
fn report_assumed(path: &Path, meta: &Meta) {
    for assumption in &meta.assumed {
        let Assumption { name, value } = assumption;
        let remedy = remedy(assumption);
        report(&format!("{}: the file does not tell the {name}: taken as {value}; {remedy}", path.display()));
    }
}

/// The remedy for a wrong assumption.
fn remedy(assumption: &Assumption) -> String {
    match (assumption.option(), &*assumption.name) {
        (Some("inputSize"), _) => "--size changes it".to_owned(),
        // In `xception eval` the classes of photos have that name.
        (Some("labels"), _) => "`xception convert --labels` changes it".to_owned(),
        (Some(option), _) => format!("--{option} changes it"),
        (None, _) => "the whole Keras model (.keras or .h5) tells it".to_owned(),
    }
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

/// A model's file in the project's own format.
fn read_model(path: &Path, overrides: Overrides) -> Result<Vec<u8>, Failure> {
    let _progress = Progress::new(None, "{spinner} reading the weights {elapsed}");
    weights::convert(fs::read(path).map_err(about(path))?, overrides).map_err(about(path))
}

fn convert(
    input: &Path,
    output: &Path,
    dtype: Option<Dtype>,
    labels: Option<&Path>,
    license: Option<String>,
    options: &Options,
) -> Result<(), Failure> {
    let labels = match labels {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(about(path))?;
            Some(weights::labels::parse(&text).map_err(about(path))?)
        }
        None => None,
    };
    let file = read_model(input, Overrides { labels, dtype, license, ..options.overrides()? })?;
    let header = Header::parse(&file).map_err(about(input))?;
    report_assumed(input, &header.meta);
    fs::write(output, &file).map_err(about(output))?;
    let [height, width] = header.meta.input_size;
    let what = outputs(&header.network);
    print(&format!("{}: {what}, input {height}×{width}, {} bytes", output.display(), file.len()));
    Ok(())
}

/// The outputs of a network: `7 classes`, `1 output (linear)`.
fn outputs(network: &Network) -> String {
    match (network.classes(), network.outputs()) {
        (0, 1) => format!("1 output ({})", network.output),
        (0, outputs) => format!("{outputs} outputs ({})", network.output),
        (classes, _) => format!("{classes} classes"),
    }
}

/// The normalisation of a pixel: `RGB: level · 0.0078 − 1`.
fn normalisation(preprocessing: &Preprocessing) -> String {
    let Preprocessing { scale, offset, bgr, .. } = preprocessing;
    let step = |c: usize| {
        let sign = if offset[c] < 0.0 { '−' } else { '+' };
        format!("level · {} {sign} {}", scale[c], offset[c].abs())
    };
    let all = [0, 1, 2].map(step);
    let order = if *bgr { "BGR" } else { "RGB" };
    if all.iter().all(|other| *other == all[0]) {
        format!("{order}: {}", all[0])
    } else {
        format!("{order}: {}", all.join(", "))
    }
}

fn inspect(path: &Path, options: &Options) -> Result<(), Failure> {
    let file = read_model(path, options.overrides()?)?;
    let Header { meta, network, dtype, .. } = Header::parse(&file).map_err(about(path))?;
    let plan = |storage, software| Plan::new(&network, storage, &Tuning::untuned(software), 1);
    let [plan, half, software] = [plan(Dtype::F32, false), plan(Dtype::F16, false), plan(Dtype::F32, true)];
    let width = network.layers.iter().map(|layer| layer.name.chars().count()).max().unwrap_or_default().max(18);
    let mut lines =
        vec![format!("{:<width$} {:>13} {:>13} {:>12} {:>9}", "layer", "input", "output", "parameters", "MMAC")];
    for layer in &network.layers {
        let parameters: usize = layer.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let macs = layer.macs() as f64 / 1e6;
        lines.push(format!(
            "{:<width$} {:>13} {:>13} {parameters:>12} {macs:>9.1}",
            layer.name, layer.input, layer.output
        ));
    }
    let [height, width] = meta.input_size;
    let labels = if meta.labels.is_empty() { "none".to_owned() } else { meta.labels.len().to_string() };
    let preprocessing = meta.preprocessing;
    let assumed = meta.assumed.iter().map(|assumption| {
        let Assumption { name, value } = assumption;
        format!("assumed      {name}: {value}; {}", remedy(assumption))
    });
    lines.extend([
        String::new(),
        format!("source       {}", meta.source.kind),
        format!("sha256       {}", meta.source.sha256),
        format!("licence      {}", if meta.source.license.is_empty() { "not stated" } else { &meta.source.license }),
        format!("input        {height}×{width}, {}, {}", preprocessing.filter, preprocessing.fit)
            + &if preprocessing.crop == 1.0 { String::new() } else { format!(" to {}", preprocessing.crop) },
        format!("pixels       {}", normalisation(&preprocessing)),
        format!("output       {}, {}, labels: {labels}", network.output, outputs(&network))
            + if meta.is_logits { "; the model itself gives logits" } else { "" },
        format!("parameters   {}", network.parameter_count()),
        format!("GMAC         {:.3}", network.macs() as f64 / 1e9),
        format!(
            "passes       {}, on software adapters {}; and {} to resize the photo",
            plan.passes.len(),
            software.passes.len(),
            Preprocessor::pipelines(preprocessing, meta.input_size, Dtype::F32).len()
        ),
        format!("safetensors  {} MB as {dtype}", megabytes(file.len() as u64)),
        format!(
            "GPU weights  {} MB as f32, {} MB as f16",
            megabytes(plan.weight_bytes()),
            megabytes(half.weight_bytes())
        ),
        format!(
            "GPU slots    {}: {} MB as f32, {} MB as f16",
            plan.slots.len(),
            megabytes(plan.activation_bytes()),
            megabytes(half.activation_bytes())
        ),
    ]);
    lines.extend(assumed);
    print(&lines.join("\n"));
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
