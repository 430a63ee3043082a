//! A model to be run, and the device that runs it.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};
use xception::backend::cpu::ThreadTeam;
use xception::backend::{Backend, Cpu, Engine, Gpu, Reference};
use xception::classifier::{self, Classifier, Loader};
use xception::dtype::Dtype;
use xception::error::{Error, Result as Outcome};
use xception::limits::Limits;
use xception::network::Network;
use xception::plan::Plan;
use xception::profile::Profile;
use xception::tile::Tuning;
use xception::weights::Overrides;
use xception::weights::safetensors::Header;

use crate::losses::Losses;
use crate::tune::{Tune, tuning};
use crate::{Failure, Options, Progress, about, megabytes, read_model, report_assumed};

/// The choice of a backend.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    /// The GPU; the CPU where there is none, or only a software adapter.
    Auto,
    /// The GPU by WebGPU's API, software adapters included.
    Webgpu,
    /// The CPU by its vector instructions.
    Cpu,
    /// Every operation by its definition: slow, to find which layer of another backend is wrong.
    Reference,
}

/// A model to be run.
#[derive(Args)]
pub struct Run {
    /// Weights: .safetensors of this project or timm's, PyTorch's .pth, Keras's .keras, .weights.h5, .h5, or TensorFlow.js's model.json.
    #[arg(long)]
    pub model: PathBuf,
    /// Print JSON: one object, or one for each photo that is classified.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    options: Options,
}

/// The device of a model, and how it computes.
#[derive(Args)]
pub struct Place {
    /// The choice of a backend.
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    backend: Choice,
    /// Threads of the CPU; by default as many as it has cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// How weights are stored, on the GPU activations too; by default f16 there and f32 on software adapters, on the CPU as in the
    /// file.
    #[arg(long, value_parser = PossibleValuesParser::new(["f32", "f16"]).try_map(|name| name.parse::<Dtype>()))]
    dtype: Option<Dtype>,
    /// Whether to try which shaders are fastest on this GPU.
    #[arg(long, value_enum, default_value_t = Tune::Auto)]
    tune: Tune,
}

/// The device that was chosen.
#[expect(clippy::large_enum_variant, reason = "there is one")]
pub enum AnyDevice {
    /// A GPU.
    Gpu(Gpu),
    /// The CPU.
    Cpu(Cpu),
    /// The reference.
    Reference(Reference),
}

/// Computes an expression with the device that a [`Run`] or a [`Place`] asks for, whichever it is; again with a new one if it fails
/// because a GPU was lost.
macro_rules! on_device {
    ($run:expr, $device:ident => $work:expr) => {{
        let mut losses = $crate::losses::Losses::default();
        loop {
            let (outcome, lost) = match $run.device(&mut losses).await? {
                $crate::model::AnyDevice::Gpu($device) => ($work, $crate::model::lost(&$device)),
                $crate::model::AnyDevice::Cpu($device) => ($work, None),
                $crate::model::AnyDevice::Reference($device) => ($work, None),
            };
            match lost {
                Some(reason) if outcome.is_err() => losses.note(&reason),
                _ => break outcome,
            }
        }
    }};
}
pub(crate) use on_device;

/// Why a device was lost, if it was.
pub fn lost(device: &impl Backend) -> Option<String> {
    match device.check() {
        Err(Error::DeviceLost(reason)) => Some(reason),
        _ => None,
    }
}

const NO_GPU: &str = "only a GPU's passes are timed: run with --backend webgpu";

/// The command line's additions to a backend.
pub trait Device: Backend {
    /// How a network for some number of photos is best computed.
    fn tuning(
        &self,
        _mode: Tune,
        _network: &Network,
        _storage: Dtype,
        _batch: usize,
    ) -> impl Future<Output = Result<Tuning, Failure>> {
        std::future::ready(Ok(self.untuned()))
    }

    /// `bench`'s facts about a model, as JSON and as lines.
    fn figures(model: &Classifier<Self>, batch: usize) -> impl Future<Output = Outcome<(Value, String)>>;

    /// The passes of some photos, timed.
    fn profile(
        _model: &Classifier<Self>,
        _batch: usize,
        _runs: usize,
    ) -> impl Future<Output = Result<Profile, Failure>> {
        std::future::ready(Err(NO_GPU.to_owned()))
    }
}

impl Device for Cpu {
    async fn figures(model: &Classifier<Self>, _batch: usize) -> Outcome<(Value, String)> {
        Ok(host_figures("cpu", model))
    }
}

impl Device for Reference {
    async fn figures(model: &Classifier<Self>, _batch: usize) -> Outcome<(Value, String)> {
        Ok(host_figures("reference", model))
    }
}

fn host_figures<D: Device>(backend: &str, model: &Classifier<D>) -> (Value, String) {
    let (name, bytes) = (model.backend().name(), model.bytes());
    let lines = format!("adapter     {name}\nmemory      {} MB", megabytes(bytes));
    (json!({"backend": backend, "adapter": name, "bytes": bytes}), lines)
}

impl Device for Gpu {
    async fn tuning(&self, mode: Tune, network: &Network, storage: Dtype, batch: usize) -> Result<Tuning, Failure> {
        tuning(mode, self, network, storage, batch).await
    }

    async fn figures(model: &Classifier<Self>, batch: usize) -> Outcome<(Value, String)> {
        let engine = model.engine(batch);
        let (runner, passes) = (engine.runner(), engine.plan().passes.len());
        let time = runner.time(0..passes, batch, Duration::MAX).await?.unwrap_or_default();
        let ms = time.as_secs_f64() * 1e3;
        let gflops = 2.0 * (model.network().macs() * batch as u64) as f64 / ms / 1e6;
        let (info, bytes) = (&model.backend().info, model.bytes());
        let (dispatches, pipelines) = (passes + 2, runner.pipelines() + 2);
        let json = json!({
            "adapter": info.name, "driver": info.driver, "driverInfo": info.driver_info,
            "backend": info.backend.to_string(), "gpuMs": ms, "gflops": gflops,
            "dispatches": dispatches, "pipelines": pipelines, "gpuBytes": bytes,
        });
        let lines = [
            format!("adapter     {} ({}, {} {})", info.name, info.backend, info.driver, info.driver_info),
            format!("GPU memory  {} MB", megabytes(bytes)),
            format!("dispatches  {dispatches}, of {pipelines} pipelines"),
            format!("network     {ms:.2} ms, {gflops:.1} GFLOP/s"),
        ];
        Ok((json, lines.join("\n")))
    }

    async fn profile(model: &Classifier<Self>, batch: usize, runs: usize) -> Result<Profile, Failure> {
        Profile::new(model, batch, runs).await.map_err(|error| error.to_string())
    }
}

impl Place {
    /// The device that computes, after some were lost.
    pub async fn device(&self, losses: &mut Losses) -> Result<AnyDevice, Failure> {
        while losses.are_any() && !losses.is_enough() {
            match Gpu::new().await {
                Ok(gpu) => return Ok(AnyDevice::Gpu(gpu)),
                Err(error) => losses.note(&error.to_string()),
            }
        }
        Ok(match self.backend {
            _ if losses.is_enough() => AnyDevice::Cpu(self.cpu()),
            Choice::Webgpu => AnyDevice::Gpu(Gpu::new().await.map_err(|error| error.to_string())?),
            Choice::Auto => match Gpu::new().await.ok().filter(|gpu| !gpu.is_software()) {
                Some(gpu) => AnyDevice::Gpu(gpu),
                None => AnyDevice::Cpu(self.cpu()),
            },
            Choice::Cpu => AnyDevice::Cpu(self.cpu()),
            Choice::Reference => AnyDevice::Reference(Reference),
        })
    }

    fn cpu(&self) -> Cpu {
        match self.threads.map(usize::from) {
            Some(threads) => Cpu::with_team(ThreadTeam::spawn(threads).into(), threads),
            None => Cpu::new(),
        }
    }

    /// The GPU, also a software adapter.
    pub async fn gpu(&self) -> Result<Gpu, Failure> {
        match self.backend {
            Choice::Auto | Choice::Webgpu => Gpu::new().await.map_err(|error| error.to_string()),
            _ => Err(NO_GPU.to_owned()),
        }
    }

    /// A model from its header and the bytes behind it; `path` is what is named where that fails.
    pub async fn load<D: Device>(
        &self,
        device: &D,
        path: &Path,
        (header, mut data): (Header, impl Read),
        dtype: Option<Dtype>,
        batch: usize,
    ) -> Result<Classifier<D>, Failure> {
        let storage = device.storage(&header, dtype.or(self.dtype)).map_err(about(path))?;
        // Larger batches are split.
        let most = device.max_batch(&Plan::new(&header.network, device.activations(storage), &device.untuned(), 1));
        let tuning = Some(device.tuning(self.tune, &header.network, storage, batch.min(most)).await?);
        let len = header.file_len - header.data_start;
        let progress = Progress::new(Some(len as u64), "loading {wide_bar} {bytes}/{total_bytes} {elapsed}");
        let how = classifier::Options { storage: Some(storage), tuning };
        let mut loader = Loader::new(device, header, how).await.map_err(about(path))?;
        let mut piece = vec![0; 1 << 22];
        loop {
            let count = data.read(&mut piece).map_err(about(path))?;
            if count == 0 {
                break;
            }
            loader.push(&piece[..count]).map_err(about(path))?;
            progress.bar.inc(count as u64);
        }
        loader.finish().await.map_err(about(path))
    }
}

impl Run {
    /// The device that computes.
    pub async fn device(&self, losses: &mut Losses) -> Result<AnyDevice, Failure> {
        self.place.device(losses).await
    }

    /// The GPU, also a software adapter.
    pub async fn gpu(&self) -> Result<Gpu, Failure> {
        self.place.gpu().await
    }

    /// The most that is read of a file.
    pub const fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Caller overrides of what the model's file says.
    pub fn overrides(&self) -> Result<Overrides, Failure> {
        self.options.overrides()
    }

    /// The model, for up to `batch` photos at once.
    pub async fn load<D: Device>(&self, device: &D, batch: usize) -> Result<Classifier<D>, Failure> {
        self.load_file(device, &self.model, self.overrides()?, None, batch).await
    }

    /// Another model; `dtype` goes before that of the options.
    pub async fn load_file<D: Device>(
        &self,
        device: &D,
        path: &Path,
        overrides: Overrides,
        dtype: Option<Dtype>,
        batch: usize,
    ) -> Result<Classifier<D>, Failure> {
        self.place.load(device, path, open(path, overrides)?, dtype, batch).await
    }
}

/// A model's header and what follows it. A file of the project's own that is to be taken as it is need not be in memory as a whole.
pub fn open(path: &Path, overrides: Overrides) -> Result<(Header, Box<dyn Read>), Failure> {
    if let Some((header, file)) = own(path)
        && overrides.is_idle(header.dtype)
    {
        overrides.limits.check_weights(header.file_len as u64).map_err(about(path))?;
        report_assumed(path, &header.meta);
        return Ok((header, Box::new(file)));
    }
    let file = read_model(path, overrides)?;
    let header = Header::parse(&file).map_err(about(path))?;
    report_assumed(path, &header.meta);
    let mut data = Cursor::new(file);
    data.set_position(header.data_start as u64);
    Ok((header, Box::new(data)))
}

/// A file of the project's own, from its header on; the conversion of other files reports what is wrong with them.
fn own(path: &Path) -> Option<(Header, File)> {
    let mut file = File::open(path).ok()?;
    let mut header = vec![0; 8];
    file.read_exact(&mut header).ok()?;
    header.resize(Header::len(&header).ok()?, 0);
    file.read_exact(&mut header[8..]).ok()?;
    Some((Header::parse(&header).ok()?, file))
}
