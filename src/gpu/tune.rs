//! Which method computes each layer fastest on a device, by trying.

use std::time::Duration;

use web_time::Instant;

use super::{Gpu, Runner, Tensors};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layer::Layer;
use crate::network::Network;
use crate::plan::Plan;
use crate::tile::{Kind, Method, Tuning};

/// How long tuning may take.
pub const TUNING_TIME: Duration = Duration::from_millis(1500);

impl Gpu {
    /// Measures the methods for each separable convolution of a network for `batch` images, the longest layers first, until
    /// `time` is up; what it did not come to stays as `tuning` has it.
    ///
    /// # Errors
    /// [`crate::error::Error::Gpu`] where the device fails.
    pub async fn tune(
        &self,
        tuning: &mut Tuning,
        network: &Network,
        storage: Dtype,
        batch: usize,
        time: Duration,
    ) -> Result<()> {
        let start = Instant::now();
        // Layers that compute the same, with their work altogether.
        let mut kinds: Vec<(Kind, &Layer, u64)> = Vec::new();
        for layer in &network.layers {
            let Some(kind) = Kind::of(layer, batch) else { continue };
            match kinds.iter_mut().find(|(other, ..)| *other == kind) {
                Some((.., macs)) => *macs += layer.macs(),
                None => kinds.push((kind, layer, layer.macs())),
            }
        }
        while let Some(most) = (0..kinds.len()).max_by_key(|&index| kinds[index].2) {
            let all: u64 = kinds.iter().map(|&(.., macs)| macs).sum();
            let (kind, layer, macs) = kinds.swap_remove(most);
            let share = time.saturating_sub(start.elapsed()).mul_f64(macs as f64 / all as f64);
            if let Some(method) = self.fastest(layer, storage, batch, share).await? {
                tuning.insert(kind, method);
            }
        }
        Ok(())
    }

    /// The fastest method for a layer of those that `time` was enough for.
    async fn fastest(&self, layer: &Layer, storage: Dtype, batch: usize, time: Duration) -> Result<Option<Method>> {
        let start = Instant::now();
        let guess = self.untuned().method(layer, batch);
        let others = Method::exact().filter(|method| *method != guess);
        let mut fastest: Option<(Method, Duration)> = None;
        let mut candidates: Vec<Method> = others.chain([guess]).collect();
        while let Some(method) = candidates.pop().filter(|_| start.elapsed() < time) {
            let best = fastest.map_or(Duration::MAX, |(_, time)| time);
            let plan = Plan::of_layer(layer, method, storage, batch);
            let runner = Runner::new(&plan, Tensors::new(self, &plan).await?).await?;
            let measured = runner.time(.., batch, best).await?;
            if let Some(time) = measured.filter(|time| *time < best) {
                fastest = Some((method, time));
                // What is fastest is tried from f16 next, where the device computes with that.
                candidates.extend(method.halved().filter(|_| storage == Dtype::F16 && self.has_f16()));
            }
        }
        Ok(fastest.map(|(method, _)| method))
    }

    /// What a tuning holds for: adapter, driver, version of this crate, and dtype.
    pub fn tuning_key(&self, storage: Dtype) -> String {
        let wgpu::AdapterInfo { name, driver, driver_info, vendor, device, backend, .. } = &self.info;
        let version = env!("CARGO_PKG_VERSION");
        format!("{name}; {vendor:x}:{device:x}; {backend} {driver} {driver_info}; {version}; {storage}")
    }
}
