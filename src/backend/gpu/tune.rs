//! Tuning: the fastest algorithm for each layer on a device, by measuring.

use std::time::Duration;

use web_time::Instant;

use super::{Gpu, Runner, Tensors};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::network::layer::Layer;
use crate::plan::{BATCH, Plan};
use crate::tile::{Algorithm, Tuning};

/// The time limit of one call of [`Gpu::tune`].
pub const TUNING_TIME: Duration = Duration::from_millis(1500);

impl Gpu {
    /// Measures the algorithms for each separable convolution of a network for `batch` images that `tuning` has not, those with the
    /// most work first, until `time` is up: the next call goes on with the rest. One is measured in any case.
    ///
    /// # Errors
    /// [`Error::Argument`] if `batch` is more than [`BATCH`]; [`Error::DeviceLost`] or [`Error::Gpu`] if the device fails.
    pub async fn tune(
        &self,
        tuning: &mut Tuning,
        network: &Network,
        storage: Dtype,
        batch: usize,
        time: Duration,
    ) -> Result<()> {
        if batch > BATCH {
            return Err(Error::Argument(format!("no more than {BATCH} photos are computed at once: tune for that")));
        }
        let start = Instant::now();
        while let Some((layer, algorithm, best)) = tuning.next(network, batch) {
            let better = self.better(layer, algorithm, storage, batch, best).await?;
            tuning.tried(layer, batch, better);
            if start.elapsed() >= time {
                break;
            }
        }
        Ok(())
    }

    /// An algorithm and its time, if it beats the best one; then its f16 variant is tried too, if the device has `shader-f16`.
    async fn better(
        &self,
        layer: &Layer,
        algorithm: Algorithm,
        storage: Dtype,
        batch: usize,
        mut best: Duration,
    ) -> Result<Option<(Algorithm, Duration)>> {
        let mut better = None;
        let half = algorithm.halved().filter(|_| storage == Dtype::F16 && self.has_f16());
        for algorithm in [Some(algorithm), half].into_iter().flatten() {
            let plan = Plan::of_layer(layer, algorithm, storage, batch);
            let runner = Runner::new(&plan, Tensors::new(self, &plan).await?).await?;
            let measured = runner.time(.., batch, best).await?;
            let Some(time) = measured.filter(|time| *time < best) else { break };
            best = time;
            better = Some((algorithm, time));
        }
        Ok(better)
    }

    /// The key under which a tuning is valid: adapter, driver, version of this crate, and dtype.
    pub fn tuning_key(&self, storage: Dtype) -> String {
        let wgpu::AdapterInfo { name, driver, driver_info, vendor, device, backend, .. } = &self.info;
        let version = env!("CARGO_PKG_VERSION");
        format!("{name}; {vendor:x}:{device:x}; {backend} {driver} {driver_info}; {version}; {storage}")
    }
}
