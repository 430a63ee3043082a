//! Profiles: every pass of a photo with its layer, kernel, shape, time, and its share of the GPU's roofline.

use std::time::Duration;

use serde::Serialize;

use crate::backend::gpu::Roofline;
use crate::backend::{Engine, Gpu};
use crate::classifier::Classifier;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::network::layer::Section;

/// One pass, timed by itself.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PassProfile {
    /// The pass's label: a layer, with `.depthwise` or `.pointwise` behind it for its halves.
    pub label: String,
    /// The block that the layer belongs to, such as `block5`; `head` behind the last one.
    pub block: &'static str,
    /// Which third of the network: `entry`, `middle`, `exit`.
    pub flow: &'static str,
    /// The kernel, which is also the name of its file in `shaders/`.
    pub kernel: &'static str,
    /// The shape of its result for one image: height, width and channels, or a number of values.
    pub shape: Vec<usize>,
    /// How what it writes is stored.
    pub dtype: Dtype,
    /// Workgroups in x, y and z.
    pub grid: [u32; 3],
    /// The shortest time in milliseconds.
    pub min_ms: f64,
    /// The median time in milliseconds.
    pub ms: f64,
    /// Its share of all passes' time, 0 to 1.
    pub share: f64,
    /// 10⁹ floating point operations a second; a multiply-accumulate is two.
    pub gflops: f64,
    /// 10⁹ bytes of activations and weights a second, each read or written once.
    pub gbps: f64,
    /// Floating point operations for each of these bytes.
    pub intensity: f64,
    /// The share of what the GPU can do at that intensity, 0 to 1 but for errors of measurement.
    pub roofline: f64,
}

/// A network's passes, timed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The adapter's name.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// How weights and activations are stored.
    pub dtype: Dtype,
    /// How many images were computed at once.
    pub batch: usize,
    /// How passes were timed: `timestamps` of the GPU, or this machine's `clock`.
    pub clock: String,
    /// How many runs each time is of.
    pub runs: usize,
    /// The most repeats of a pass that the clock needed for an error below 2 %.
    pub repeats: u32,
    /// Milliseconds of all passes as they normally run, in one compute pass.
    pub whole_ms: f64,
    /// The GPU's measured ceilings.
    pub ceiling: Roofline,
    /// The passes, in order.
    pub passes: Vec<PassProfile>,
}

impl Profile {
    /// Times every pass for `batch` images, which must have been reserved where there are more than one.
    ///
    /// # Errors
    /// [`crate::error::Error::DeviceLost`] or [`crate::error::Error::Gpu`] if the device fails.
    pub async fn new(classifier: &Classifier<Gpu>, batch: usize, runs: usize) -> Result<Self> {
        let engine = classifier.engine(batch);
        let (plan, info) = (engine.plan(), &classifier.backend().info);
        let ceiling = classifier.backend().roofline().await?;
        let (clock, times) = engine.runner().profile(plan, batch, runs).await?;
        let whole = engine.runner().time(0..plan.passes.len(), batch, Duration::MAX).await?.unwrap_or_default();
        let total: f64 = times.iter().map(|time| time.median.as_secs_f64()).sum();
        let passes = plan.passes.iter().zip(&times).map(|(pass, time)| {
            let seconds = time.median.as_secs_f64().max(1e-9);
            let (flops, bytes) = (2.0 * (pass.op.macs() * batch as u64) as f64, plan.traffic(pass, batch) as f64);
            let Section { flow, block } = classifier.network().section(pass.layer);
            PassProfile {
                label: pass.label.clone(),
                block,
                flow,
                kernel: pass.op.kernel().name,
                shape: pass.op.output_shape(),
                dtype: plan.slots[pass.writes].dtype,
                grid: pass.op.grid(batch),
                min_ms: time.min.as_secs_f64() * 1e3,
                ms: seconds * 1e3,
                share: seconds / total,
                gflops: flops / seconds / 1e9,
                gbps: bytes / seconds / 1e9,
                intensity: flops / bytes,
                roofline: ceiling.share(flops, bytes, time.median),
            }
        });
        Ok(Self {
            adapter: info.name.clone(),
            driver: [&*info.driver, &*info.driver_info].join(" ").trim().to_owned(),
            dtype: plan.storage,
            batch,
            clock: clock.to_string(),
            runs,
            repeats: times.iter().map(|time| time.repeats).max().unwrap_or(1),
            whole_ms: whole.as_secs_f64() * 1e3,
            ceiling,
            passes: passes.collect(),
        })
    }

    /// Milliseconds of all passes together, each by itself.
    pub fn sum_ms(&self) -> f64 {
        self.passes.iter().map(|pass| pass.ms).sum()
    }

    /// Milliseconds and number of the passes that have something in common, in the order in which they come first.
    pub fn totals<'a>(&'a self, key: impl Fn(&'a PassProfile) -> &'a str) -> Vec<(&'a str, usize, f64)> {
        let mut totals: Vec<(&str, usize, f64)> = Vec::new();
        for pass in &self.passes {
            match totals.iter_mut().find(|(name, ..)| *name == key(pass)) {
                Some((_, count, ms)) => (*count, *ms) = (*count + 1, *ms + pass.ms),
                None => totals.push((key(pass), 1, pass.ms)),
            }
        }
        totals
    }

    /// The passes one behind the other as events of Chrome's trace format, which Perfetto and Chrome's performance panel open.
    pub fn trace(&self) -> serde_json::Value {
        let mut start = 0.0;
        let event = |pass: &PassProfile| {
            let duration = pass.ms * 1e3;
            let event = serde_json::json!({
                "name": pass.label, "cat": pass.kernel, "ph": "X", "pid": 1, "tid": 1, "ts": start, "dur": duration, "args": pass,
            });
            start += duration;
            event
        };
        let mut events: Vec<_> = self.passes.iter().map(event).collect();
        let name =
            |what, name: &str| serde_json::json!({"name": what, "ph": "M", "pid": 1, "tid": 1, "args": {"name": name}});
        events.extend([name("process_name", &self.adapter), name("thread_name", "Xception GPU")]);
        serde_json::json!({"traceEvents": events, "displayTimeUnit": "ms"})
    }
}
