//! Registers, spills, occupancy and innermost loops of a network's pipelines, by the compilers of GPUs that are not here. `npm run isa`
//! fetches AMD's driver; docs/performance.md tells how to read the table.

mod assembly;
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
use xception::tile::{Algorithm, ProblemSize, Tile, Tuning};

use crate::assembly::Loop;
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
    /// Compile as browsers do, with a counter in each loop.
    #[arg(long)]
    bounded: bool,
    /// Write the assembly of each pipeline to this folder.
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
    let pipelines = pipelines(arguments)?;
    if pipelines.is_empty() {
        return Err(format!("no pipeline's name has '{}' in it", arguments.filter).into());
    }
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
        let title = format!("{gpu}, {} in {}, batch {}", arguments.network, arguments.dtype, arguments.batch);
        println!("\n{title}: {}\n\n{HEADER}", driver.name());
        let (before, mut now) = (known.get(&title), BTreeMap::new());
        for (name, op) in &pipelines {
            let report = driver.report(*op, arguments, name)?;
            println!("{}", row(name, &report));
            if arguments.compare {
                is_worse |= differences(name, before.and_then(|reports| reports.get(name)), &report);
            }
            now.insert(name.clone(), report);
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

/// The distinct operations of the network's plans, by the first pass that has each.
fn pipelines(arguments: &Arguments) -> Result<Vec<(String, Op)>, Box<dyn Error>> {
    let side = arguments.network.min_side().max(299);
    let head = [HeadLayer::average(), HeadLayer::dense("predictions", 1000, None)];
    let network = Network::new([side; 2], &head, Output::Softmax, arguments.network)?;
    let algorithms: Vec<Option<Algorithm>> = match arguments.algorithm.as_deref() {
        None => vec![None],
        Some("all") => Algorithm::exact().map(Some).collect(),
        Some(name) => vec![Some(Algorithm::named(name).ok_or_else(|| format!("no algorithm is called {name}"))?)],
    };
    let mut found: Vec<(String, Op)> = Vec::new();
    for algorithm in algorithms {
        let mut tuning = Tuning::default();
        for layer in &network.layers {
            let size = ProblemSize::of(layer, arguments.batch);
            size.zip(algorithm).into_iter().for_each(|(size, algorithm)| tuning.insert(size, algorithm));
        }
        for pass in Plan::new(&network, arguments.dtype, &tuning, arguments.batch).passes {
            let tile = tile(pass.op).map_or_else(String::new, |tile| format!(" {tile}"));
            let name = format!("{} {}{tile}", pass.label, pass.op.kernel().name);
            if name.contains(&arguments.filter) && found.iter().all(|(_, op)| *op != pass.op) {
                found.push((name, pass.op));
            }
        }
    }
    Ok(found)
}

fn tile(op: Op) -> Option<Tile> {
    match op {
        Op::Conv(conv) => conv.tile,
        Op::Pointwise(pointwise) => pointwise.tile,
        Op::Sepconv(sepconv) => Some(sepconv.tile),
        _ => None,
    }
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
