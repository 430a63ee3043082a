//! Shader sources without a GPU: valid, within WebGPU's default limits, and consistent with [`Op`].

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::{Random, dense_head};
use naga::back::pipeline_constants::process_overrides;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, SourceLocation, StorageAccess};
use xception::dtype::Dtype;
use xception::explain::Explanation;
use xception::network::head::MAX_UNITS;
use xception::network::{Architecture, MAX_SIDE, MIN_SIDE, Network, Output};
use xception::ops::Op;
use xception::plan::{BATCH, Plan};
use xception::shader::{
    COPY, Constants, FMA, KERNELS, Kernel, Precision, RESIZE_BILINEAR, RESIZE_HORIZONTAL, RESIZE_VERTICAL, SEPCONV,
};
use xception::tile::{Algorithm, GpuKind, ProblemSize, Tuning};

/// Capabilities that core WGSL has beyond naga's minimum: `unpack2x16float`; and that of `enable f16`.
const CAPABILITIES: Capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32.union(Capabilities::SHADER_FLOAT16);

/// Limits of every WebGPU implementation.
const MAX_WORKGROUP_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_BYTES: u32 = 16384;
const MAX_WORKGROUPS: u32 = 65535;
const MAX_STORAGE_BUFFERS: usize = 8;

const KINDS: [GpuKind; 3] = [GpuKind::FewRegisters, GpuKind::ManyRegisters, GpuKind::Software];

/// All operations of networks of usual, ragged and extreme sizes, and the cases of each.
fn ops() -> Vec<Op> {
    let mut ops: Vec<Op> = Op::cases().into_iter().flat_map(|(_, ops)| ops).collect();
    for (size, units) in
        [([299, 299], &[1000][..]), ([71, 150], &[64, 7]), ([150, 71], &[1]), ([MAX_SIDE; 2], &[17_000])]
    {
        let dense: Vec<(&str, usize)> = ["fc0", "fc1"].into_iter().zip(units.iter().copied()).collect();
        let output = if units == [1] { Output::Sigmoid } else { Output::Softmax };
        let network = Network::new(size, &dense_head(&dense), output, Architecture::Xception).unwrap();
        let algorithms = |algorithm| {
            let mut tuning = Tuning::untuned(GpuKind::default());
            let sizes = network.layers.iter().filter_map(|layer| ProblemSize::of(layer, 1));
            sizes.for_each(|size| tuning.insert(size, algorithm));
            tuning
        };
        // Every algorithm, but not for every image size.
        let tunings: Vec<Tuning> = match size {
            [299, 299] => Algorithm::all().map(algorithms).collect(),
            _ => KINDS.map(Tuning::untuned).into(),
        };
        for pass in tunings
            .iter()
            .flat_map(|tuning| Explanation::new(&Plan::new(&network, Dtype::F32, tuning, 1)).unwrap().plan.passes)
        {
            if !ops.contains(&pass.op) {
                ops.push(pass.op);
            }
        }
    }
    ops
}

/// Every kernel with the precision and constants that plans use.
fn uses() -> Vec<(&'static Kernel, Precision, Constants)> {
    let mut normalising = vec![("WIDTH", 299.0), ("HEIGHT", 150.0), ("BGR", 0.0)];
    normalising.extend(["SCALE_0", "SCALE_1", "SCALE_2"].map(|name| (name, 1.0 / 127.5)));
    normalising.extend(["OFFSET_0", "OFFSET_1", "OFFSET_2"].map(|name| (name, -1.0)));
    let others = [
        (&RESIZE_HORIZONTAL, vec![("OUT_WIDTH", 299.0)]),
        (&RESIZE_VERTICAL, normalising.clone()),
        (&RESIZE_BILINEAR, normalising),
        (&COPY, vec![]),
        (&FMA, vec![("STEPS", 256.0)]),
    ];
    let ops = ops();
    let passes = [Dtype::F32, Dtype::F16]
        .into_iter()
        .flat_map(|storage| ops.iter().map(move |op| (op.kernel(), op.precision(storage), pipeline_constants(op))));
    let others = others.into_iter().flat_map(|(kernel, constants)| {
        [Precision::Single, Precision::Stored].map(|precision| (kernel, precision, constants.clone()))
    });
    passes.chain(others).collect()
}

fn pipeline_constants(op: &Op) -> Constants {
    op.kernel().split(op.constants(1)).0
}

fn parse(kernel: &Kernel, precision: Precision) -> (Module, ModuleInfo) {
    let source = kernel.source(precision);
    let fail = |at: Option<SourceLocation>, error: String| -> ! {
        let at = at.and_then(|at| kernel.locate(precision, at.line_number as usize));
        let (file, line) = at.unwrap_or((kernel.name, 0));
        panic!("shaders/{file}:{line}, {precision:?}: {error}")
    };
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| fail(error.location(&source), error.emit_to_string(&source)));
    let info = Validator::new(ValidationFlags::all(), CAPABILITIES)
        .validate(&module)
        .unwrap_or_else(|error| fail(error.location(&source), error.emit_to_string(&source)));
    (module, info)
}

/// A kernel as it is compiled with its constants.
fn specialise(kernel: &Kernel, precision: Precision, constants: &Constants) -> Module {
    let (module, info) = parse(kernel, precision);
    let named = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let made = process_overrides(&module, &info, Some((ShaderStage::Compute, "main")), &named);
    made.unwrap_or_else(|error| panic!("{} with {constants:?}: {error}", kernel.name)).0.into_owned()
}

fn workgroup_size(kernel: &Kernel, constants: &Constants) -> [u32; 3] {
    specialise(kernel, Precision::Single, constants).entry_points[0].workgroup_size
}

#[test]
fn every_kernel_is_used() {
    let used: BTreeSet<&str> = uses().iter().map(|(kernel, ..)| kernel.name).collect();
    assert_eq!(
        used,
        KERNELS.iter().map(|kernel| kernel.name).collect(),
        "kernels that a plan or the preprocessor uses"
    );
}

/// Every line of an assembled module maps back to its source file.
#[test]
fn lines_are_traced_to_their_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    for kernel in KERNELS {
        for precision in [Precision::Single, Precision::Stored, Precision::Half] {
            let source = kernel.source(precision);
            for (index, text) in source.lines().enumerate() {
                let (file, line) = kernel.locate(precision, index + 1).unwrap();
                assert_eq!(
                    fs::read_to_string(folder.join(file)).unwrap().lines().nth(line - 1),
                    Some(text),
                    "{file}:{line}"
                );
            }
            assert_eq!(kernel.locate(precision, 0), None);
            assert_eq!(kernel.locate(precision, source.lines().count() + 1), None);
        }
    }
}

/// Operands of products are f16, sums are f32.
#[test]
fn half_precision_is_a_third_source() {
    let source = SEPCONV.source(Precision::Half);
    assert!(source.starts_with("enable f16;\n") && source.contains("alias Stored = vec4h;"));
    assert!(source.contains("alias Operand = vec4h;") && source.contains("var<workgroup> sums: array<vec4f, SUMS>;"));
    assert!(SEPCONV.source(Precision::Stored).contains("alias Operand = vec4f;"));
}

/// Storage as f16 halves the memory of everything before the global pooling.
#[test]
fn f16_is_another_source() {
    for kernel in KERNELS {
        let [single, half] = [Precision::Single, Precision::Stored].map(|precision| kernel.source(precision));
        let same = ["scale_gradient", "softmax_topk", "resize_horizontal", "copy", "fma"].contains(&kernel.name);
        assert_eq!(half == single, same, "{}", kernel.name);
        assert_eq!(half.contains("unpack2x16float"), !same, "{}", kernel.name);
    }
}

#[test]
fn every_shader_is_valid_with_its_constants() {
    for (kernel, precision, constants) in uses() {
        let (module, _) = parse(kernel, precision);
        let entry = [(&*module.entry_points[0].name, module.entry_points[0].stage, module.entry_points.len())];
        assert_eq!(entry, [("main", ShaderStage::Compute, 1)], "{}: the entry point", kernel.name);
        let names: BTreeSet<_> = module.overrides.iter().map(|(_, value)| value.name.as_deref().unwrap()).collect();
        assert_eq!(names, constants.iter().map(|constant| constant.0).collect(), "{}: overrides", kernel.name);
        assert!(module.overrides.iter().all(|(_, value)| value.init.is_none()), "{}: no defaults", kernel.name);

        let module = specialise(kernel, precision, &constants);
        Validator::new(ValidationFlags::all(), CAPABILITIES)
            .validate(&module)
            .unwrap_or_else(|error| panic!("{} with {constants:?}: {error}", kernel.name));
        let size = module.entry_points[0].workgroup_size;
        assert!(size.iter().product::<u32>() <= MAX_WORKGROUP_INVOCATIONS, "{}: {size:?}", kernel.name);
        let shared = module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx())).sum();
        assert!(bytes <= MAX_WORKGROUP_BYTES, "{}: {bytes} bytes of workgroup memory", kernel.name);
    }
}

#[test]
fn a_missing_constant_is_an_error() {
    for (kernel, precision, constants) in uses().into_iter().filter(|(.., constants)| !constants.is_empty()) {
        let (module, info) = parse(kernel, precision);
        let some = constants[1..].iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        let made = process_overrides(&module, &info, Some((ShaderStage::Compute, "main")), &some);
        assert!(made.is_err(), "{} without {}", kernel.name, constants[0].0);
    }
}

#[test]
fn operations_have_the_numbers_that_kernels_read() {
    for op in ops() {
        let (kernel, constants) = (op.kernel(), op.constants(1));
        for number in kernel.numbers {
            assert!(constants.iter().any(|(name, _)| name == number), "{op:?} has no {number}");
        }
        assert!(
            kernel.numbers.is_empty() || kernel.source(Precision::Single).contains("    read_numbers();"),
            "{op:?}"
        );
    }
}

#[test]
fn bindings_are_what_is_read_and_then_the_result() {
    for kernel in KERNELS {
        let (name, reads) = (kernel.name, kernel.reads as u32);
        let (module, _) = parse(kernel, Precision::Single);
        let bound =
            module.global_variables.iter().filter_map(|(_, variable)| Some((variable.binding?, variable.space)));
        let mut bound: Vec<_> = bound.map(|(binding, space)| (binding.group, binding.binding, space)).collect();
        bound.sort_by_key(|&(group, binding, _)| (group, binding));
        let space = |binding| match binding {
            0 if kernel.reads_texture => AddressSpace::Handle,
            _ if binding < reads => AddressSpace::Storage { access: StorageAccess::LOAD },
            _ => AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE },
        };
        assert_eq!(bound, (0..=reads).map(|binding| (0, binding, space(binding))).collect::<Vec<_>>(), "{name}");
        assert!(bound.len() <= MAX_STORAGE_BUFFERS, "{name}");
    }
}

#[test]
fn the_grid_covers_the_output_and_no_more() {
    for op in ops() {
        let (work, grid) = (op.work(1), op.grid(1).map(|groups| groups as usize));
        let size = workgroup_size(op.kernel(), &pipeline_constants(&op)).map(|size| size as usize);
        assert_eq!(size, work.workgroup, "{op:?}");
        let groups: [usize; 3] =
            std::array::from_fn(|axis| work.extent[axis].div_ceil(size[axis] * work.invocation[axis]));
        // Workgroups beyond one dimension's limit spread over a second one, with less than a row to spare.
        assert_eq!(grid[0], groups[0], "{op:?}");
        let layers = grid[2] / groups[2];
        assert!((groups[1]..groups[1] + layers).contains(&(grid[1] * layers)), "{op:?}: {grid:?}");
        // These store whole channel tiles; the others check the bounds.
        if matches!(op, Op::Depthwise(_) | Op::Sepconv(_) | Op::GlobalAveragePool(_)) {
            assert_eq!(work.extent[0] % work.invocation[0], 0, "{op:?}");
        }
    }
    // The preprocessor's grids are in its own code: 16 by 16 pixels a workgroup.
    for (kernel, _, constants) in uses() {
        if kernel.name.starts_with("resize") {
            assert_eq!(workgroup_size(kernel, &constants), [16, 16, 1], "{}", kernel.name);
        }
    }
}

/// Every algorithm and storage, at the extremes of sides and units and between them, for any number of images at once.
#[test]
fn no_dispatch_exceeds_the_limit() {
    let mut random = Random(12);
    let extremes = [MIN_SIDE, MAX_SIDE - 1, MAX_SIDE];
    let mut sizes: Vec<[usize; 2]> = extremes.iter().flat_map(|&y| extremes.map(|x| [y, x])).collect();
    let mut side = || MIN_SIDE + random.below(MAX_SIDE - MIN_SIDE);
    sizes.extend((0..8).map(|_| [side(), side()]));
    let mut worst = BTreeSet::new();
    for (index, size) in sizes.into_iter().enumerate() {
        let units = [1, 1000, 17_000, MAX_UNITS / 2][index % 4];
        let output = if units == 1 { Output::Sigmoid } else { Output::Softmax };
        let network =
            Network::new(size, &dense_head(&[("predictions", units)]), output, Architecture::Xception).unwrap();
        let sizes = |batch| network.layers.iter().filter_map(move |layer| ProblemSize::of(layer, batch));
        let algorithms = Algorithm::all().flat_map(|algorithm| {
            [1, BATCH].map(|batch| {
                let mut tuning = Tuning::untuned(GpuKind::default());
                sizes(batch).for_each(|size| tuning.insert(size, algorithm));
                (tuning, batch)
            })
        });
        let guesses = (1..=BATCH).flat_map(|batch| KINDS.map(|kind| (Tuning::untuned(kind), batch)));
        for (tuning, batch) in algorithms.chain(guesses) {
            for storage in [Dtype::F32, Dtype::F16] {
                let plan = Explanation::new(&Plan::new(&network, storage, &tuning, batch)).unwrap().plan;
                for pass in &plan.passes {
                    let grid = pass.op.grid(batch);
                    if grid.into_iter().any(|groups| groups > MAX_WORKGROUPS) {
                        worst.insert((grid, format!("{size:?}, {batch} at once: {} {:?}", pass.label, pass.op)));
                    }
                }
            }
        }
    }
    assert!(worst.is_empty(), "{} dispatches, the largest: {:?}", worst.len(), worst.last());
}
