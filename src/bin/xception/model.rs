//! A model to be run, on the GPU or the CPU.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use xception::classifier::{Classifier, Loader, Options as Stored};
use xception::cpu;
use xception::dtype::Dtype;
use xception::error::Result as Outcome;
use xception::gpu::Gpu;
use xception::network::Network;
use xception::plan::Plan;
use xception::prediction::Prediction;
use xception::resize::Rgba;
use xception::weights::Overrides;
use xception::weights::safetensors::{Header, Meta};

use crate::tune::{Tune, tuning};
use crate::{Failure, Options, Progress, about, read_model, report_assumed};

/// What computes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// The GPU; the CPU where there is none, or only a software adapter.
    Auto,
    /// The GPU by WebGPU's API, software adapters included.
    Webgpu,
    /// The CPU by its vector instructions.
    Cpu,
}

/// A model to be run.
#[derive(Args)]
pub struct Run {
    /// Weights: .safetensors of this project or timm's, or Keras's .keras, .weights.h5, .h5.
    #[arg(long)]
    pub model: PathBuf,
    /// Print JSON: one object, or one for each photo that is classified.
    #[arg(long)]
    pub json: bool,
    /// What computes.
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    backend: Backend,
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
    #[command(flatten)]
    options: Options,
}

/// A model, ready to run.
pub enum Model {
    /// On the GPU.
    Gpu(Box<Classifier>),
    /// On the CPU.
    Cpu(Box<cpu::Classifier>),
}

impl Run {
    /// The model, for up to `batch` photos at once.
    pub async fn load(&self, batch: usize) -> Result<Model, Failure> {
        self.load_file(&self.model, self.options.overrides()?, self.dtype, batch).await
    }

    /// Another model on the same backend.
    pub async fn load_file(
        &self,
        path: &Path,
        overrides: Overrides,
        dtype: Option<Dtype>,
        batch: usize,
    ) -> Result<Model, Failure> {
        let gpu = match self.backend {
            Backend::Cpu => None,
            Backend::Webgpu => Some(Gpu::new().await.map_err(|error| error.to_string())?),
            Backend::Auto => Gpu::new().await.ok().filter(|gpu| !gpu.is_software()),
        };
        match gpu {
            Some(gpu) => self.on_gpu(&gpu, path, overrides, dtype, batch).await.map(Box::new).map(Model::Gpu),
            None => self.on_cpu(path, overrides, dtype).map(Box::new).map(Model::Cpu),
        }
    }

    /// The model on the GPU, whatever it is.
    pub async fn load_on_gpu(&self) -> Result<Classifier, Failure> {
        if self.backend == Backend::Cpu {
            return Err("passes are those of a GPU: leave out --backend cpu".to_owned());
        }
        let gpu = Gpu::new().await.map_err(|error| error.to_string())?;
        self.on_gpu(&gpu, &self.model, self.options.overrides()?, self.dtype, 1).await
    }

    async fn on_gpu(
        &self,
        gpu: &Gpu,
        path: &Path,
        overrides: Overrides,
        dtype: Option<Dtype>,
        batch: usize,
    ) -> Result<Classifier, Failure> {
        let (header, data) = open(path, overrides)?;
        let storage = dtype.unwrap_or_else(|| gpu.storage());
        // More photos go through by so many at a time.
        let most = Plan::new(&header.network, storage, &gpu.untuned(), 1).max_batch(gpu.max_binding());
        let tuning = Some(tuning(self.tune, gpu, &header.network, storage, batch.min(most)).await?);
        let len = header.file_len - header.data_start;
        let mut loader =
            Loader::new(gpu, header, Stored { storage: Some(storage), tuning }).await.map_err(about(path))?;
        pieces(path, data, len, |piece| loader.push(piece))?;
        loader.finish().await.map_err(about(path))
    }

    fn on_cpu(&self, path: &Path, overrides: Overrides, dtype: Option<Dtype>) -> Result<cpu::Classifier, Failure> {
        let (header, data) = open(path, overrides)?;
        let len = header.file_len - header.data_start;
        let mut loader = cpu::Loader::new(header, dtype).map_err(about(path))?;
        pieces(path, data, len, |piece| loader.push(piece))?;
        let mut model = loader.finish().map_err(about(path))?;
        if let Some(threads) = self.threads.map(usize::from) {
            model.join(cpu::ThreadTeam::spawn(threads).into(), threads);
        }
        Ok(model)
    }
}

/// A model's header and what follows it. A file of the project's own that is to be taken as it is need not be in memory as a whole.
fn open(path: &Path, overrides: Overrides) -> Result<(Header, Box<dyn Read>), Failure> {
    if let Some((header, file)) = own(path)
        && overrides.is_idle(header.dtype)
    {
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

/// Hands data on by pieces, and shows how far it is of `len` bytes.
fn pieces(
    path: &Path,
    mut data: impl Read,
    len: usize,
    mut push: impl FnMut(&[u8]) -> Outcome<()>,
) -> Result<(), Failure> {
    let progress = Progress::new(Some(len as u64), "loading {wide_bar} {bytes}/{total_bytes} {elapsed}");
    let mut piece = vec![0; 1 << 22];
    loop {
        let count = data.read(&mut piece).map_err(about(path))?;
        if count == 0 {
            return Ok(());
        }
        push(&piece[..count]).map_err(about(path))?;
        progress.bar.inc(count as u64);
    }
}

impl Model {
    /// What it is.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Gpu(model) => model.meta(),
            Self::Cpu(model) => model.meta(),
        }
    }

    /// The network that is computed.
    pub fn network(&self) -> &Network {
        match self {
            Self::Gpu(model) => model.network(),
            Self::Cpu(model) => model.network(),
        }
    }

    /// How weights are stored.
    pub fn storage(&self) -> Dtype {
        match self {
            Self::Gpu(model) => model.plan().storage,
            Self::Cpu(model) => model.storage(),
        }
    }

    /// Takes a photo.
    pub async fn upload(&mut self, photo: &Rgba) -> Outcome<()> {
        match self {
            Self::Gpu(model) => model.upload(photo).await,
            Self::Cpu(model) => {
                model.upload(photo, None);
                Ok(())
            }
        }
    }

    /// The most likely classes of the photo that was uploaded last.
    pub async fn classify(&mut self, top: usize) -> Outcome<Vec<Prediction>> {
        match self {
            Self::Gpu(model) => model.classify(top).await,
            Self::Cpu(model) => model.classify(top),
        }
    }

    /// The most likely classes of some photos.
    pub async fn classify_batch(&mut self, photos: &[Rgba], top: usize) -> Outcome<Vec<Vec<Prediction>>> {
        match self {
            Self::Gpu(model) => model.classify_batch(photos, top).await,
            Self::Cpu(model) => model.classify_batch(photos, top),
        }
    }

    /// What the network sees of the photo that was uploaded last: `[height][width][4]`.
    pub async fn input(&mut self) -> Outcome<Vec<f32>> {
        match self {
            Self::Gpu(model) => model.input().await,
            Self::Cpu(model) => Ok(model.input()),
        }
    }

    /// What a layer makes of that photo.
    pub async fn activations(&mut self, layer: &str) -> Outcome<Vec<f32>> {
        match self {
            Self::Gpu(model) => model.activations(layer)?.read().await,
            Self::Cpu(model) => model.activations(layer),
        }
    }
}
