//! Xception on the command line: classify photos, convert, inspect, evaluate and time weights.

mod bench;
mod classify;
mod compare;
mod evaluate;
mod inspect;
mod learn;
mod losses;
mod model;
mod networks;
mod options;
mod predict;
mod profile;
mod progress;
mod publish;
mod tune;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use inspect::{inspect, outputs};
use losses::Left;
use model::{Place, Run, on_device};
use options::Options;
use progress::Progress;
use xception::dtype::Dtype;
use xception::image;
use xception::limits::Limits;
use xception::resize::Rgba;
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
    /// Write a folder for a repository of the Hugging Face hub: weights as f16 and i8, a model card, labels, checksums.
    Publish {
        #[command(flatten)]
        run: Run,
        #[command(flatten)]
        publication: publish::Publication,
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
    /// Compare the networks on this device: size, work, time, published accuracy, and their answers to a photo.
    CompareNetworks {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        comparison: networks::Comparison,
    },
    /// Learn classes of your own on the features of a model, from folders of photos, and write them as a head.
    Learn {
        #[command(flatten)]
        run: Run,
        #[command(flatten)]
        learning: learn::Learning,
    },
    /// Print a model's layers with shapes, parameters and multiply-accumulates.
    Inspect {
        /// The weights to read.
        model: PathBuf,
        #[command(flatten)]
        options: Options,
    },
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
            let (top, batch, mut left) = (top as usize, batch as usize, Left::new(&images));
            on_device!(run, device => classify::classify(&run, &device, top, batch, &mut left).await)
        }
        Command::Predict { run, images } => {
            let mut left = Left::new(&images);
            on_device!(run, device => predict::predict(&run, &device, &mut left).await)
        }
        Command::Convert { input, output, dtype, labels, license, options } => {
            convert(&input, &output, dtype, labels.as_deref(), license, &options).map(|()| true)
        }
        Command::Publish { run, publication } => publish::publish(&run, &publication).await,
        Command::Eval { run, images, labels, against } => {
            let mut tally = evaluate::Tally::default();
            on_device!(run, device => {
                evaluate::evaluate(&run, &device, &images, labels.as_deref(), against.as_deref(), &mut tally).await
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
        Command::CompareNetworks { place, comparison } => {
            on_device!(place, device => networks::compare(&place, &device, &comparison).await.map(|()| true))
        }
        Command::Learn { run, learning } => {
            on_device!(run, device => learn::learn_classes(&run, &device, &learning).await)
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
    weights::convert(read_weights(path, &overrides.limits)?, overrides).map_err(about(path))
}

/// A photo's pixels.
fn read_photo(path: &Path, limits: &Limits) -> Result<Rgba, Failure> {
    let length = fs::metadata(path).map_err(about(path))?.len();
    limits.check_image(length).map_err(about(path))?;
    image::decode(&fs::read(path).map_err(about(path))?, limits).map_err(about(path))
}

/// A file of weights; a TensorFlow.js model's JSON with the files beside it that it names.
fn read_weights(path: &Path, limits: &Limits) -> Result<Vec<u8>, Failure> {
    let mut length = 0;
    let mut read = |path: &Path| {
        length += fs::metadata(path).map_err(about(path))?.len();
        limits.check_weights(length).map_err(about(path))?;
        fs::read(path).map_err(about(path))
    };
    let mut file = read(path)?;
    if weights::Format::detect(&file) == Ok(weights::Format::Json) {
        for name in weights::keras::shard_names(&file).map_err(about(path))? {
            let shard = path.with_file_name(name);
            file.extend(read(&shard)?);
        }
    }
    Ok(file)
}

/// The names of classes in a file.
fn labels(path: &Path) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(path).map_err(about(path))?;
    weights::labels::parse(&text).map_err(about(path))
}

fn convert(
    input: &Path,
    output: &Path,
    dtype: Option<Dtype>,
    labels: Option<&Path>,
    license: Option<String>,
    options: &Options,
) -> Result<(), Failure> {
    let labels = labels.map(self::labels).transpose()?;
    let file = read_model(input, Overrides { labels, dtype, license, ..options.overrides()? })?;
    let header = Header::parse(&file).map_err(about(input))?;
    report_assumed(input, &header.meta);
    fs::write(output, &file).map_err(about(output))?;
    let [height, width] = header.meta.input_size;
    let what = outputs(&header.network);
    print(&format!("{}: {what}, input {height}×{width}, {} bytes", output.display(), file.len()));
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
