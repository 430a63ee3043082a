//! Registers, spills, occupancy and innermost loops of a network's pipelines, by the compilers of GPUs that are not here. `npm run isa`
//! fetches AMD's driver; docs/performance.md tells how to read the table.

mod assembly;
mod bound;
mod driver;
mod spirv;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use clap::Parser;
use serde::{Deserialize, Serialize};
use xception::dtype::Dtype;
use xception::network::{Architecture, HeadLayer, Network, Output};
use xception::ops::Op;
use xception::plan::Plan;
use xception::tile::{Algorithm, GpuKind, ProblemSize, Tuning};

use crate::assembly::Loop;
use crate::bound::{Bound, Gpu};
use crate::driver::Driver;

/// Registers, spills, occupancy and innermost loops of a network's pipelines, by the compilers of GPUs that are not here.
#[derive(Parser)]
struct Arguments {
    /// GPUs, by the names that RADV_FORCE_FAMILY takes: navi31 (RX 7900 XTX), phoenix (780M), navi21, vega10 …;
    /// any name where VK_ICD_FILENAMES chooses another driver.
    #[arg(long, default_value = "navi31", value_delimiter = ',')]
    gpu: Vec<String>,
    /// A folder with Mesa's Vulkan driver for AMD, as `npm run isa` makes it.
    #[arg(long, default_value = "target/isa")]
    drivers: PathBuf,
    /// The network: `xception`, `inception_v3` …
    #[arg(long, default_value = "xception")]
    network: Architecture,
    /// How weights and activations are stored: `f32` or `f16`.
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    /// Photos at once.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// An algorithm for every product, such as `fused 32x64/4x4/2`, in place of the default; `all` for each there is.
    #[arg(long)]
    algorithm: Option<String>,
    /// Only pipelines whose name, `block5_sepconv1 sepconv 32x64/4x4/2`, has this in it.
    #[arg(long, default_value = "")]
    filter: String,
    /// A bound of each pass's time on GPUs by name, in place of the compiler's figures.
    #[arg(long, conflicts_with_all = ["compare", "write"])]
    bound: bool,
    /// Compile as browsers do, with a counter in each loop.
    #[arg(long)]
    bounded: bool,
    /// Write the assembly of each pipeline, and its SPIR-V for other compilers, to this folder.
    #[arg(long)]
    assembly: Option<PathBuf>,
    /// Compare with docs/isa.json, and fail where anything became worse.
    #[arg(long)]
    compare: bool,
    /// Write them all to docs/isa.json.
    #[arg(long, conflicts_with_all = ["algorithm", "filter"])]
    write: bool,
}

const KNOWN: &str = "docs/isa.json";

/// A pipeline's figures, by its driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Vector registers of an invocation.
    registers: u64,
    /// Registers that do not fit, in memory.
    spills: u64,
    /// Subgroups that a SIMD unit holds at once.
    occupancy: u64,
    /// Bytes of workgroup memory.
    workgroup_memory: u64,
    /// Bytes of code.
    code: u64,
    /// Instructions.
    instructions: u64,
    /// Cycles by the driver's own estimate, which guesses how often loops run.
    cycles: u64,
    /// The loop that has the most multiply-adds.
    innermost: Loop,
}

/// By GPU, network, dtype and batch, then by pipeline.
type Reports = BTreeMap<String, BTreeMap<String, Report>>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let mut known = Reports::new();
    if let Ok(text) = fs::read_to_string(KNOWN) {
        known = serde_json::from_str(&text)
            .map_err(|error| format!("{KNOWN}: {error}; --write makes it anew once it is removed"))?;
    }
    let is_chosen = env::var_os("VK_ICD_FILENAMES").is_some();
    let mut is_worse = false;
    for gpu in &arguments.gpu {
        if !is_chosen {
            driver::choose_amd(gpu, &arguments.drivers)?;
        }
        let driver = Driver::open()?;
        if arguments.bound {
            bound::gpus(gpu).try_for_each(|gpu| bounds(arguments, &driver, gpu))?;
            continue;
        }
        let title = format!("{gpu}, {} in {}, batch {}", arguments.network, arguments.dtype, arguments.batch);
        println!("\n{title}: {}\n\n{HEADER}", driver.name());
        let (before, mut now) = (known.get(&title), BTreeMap::new());
        for Pipeline { name, op, .. } in pipelines(arguments, GpuKind::named(driver.name()))? {
            let report = driver.report(op, arguments, &name)?;
            println!("{}", row(&name, &report));
            if arguments.compare {
                is_worse |= differences(&name, before.and_then(|reports| reports.get(&name)), &report);
            }
            now.insert(name, report);
        }
        if arguments.write {
            known.insert(title, now);
        }
    }
    if arguments.write {
        fs::write(KNOWN, serde_json::to_string_pretty(&known)? + "\n")?;
    }
    Ok(!is_worse)
}

/// Prints the bound of each pass on a GPU, and of all together as a multiple of what the arithmetic takes at the GPU's peak.
fn bounds(arguments: &Arguments, driver: &Driver, gpu: &Gpu) -> Result<(), Box<dyn Error>> {
    println!(
        "\n{}, {} in {}, batch {}\n\n passes  each, ms  of peak | pipeline",
        gpu.name, arguments.network, arguments.dtype, arguments.batch
    );
    let (mut total, mut macs) = (0.0, 0);
    for Pipeline { name, op, passes, bytes } in pipelines(arguments, GpuKind::named(gpu.name))? {
        let report = driver.report(op, arguments, &name)?;
        let Bound { milliseconds, reason } = gpu.bound(op, &report, arguments.dtype, arguments.batch, bytes);
        let share = gpu.peak(op.macs() * arguments.batch as u64) / milliseconds;
        println!("{passes:7}  {milliseconds:8.4}  {:5.0} % | {name}: {reason}", 100.0 * share);
        total += passes as f64 * milliseconds;
        macs += passes * op.macs() * arguments.batch as u64;
    }
    println!("together {total:.3} ms, {:.2} times {:.3} ms at the peak", total / gpu.peak(macs), gpu.peak(macs));
    Ok(())
}

/// An operation of a network's plans.
struct Pipeline {
    /// The first pass that has it, the kernel and the tile.
    name: String,
    op: Op,
    /// How many passes have it.
    passes: u64,
    /// Bytes that one reads and writes.
    bytes: u64,
}

/// The distinct operations of the network's plans on a kind of GPU.
fn pipelines(arguments: &Arguments, kind: GpuKind) -> Result<Vec<Pipeline>, Box<dyn Error>> {
    let side = arguments.network.min_side().max(299);
    let head = [HeadLayer::average(), HeadLayer::dense("predictions", 1000, None)];
    let network = Network::new([side; 2], &head, Output::Softmax, arguments.network)?;
    let algorithms: Vec<Option<Algorithm>> = match arguments.algorithm.as_deref() {
        None => vec![None],
        Some("all") => Algorithm::exact().map(Some).collect(),
        Some(name) => vec![Some(Algorithm::named(name).ok_or_else(|| format!("no algorithm is called {name}"))?)],
    };
    let mut found: Vec<Pipeline> = Vec::new();
    for algorithm in algorithms {
        let mut tuning = Tuning::untuned(kind);
        for layer in &network.layers {
            let size = ProblemSize::of(layer, arguments.batch);
            size.zip(algorithm).into_iter().for_each(|(size, algorithm)| tuning.insert(size, algorithm));
        }
        let plan = Plan::new(&network, arguments.dtype, &tuning, arguments.batch);
        for pass in &plan.passes {
            let tile = pass.op.tile().map_or_else(String::new, |tile| format!(" {tile}"));
            let name = format!("{} {}{tile}", pass.label, pass.op.kernel().name);
            if let Some(known) = found.iter_mut().find(|known| known.op == pass.op) {
                known.passes += 1;
            } else {
                let bytes = plan.traffic(pass, arguments.batch);
                found.push(Pipeline { name, op: pass.op, passes: 1, bytes });
            }
        }
    }
    found.retain(|pipeline| pipeline.name.contains(&arguments.filter));
    if found.is_empty() {
        return Err(format!("no pipeline's name has '{}' in it", arguments.filter).into());
    }
    Ok(found)
}

const HEADER: &str = "registers  spills  waves  memory   code  instructions  cycles | loop: multiply-add  other ALU  loads  waits | pipeline";

fn row(name: &str, report: &Report) -> String {
    let Report { registers, spills, occupancy, workgroup_memory, code, instructions, cycles, innermost } = report;
    let Loop { multiply_adds, other, loads, waits } = innermost;
    format!(
        "{registers:9}  {spills:6}  {occupancy:5}  {workgroup_memory:6}  {code:5}  {instructions:12}  {cycles:6} | {multiply_adds:17}  {other:9}  {loads:5}  \
         {waits:5} | {name}"
    )
}

/// Prints the figures of before where they differ; whether anything became worse: more registers in memory, or fewer subgroups at once.
fn differences(name: &str, before: Option<&Report>, now: &Report) -> bool {
    match before {
        None => println!("    new"),
        Some(before) if before == now => {}
        Some(before) => println!("{}  before", row(name, before)),
    }
    before.is_some_and(|before| now.spills > before.spills || now.occupancy < before.occupancy)
}
