//! `xception profile`: where the time of a photo goes, as tables, a trace, a CSV file and a roofline plot.

use std::fs;
use std::path::{Path, PathBuf};

use plotters::prelude::*;
use xception::profile::{PassProfile, Profile};

use crate::{Failure, Run, about, print, read_photo};

/// Outputs besides the tables.
#[derive(clap::Args)]
pub struct Outputs {
    /// Write the passes as a trace, which Perfetto and Chrome's performance panel open.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Print CSV, a line for each pass, instead of tables.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Write a roofline plot.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// Profiles a model on a photo and prints what its passes take.
pub async fn profile(run: &Run, runs: usize, photo: &Path, outputs: &Outputs) -> Result<(), Failure> {
    let pixels = read_photo(photo, run.limits())?;
    let mut classifier = run.load(&run.gpu().await?, 1).await?;
    let failed = about::<xception::error::Error>(&run.model);
    classifier.upload(&pixels).await.map_err(&failed)?;
    // All passes have something to read then.
    classifier.classify(1).await.map_err(&failed)?;
    let profile = Profile::new(&classifier, 1, runs).await.map_err(&failed)?;
    if let Some(path) = &outputs.trace {
        fs::write(path, profile.trace().to_string()).map_err(about(path))?;
    }
    if let Some(path) = &outputs.svg {
        fs::write(path, roofline(&profile).map_err(about(path))?).map_err(about(path))?;
    }
    print(&if run.json {
        serde_json::to_string(&profile).map_err(|error| error.to_string())?
    } else if outputs.csv {
        csv(&profile).map_err(|error| error.to_string())?
    } else {
        tables(&profile)
    });
    Ok(())
}

/// The passes as a table, with the ceilings that they are measured by.
pub fn table(profile: &Profile) -> String {
    let ceiling = profile.ceiling;
    let mut lines = vec![
        format!("roofline    {:.1} GFLOP/s, {:.1} GB/s, measured", ceiling.flops / 1e9, ceiling.bytes / 1e9),
        format!("{:<28} {:<14} {:>9} {:>9} {:>8} {:>9}", "pass", "kernel", "ms", "GFLOP/s", "GB/s", "roofline"),
    ];
    for PassProfile { label, kernel, ms, gflops, gbps, roofline, .. } in &profile.passes {
        let share = 100.0 * roofline;
        lines.push(format!("{label:<28} {kernel:<14} {ms:>9.3} {gflops:>9.1} {gbps:>8.1} {share:>7.1} %"));
    }
    lines.push(format!("{:<28} {:<14} {:>9.3}", "all", "", profile.sum_ms()));
    lines.join("\n")
}

/// The passes, and what they take by block, by flow and by kernel.
fn tables(profile: &Profile) -> String {
    let mut lines = vec![
        format!("adapter     {} ({})", profile.adapter, profile.driver),
        format!(
            "timed by    {}, median of {} runs, up to {} repeats of a pass",
            match &*profile.clock {
                "timestamps" => "the GPU's timestamps",
                _ => "this machine's clock",
            },
            profile.runs,
            profile.repeats
        ),
        format!(
            "network     {:.2} ms in one compute pass, {:.2} ms as the sum of all",
            profile.whole_ms,
            profile.sum_ms()
        ),
        table(profile),
    ];
    let mut totals = |title: &str, key: fn(&PassProfile) -> &str| {
        lines.extend([String::new(), format!("{title:<28} {:>14} {:>9} {:>9}", "passes", "ms", "share")]);
        for (name, count, ms) in profile.totals(key) {
            lines.push(format!("{name:<28} {count:>14} {ms:>9.3} {:>7.1} %", 100.0 * ms / profile.sum_ms()));
        }
    };
    totals("flow", |pass| pass.flow);
    totals("block", |pass| pass.block);
    totals("kernel", |pass| pass.kernel);
    lines.join("\n")
}

fn csv(profile: &Profile) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "label",
        "block",
        "flow",
        "kernel",
        "shape",
        "dtype",
        "grid",
        "min_ms",
        "ms",
        "share",
        "gflops",
        "gbps",
        "intensity",
        "roofline",
    ])?;
    for pass in &profile.passes {
        let by = |sizes: &[String]| sizes.join("x");
        let shape = by(&pass.shape.iter().map(usize::to_string).collect::<Vec<_>>());
        let grid = by(&pass.grid.iter().map(u32::to_string).collect::<Vec<_>>());
        let PassProfile { label, block, flow, kernel, dtype, .. } = pass;
        let texts = [label, *block, *flow, *kernel, &shape, &dtype.to_string(), &grid].map(str::to_owned);
        let numbers = [pass.min_ms, pass.ms, pass.share, pass.gflops, pass.gbps, pass.intensity, pass.roofline];
        writer.write_record(texts.into_iter().chain(numbers.map(|number| number.to_string())))?;
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// A roofline plot: throughput over arithmetic intensity, under the ceilings of arithmetic and of memory.
fn roofline(profile: &Profile) -> Result<String, String> {
    let passes: Vec<&PassProfile> = profile.passes.iter().filter(|pass| pass.gflops > 0.0).collect();
    let (flops, bytes) = (profile.ceiling.flops / 1e9, profile.ceiling.bytes / 1e9);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        (low / 2.0, high * 2.0)
    };
    let ridge = flops / bytes;
    let (left, right) = range(&mut passes.iter().map(|pass| pass.intensity).chain([ridge]));
    let (bottom, top) = range(&mut passes.iter().map(|pass| pass.gflops).chain([flops]));
    let mut kernels: Vec<&str> = passes.iter().map(|pass| pass.kernel).collect();
    kernels.sort_unstable();
    kernels.dedup();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (900, 560)).into_drawing_area();
        let draw = || -> Result<(), Box<dyn std::error::Error + '_>> {
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .caption(format!("{}, {}", profile.adapter, profile.dtype), ("sans-serif", 18))
                .margin(14)
                .x_label_area_size(44)
                .y_label_area_size(64)
                .build_cartesian_2d((left..right).log_scale(), (bottom..top).log_scale())?;
            chart.configure_mesh().x_desc("FLOP per byte").y_desc("GFLOP/s").draw()?;
            let corner = ridge.clamp(left, right);
            let roof = [(left, left * bytes), (corner, flops.min(corner * bytes)), (right, flops.min(right * bytes))];
            chart.draw_series(LineSeries::new(roof, BLACK.stroke_width(2)))?;
            for (index, kernel) in kernels.iter().enumerate() {
                let colour = Palette99::pick(index).to_rgba();
                let points = passes.iter().filter(|pass| pass.kernel == *kernel);
                // Larger where more of the time goes.
                let points = points.map(|pass| {
                    let size = 3.0 + 40.0 * pass.share.sqrt();
                    Circle::new((pass.intensity, pass.gflops), size as i32, colour.mix(0.6).filled())
                });
                chart
                    .draw_series(points)?
                    .label(*kernel)
                    .legend(move |(x, y)| Circle::new((x + 8, y), 5, colour.filled()));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .background_style(WHITE.mix(0.8))
                .draw()?;
            area.present()?;
            Ok(())
        };
        draw().map_err(|error| error.to_string())?;
    }
    Ok(text)
}
