//! A lower bound of a pass's time on GPUs by name, from the compiler's registers, the tile's traffic and the subgroups that run at once. No
//! measurement of these GPUs is in it; docs/performance.md describes the model.

use xception::dtype::Dtype;
use xception::ops::Op;
use xception::tile::Tile;

use crate::Report;

/// A GPU's figures as its maker gives them, or else as others measured them.
pub struct Gpu {
    /// Its name.
    pub name: &'static str,
    /// The driver whose compiler tells the registers: its own, or one of a GPU with as many.
    pub driver: &'static str,
    /// Cores: compute units, streaming multiprocessors, Xe cores, shader cores.
    cores: f64,
    /// Multiply-adds of f32 in a cycle of a core.
    lanes: f64,
    gigahertz: f64,
    /// Subgroups that a core computes in the same cycle, each with its share of the lanes.
    units: f64,
    /// Invocations of a subgroup.
    subgroup: f64,
    /// Registers of 32 bits of a core.
    register_file: f64,
    /// Subgroups that a core holds at most.
    subgroups: f64,
    /// Bytes of workgroup memory of a core.
    shared: f64,
    /// Bytes in a cycle of a core from its first cache, and as many from workgroup memory.
    loads: f64,
    /// Cycles until a load from the second cache is there.
    latency: f64,
    /// Bytes in a nanosecond from the second cache, and from memory.
    cache: f64,
    memory: f64,
    /// Nanoseconds between two dispatches that depend on each other.
    gap: f64,
}

/// A GPU by its figures: cores, lanes, GHz, units; subgroup; thousands of registers, subgroups, and KiB of workgroup memory of a core; bytes a
/// cycle, latency; GB/s of the second cache and of memory; nanoseconds between dispatches.
const fn gpu(name: &'static str, driver: &'static str, figures: [f64; 13]) -> Gpu {
    let [cores, lanes, gigahertz, units, subgroup, registers, subgroups, shared, loads, latency, cache, memory, gap] =
        figures;
    let (register_file, shared) = (1024.0 * registers, 1024.0 * shared);
    Gpu {
        name,
        driver,
        cores,
        lanes,
        gigahertz,
        units,
        subgroup,
        register_file,
        subgroups,
        shared,
        loads,
        latency,
        cache,
        memory,
        gap,
    }
}

#[rustfmt::skip]
static GPUS: [Gpu; 10] = [
    gpu("Radeon RX 7900 XTX",  "navi31",  [ 96.0, 128.0,  2.4,  2.0, 32.0, 96.0,  32.0,  64.0,  64.0, 300.0, 3500.0,  960.0,  4000.0]),
    gpu("Radeon 780M",         "phoenix", [ 12.0, 128.0,  2.7,  2.0, 32.0, 64.0,  32.0,  64.0,  64.0, 300.0,  800.0,   90.0,  4000.0]),
    gpu("GeForce RTX 3060",    "177",     [ 28.0, 128.0, 1.78,  4.0, 32.0, 64.0,  48.0, 100.0, 128.0, 260.0, 1400.0,  360.0,  3000.0]),
    gpu("GeForce RTX 4090",    "177",     [128.0, 128.0, 2.52,  4.0, 32.0, 64.0,  48.0, 100.0, 128.0, 270.0, 5000.0, 1000.0,  3000.0]),
    gpu("Intel Iris Xe",       "tgl",     [  6.0, 128.0,  1.3, 16.0, 16.0, 56.0, 112.0,  64.0,  64.0, 300.0,  300.0,   60.0,  6000.0]),
    gpu("Intel Arc A770",      "dg2",     [ 32.0, 128.0,  2.1, 16.0,  8.0, 64.0, 128.0, 128.0, 128.0, 300.0, 2000.0,  560.0,  6000.0]),
    gpu("Intel Arc 140V",      "lnl",     [  8.0, 128.0,  2.0,  8.0, 16.0, 64.0,  64.0, 128.0, 128.0, 300.0,  600.0,  120.0,  6000.0]),
    gpu("Apple M1",            "",        [  8.0, 128.0, 1.28,  4.0, 32.0, 52.0,  32.0,  32.0,  64.0, 250.0,  300.0,   60.0,  6000.0]),
    gpu("Adreno 740",          "",        [  6.0, 256.0, 0.68,  2.0, 64.0, 96.0,  16.0,  32.0,  64.0, 300.0,  200.0,   60.0, 10000.0]),
    gpu("Mali G610",           "",        [  4.0,  64.0,  1.0,  4.0, 16.0, 32.0,  64.0,  32.0,  64.0, 300.0,  100.0,   30.0, 10000.0]),
];

/// The GPUs whose registers a driver's compiler tells.
pub fn gpus(driver: &str) -> impl Iterator<Item = &'static Gpu> {
    GPUS.iter().filter(move |gpu| gpu.driver == driver || gpu.driver.is_empty())
}

/// The bound of a pass.
pub struct Bound {
    /// At least this many milliseconds.
    pub milliseconds: f64,
    /// The part of the GPU that it comes from.
    pub reason: &'static str,
}

impl Gpu {
    /// Milliseconds of some multiply-accumulates in f32 at the GPU's peak.
    pub fn peak(&self, macs: u64) -> f64 {
        macs as f64 / (self.cores * self.lanes * self.gigahertz * 1e6)
    }

    /// The bound of a pass for `images`, whose activations and weights are `bytes` long.
    pub fn bound(&self, op: Op, report: &Report, storage: Dtype, images: usize, bytes: u64) -> Bound {
        let far = bytes as f64 / self.memory;
        let mut nanoseconds = vec![(self.peak(op.macs() * images as u64) * 1e6, "arithmetic"), (far, "memory")];
        if let Some(tile) = op.tile() {
            nanoseconds.extend(self.tiled(op, tile, report, storage.size() as f64, images));
        }
        let (nanoseconds, reason) =
            nanoseconds.into_iter().max_by(|one, other| one.0.total_cmp(&other.0)).unwrap_or_default();
        Bound { milliseconds: (nanoseconds + self.gap) / 1e6, reason }
    }

    /// Registers of an invocation. A thread of Intel's has 128 vectors of 32 bytes, since Lunar Lake of 64, whatever it needs; other compilers
    /// than the driver's keep sums and operands there, and about 20 more.
    fn registers(&self, tile: Tile, report: &Report) -> f64 {
        let width = report.occupancy.max(1) as f64;
        match self.driver {
            "tgl" | "dg2" => 128.0 * 8.0 / width,
            "lnl" => 128.0 * 16.0 / width,
            "" => (4 * tile.tile_m * tile.tile_n + 4 * (tile.tile_m + 4 * tile.tile_n) + 20) as f64,
            _ => report.registers as f64,
        }
    }

    /// Nanoseconds that a product by tiles takes at least.
    fn tiled(&self, op: Op, tile: Tile, report: &Report, size: f64, images: usize) -> [(f64, &'static str); 5] {
        let constant =
            |name| op.constants(images).iter().find(|(other, _)| *other == name).map_or(0.0, |(_, value)| *value);
        let [group_n, group_m] = tile.group.map(|count| count as f64);
        let [tile_m, tile_n, split] = [tile.tile_m, tile.tile_n, tile.split_k].map(|count| count as f64);
        let threads = group_n * group_m * split;
        let depth = constant("KERNEL_HEIGHT") * constant("KERNEL_WIDTH") * (constant("IN_CHANNELS") / 4.0).ceil();
        let step = constant("TILE_K");
        let rounds = (depth / step / split).ceil();
        let groups: f64 = op.grid(images).iter().map(|&count| f64::from(count)).product();
        let of_core = (groups / self.cores).ceil();

        // An invocation's vec4s of k: products, and addresses as AMD's compiler has them; of the columns: taps and their addresses.
        let steps = rounds * step;
        let columns = group_m * tile_m * depth / threads;
        let is_depthwise = constant("DEPTHWISE") != 0.0;
        let (column, taps) = if is_depthwise { (90.0, 9.0) } else { (12.0, 1.0) };
        let instructions =
            steps * (16.0 * tile_m * tile_n + 14.0) + columns * column + report.spills as f64 * 2.0 * steps;

        // Lanes that read the same get it at once, four at least at a time.
        let subgroups = (threads / self.subgroup).ceil();
        let lanes_n = (tile.lanes() as f64).min(self.subgroup) * (self.subgroup / 32.0).max(1.0);
        let weights = subgroups * steps * 4.0 * tile_n * lanes_n * 4.0 * size;
        let first = of_core * (weights + threads * columns * taps * 4.0 * size) / self.loads;
        let pixels = (self.subgroup / lanes_n).max(self.subgroup / 4.0);
        let shared = of_core * (subgroups * steps * tile_m * pixels * 16.0 + threads * columns * 16.0) / self.loads;

        // Each workgroup reads its rows and columns of the operands.
        let read =
            depth * 4.0 * size * (group_n * tile_n * 4.0 + group_m * tile_m * if is_depthwise { 2.0 } else { 1.0 });
        let second = groups * read / self.cache;

        // Rounds follow each other: a load from the second cache, and for each step one from the first.
        let registers = self.registers(tile, report) * self.subgroup * subgroups;
        let at_once = (self.register_file / registers)
            .min(self.subgroups / subgroups)
            .min(self.shared / report.workgroup_memory.max(1) as f64);
        let at_once = at_once.floor().max(1.0);
        // Few subgroups leave units without work.
        let busy = (of_core.min(at_once) * subgroups / self.units).min(1.0);
        let arithmetic = of_core * threads * instructions / self.lanes / busy;
        let chain = rounds * (self.latency + step * (self.latency / 5.0).max(16.0 * tile_m * tile_n / 4.0));
        let waits = (of_core / at_once).ceil() * chain;
        let cycles = |count: f64, reason| (count / self.gigahertz, reason);
        [
            cycles(arithmetic, "arithmetic"),
            cycles(first, "first cache"),
            cycles(shared, "workgroup memory"),
            (second, "second cache"),
            cycles(waits, "waits"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDING: f64 = 1.0 + 1e-9;

    /// No pass is faster than the arithmetic at the peak and a dispatch, whatever the compiler says; more registers, spills and images make it
    /// no faster.
    #[test]
    fn bounds_are_above_the_peak() {
        let lean = Report { registers: 32, occupancy: 16, workgroup_memory: 4096, ..Report::default() };
        let fat = Report { registers: 252, spills: 8, ..lean.clone() };
        for op in Op::cases().into_iter().flat_map(|(_, ops)| ops) {
            for gpu in &GPUS {
                let [lean, fat] = [&lean, &fat].map(|report| gpu.bound(op, report, Dtype::F32, 1, 0).milliseconds);
                let many = gpu.bound(op, &Report::default(), Dtype::F32, 32, 0).milliseconds;
                assert!(lean * ROUNDING >= gpu.peak(op.macs()) + gpu.gap / 1e6, "{}: {op:?}", gpu.name);
                assert!(fat >= lean && many * ROUNDING >= gpu.peak(32 * op.macs()), "{}: {op:?}", gpu.name);
                let far = gpu.bound(op, &Report::default(), Dtype::F32, 1, 1 << 30).milliseconds;
                assert!(far >= (1 << 30) as f64 / gpu.memory / 1e6, "{}: {op:?}", gpu.name);
            }
        }
    }
}
