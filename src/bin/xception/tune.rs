//! Measurements of this machine's GPU, kept from run to run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use xception::backend::gpu::TUNING_TIME;
use xception::backend::{Backend, Gpu};
use xception::dtype::Dtype;
use xception::network::Network;
use xception::tile::Tuning;

use crate::{Failure, Progress};

/// Whether to measure which shaders are fastest.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tune {
    /// Once for each GPU and driver, 1.5 s at most each time until all were tried; software adapters do without.
    Auto,
    /// As auto, and again where it was measured before.
    Again,
    /// Never.
    Off,
}

/// The file that keeps them, if the system has a cache folder.
fn file() -> Option<PathBuf> {
    dirs::cache_dir().map(|folder| folder.join("xception-webgpu").join("tuning.json"))
}

/// How a network for some number of photos is best computed here.
pub async fn tuning(mode: Tune, gpu: &Gpu, network: &Network, storage: Dtype, batch: usize) -> Result<Tuning, Failure> {
    if mode == Tune::Off || (mode == Tune::Auto && gpu.is_software()) {
        return Ok(gpu.untuned());
    }
    let file = file();
    // A file that cannot be read is measured again.
    let text = file.as_ref().and_then(|file| fs::read(file).ok()).unwrap_or_default();
    let mut kept: BTreeMap<String, String> = serde_json::from_slice(&text).unwrap_or_default();
    let kept_here = kept.entry(gpu.tuning_key(storage)).or_default();
    let mut tuning = gpu.untuned();
    tuning.read(kept_here);
    // Photos that are left over go through by themselves.
    for batch in BTreeSet::from([1, batch]) {
        if mode == Tune::Again {
            tuning.restart(network, batch);
        }
        if tuning.next(network, batch).is_none() {
            continue;
        }
        let _progress = Progress::new(None, "{spinner} trying shaders, once for this GPU {elapsed}");
        let measured = gpu.tune(&mut tuning, network, storage, batch, TUNING_TIME);
        measured.await.map_err(|error| error.to_string())?;
    }
    *kept_here = tuning.to_string();
    if let Some(file) = file {
        // It is measured again where it cannot be kept.
        let _ = file.parent().map_or(Ok(()), fs::create_dir_all);
        let _ = fs::write(&file, serde_json::to_vec_pretty(&kept).unwrap_or_default());
    }
    Ok(tuning)
}
