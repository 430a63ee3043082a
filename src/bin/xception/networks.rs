//! `xception compare-networks`: the networks side by side on this device.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Instant;

use plotters::prelude::*;
use serde::Serialize;
use xception::classifier::Classifier;
use xception::dtype::Dtype;
use xception::limits::Limits;
use xception::network::{Architecture, HeadLayer, Network, Output, Published};
use xception::prediction::Prediction;
use xception::resize::{Preprocessing, Rgba};
use xception::weights::Overrides;
use xception::weights::safetensors::{Header, Meta, Model, Source};

use crate::model::{Device, Place, open};
use crate::{Failure, Progress, about, print, read_photo};

/// Height and width of the networks' input where no weights tell another one.
const SIZE: [usize; 2] = [299; 2];

/// The networks to compare.
#[derive(clap::Args)]
pub struct Comparison {
    /// Networks without weights, of which only time and size are compared: `xception`, `inception_v3` …; by default all of which the
    /// accuracy is published.
    #[arg(long = "network", value_delimiter = ',')]
    networks: Vec<Architecture>,
    /// A photo that the models classify.
    #[arg(long)]
    photo: Option<PathBuf>,
    /// How many times each network runs, in turns, after a first time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write a plot: published accuracy against time.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// The most that is read of a file. Those that are not named keep their defaults.
    #[arg(long, default_value_t, value_name = "NAME=NUMBER,…")]
    limits: Limits,
    /// Models: weights of any supported kind.
    models: Vec<PathBuf>,
}

/// A network on this device.
#[derive(Serialize)]
struct Row {
    network: Architecture,
    /// The file of its weights, if there is one.
    model: Option<String>,
    parameters: usize,
    macs: u64,
    /// Bytes of the weights as they are stored.
    bytes: u64,
    passes: usize,
    /// Median, least and most milliseconds of a photo.
    ms: [f64; 3],
    published: Option<Published>,
    predictions: Vec<Prediction>,
}

/// Loads the networks, runs them in turns, and prints the table.
pub async fn compare<D: Device>(place: &Place, device: &D, comparison: &Comparison) -> Result<(), Failure> {
    let published = Published::all();
    let limits = comparison.limits;
    let photo = comparison.photo.as_deref().map(|path| read_photo(path, &limits)).transpose()?;
    let mut models: Vec<(Option<&Path>, Classifier<D>)> = Vec::new();
    for path in &comparison.models {
        let model =
            place.load(device, path, open(path, Overrides { limits, ..Overrides::default() })?, None, 1).await?;
        models.push((Some(path), model));
    }
    let networks = match &comparison.networks[..] {
        [] => published.iter().map(|published| published.network).collect(),
        networks => networks.to_vec(),
    };
    let given: Vec<Architecture> = models.iter().map(|(_, model)| model.meta().architecture).collect();
    for network in networks.into_iter().filter(|network| !given.contains(network)) {
        let (header, data) = without_weights(network)?;
        models.push((None, place.load(device, Path::new(&network.to_string()), (header, data), None, 1).await?));
    }
    let [height, width] = SIZE;
    let blank = Rgba::new(width, height, (0..width * height * 4).map(|i| (i * 31 % 251) as u8).collect());
    let (has_photo, photo) = (photo.is_some(), photo.map_or(blank, Ok).map_err(|error| error.to_string())?);
    let runs = comparison.runs as usize;
    let progress = Progress::new(Some((models.len() * (runs + 1)) as u64), "running {wide_bar} {pos}/{len} {elapsed}");
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); models.len()];
    let mut predictions: Vec<Vec<Prediction>> = vec![Vec::new(); models.len()];
    for run in 0..=runs {
        for (index, (path, model)) in models.iter_mut().enumerate() {
            let start = Instant::now();
            let answer = once(model, &photo).await.map_err(|error| error.to_string())?;
            if run > 0 {
                times[index].push(start.elapsed().as_secs_f64() * 1e3);
            }
            if path.is_some() && has_photo {
                predictions[index] = answer;
            }
            progress.bar.inc(1);
        }
    }
    drop(progress);
    let rows = models.iter().zip(times).zip(predictions).map(|(((path, model), mut times), predictions)| {
        times.sort_by(f64::total_cmp);
        let network = model.meta().architecture;
        // A model of other classes is another one than the published.
        let is_imagenet = model.network().outputs() == 1000;
        Row {
            network,
            model: path.map(|path| path.display().to_string()),
            parameters: model.network().parameter_count(),
            macs: model.network().macs(),
            bytes: model.plan().weight_bytes(),
            passes: model.plan().passes.len(),
            ms: [times[runs / 2], times[0], times[runs - 1]],
            published: published.iter().find(|published| is_imagenet && published.network == network).cloned(),
            predictions,
        }
    });
    let rows: Vec<Row> = rows.collect();
    if let Some(path) = &comparison.svg {
        fs::write(path, plot(&rows, &device.name()).map_err(about(path))?).map_err(about(path))?;
    }
    print(&if comparison.json {
        serde_json::to_string(&rows).map_err(|error| error.to_string())?
    } else {
        table(&rows, &device.name())
    });
    Ok(())
}

/// The most likely classes of a photo, if the model has any.
async fn once<D: Device>(model: &mut Classifier<D>, photo: &Rgba) -> xception::error::Result<Vec<Prediction>> {
    model.upload(photo).await?;
    match model.network().classes() {
        0 => model.predict().await.map(|_| Vec::new()),
        _ => model.classify(5).await,
    }
}

/// A network of 1000 classes whose weights are all zero, which takes as long as any other.
fn without_weights(architecture: Architecture) -> Result<(Header, Cursor<Vec<u8>>), Failure> {
    let head = vec![HeadLayer::average(), HeadLayer::dense("predictions", 1000, None)];
    let failed = |error: xception::error::Error| error.to_string();
    let network = Network::new(SIZE, &head, Output::Softmax, architecture).map_err(failed)?;
    let meta = Meta {
        architecture,
        input_size: SIZE,
        front: Vec::new(),
        head,
        output: Output::Softmax,
        is_logits: false,
        labels: Vec::new(),
        preprocessing: Preprocessing::default(),
        source: Source::default(),
        ignored: Vec::new(),
        assumed: Vec::new(),
    };
    let tensors = network.tensors().iter().map(|tensor| vec![0.0; tensor.len()]).collect();
    let file = Model { meta, tensors }.serialize(Dtype::F32).map_err(failed)?;
    let header = Header::parse(&file).map_err(failed)?;
    let mut data = Cursor::new(file);
    data.set_position(header.data_start as u64);
    Ok((header, data))
}

fn table(rows: &[Row], device: &str) -> String {
    let width = rows.iter().map(|row| row.network.to_string().len()).max().unwrap_or_default().max(7);
    let mut lines = vec![
        format!("{device}; a photo from its pixels to its classes, median of runs in turns"),
        format!(
            "{:<width$} {:>10} {:>6} {:>8} {:>6} {:>22} {:>11} {:>6} {:>6}  published",
            "network", "parameters", "GMAC", "MB", "passes", "ms (least to most)", "ms per GMAC", "top-1", "top-5"
        ),
    ];
    for row in rows {
        let [median, least, most] = row.ms;
        let gmac = row.macs as f64 / 1e9;
        let times = format!("{median:.1} ({least:.1} to {most:.1})");
        let accuracy = row.published.as_ref().map_or_else(
            || format!("{:>6} {:>6}", "", ""),
            |Published { weights, top1, top5, source, .. }| format!("{top1:>6.1} {top5:>6.1}  {weights}, {source}"),
        );
        lines.push(format!(
            "{:<width$} {:>8.2} M {gmac:>6.2} {:>8.1} {:>6} {times:>22} {:>11.1} {accuracy}",
            row.network.to_string(),
            row.parameters as f64 / 1e6,
            row.bytes as f64 / 1e6,
            row.passes,
            median / gmac
        ));
    }
    for Row { network, model, predictions, .. } in rows.iter().filter(|row| !row.predictions.is_empty()) {
        lines.push(format!("\n{} ({network})", model.as_deref().unwrap_or_default()));
        lines.extend(predictions.iter().map(|p| format!("  {:6.2} %  {}", 100.0 * p.score, p.label)));
    }
    lines.join("\n")
}

/// Published accuracy against time, as people draw it; a circle's area is the number of parameters.
fn plot(rows: &[Row], device: &str) -> Result<String, String> {
    let points: Vec<(f64, f64, &Row)> =
        rows.iter().filter_map(|row| Some((row.ms[0], row.published.as_ref()?.top1, row))).collect();
    let right = points.iter().map(|point| point.0).fold(1.0, f64::max) * 1.25;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (900, 560)).into_drawing_area();
        let draw = || -> Result<(), Box<dyn std::error::Error + '_>> {
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .caption(device, ("sans-serif", 18))
                .margin(14)
                .x_label_area_size(44)
                .y_label_area_size(64)
                .build_cartesian_2d(0.0..right, 76.0..85.0)?;
            chart.configure_mesh().x_desc("ms a photo").y_desc("published top-1, %").draw()?;
            for (index, &(ms, top1, row)) in points.iter().enumerate() {
                let colour = Palette99::pick(index).to_rgba();
                let size = (row.parameters as f64 / 1e6).sqrt() * 2.0;
                chart.draw_series([Circle::new((ms, top1), size as i32, colour.mix(0.6).filled())])?;
                // Above and below in turns: some lie side by side.
                let place = if index % 2 == 0 { top1 + 0.4 } else { top1 - 0.25 };
                let name = Text::new(row.network.to_string(), (ms, place), ("sans-serif", 13));
                chart.draw_series([name])?;
            }
            area.present()?;
            Ok(())
        };
        draw().map_err(|error| error.to_string())?;
    }
    Ok(text)
}
