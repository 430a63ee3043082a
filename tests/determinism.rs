//! The same input gives the same bits: with any number of threads, at any place of a batch, in any order, and again.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::fixtures::random_file;
use common::{Random, gpu, pattern};
use pollster::block_on;
use xception::backend::cpu::{Runner, Tensor, ThreadTeam};
use xception::backend::{Backend, Cpu, HostRunner};
use xception::classifier::{Classifier, Options};
use xception::dtype::Dtype;
use xception::network::Network;
use xception::plan::Plan;
use xception::prediction::Prediction;
use xception::resize::{Preprocessing, Rgba};
use xception::tile::Tuning;
use xception::weights::safetensors::{Meta, Model};

/// A model's weights on the CPU.
fn weights(meta: &Meta, tensors: &[Vec<f32>], dtype: Dtype) -> Arc<[Tensor]> {
    let of = |(tensor, values): (_, &Vec<f32>)| {
        let mut weights = Tensor::new(tensor, dtype);
        weights.write(0, &tensor.dtype(dtype).encode(values));
        weights
    };
    meta.network().unwrap().tensors().iter().zip(tensors).map(of).collect()
}

/// Runs the network for one size of images, pass by pass, alone and with some threads of a team.
fn compare(meta: &Meta, weights: &Arc<[Tensor]>, team: &Arc<ThreadTeam>, [height, width]: [usize; 2], threads: usize) {
    let network = Network::new([height, width], &meta.head, meta.output, meta.architecture).unwrap();
    let plan = Plan::new(&network, Dtype::F32, &Tuning::default(), 1);
    let levels: Vec<f32> = pattern(height, width).into_iter().map(f32::from).collect();
    let [mut alone, mut together] = [1, threads].map(|threads| {
        let team = (threads > 1).then(|| (team.clone(), threads));
        let mut runner = Runner::new(plan.clone(), weights.clone(), team);
        Preprocessing::default().normalise(&levels, runner.slot_mut(plan.image));
        runner
    });
    for (index, pass) in plan.passes.iter().enumerate() {
        for runner in [&mut alone, &mut together] {
            runner.run(index..index + 1);
        }
        let [expected, values] = [&alone, &together].map(|runner| &runner.slot(pass.writes)[..pass.op.output_len()]);
        let differ = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
        let off = values.iter().zip(expected).filter(|&pair| differ(pair)).count();
        let what = format!("{height}×{width} on {threads} threads, {}", pass.label);
        assert_eq!(off, 0, "{what}: so many of {} values differ from those of one thread", values.len());
        assert!(index + 1 == plan.passes.len() || expected.iter().any(|&value| value != 0.0), "{what}: all zeros");
    }
    assert_eq!(together.threads(), threads, "a thread was lost");
}

#[test]
fn any_number_of_threads_computes_the_same_bits() {
    let Model { meta, tensors } = Model::deserialize(&random_file("keras3.weights.h5", 71, None)).unwrap();
    let team = Arc::new(ThreadTeam::spawn(16));
    let mut random = Random(31);
    for (dtype, sizes) in [(Dtype::F32, 170), (Dtype::F16, 30)] {
        let weights = weights(&meta, &tensors, dtype);
        for _ in 0..sizes {
            let size = [71 + random.below(330), 71 + random.below(330)];
            compare(&meta, &weights, &team, size, 2 + random.below(15));
        }
    }
    let weights = weights(&meta, &tensors, Dtype::F32);
    for (size, threads) in [([96, 320], 4), ([71, 400], 3), ([71, 400], 16), ([299, 299], 16), ([71, 71], 16)] {
        compare(&meta, &weights, &team, size, threads);
    }
}

/// Classifies photos by themselves, and at random places of batches, on a model that is loaded twice.
fn repeat<B: Backend>(backend: &B) {
    let file = random_file("keras3.weights.h5", 71, None);
    let options = || Options { storage: Some(Dtype::F32), tuning: None };
    let mut models = [0, 1].map(|_| block_on(Classifier::load(backend, &file, options())).unwrap());
    // One computes the same batches in a plan with more room.
    block_on(models[1].reserve(5)).unwrap();
    let mut random = Random(47);
    let photos = [0; 5].map(|_| {
        let [width, height] = [0, 1].map(|_| 1 + random.below(200));
        Rgba::new(width, height, (0..4 * width * height).map(|_| random.below(256) as u8).collect()).unwrap()
    });
    let bits = |predictions: Vec<Prediction>| -> Vec<(usize, u32)> {
        predictions.into_iter().map(|prediction| (prediction.index, prediction.score.to_bits())).collect()
    };
    let alone = photos.each_ref().map(|photo| {
        block_on(models[0].upload(photo)).unwrap();
        bits(block_on(models[0].classify(9)).unwrap())
    });
    assert_eq!(BTreeSet::from(alone.clone()).len(), photos.len(), "photos have answers of their own");
    for round in 0..20 {
        let chosen: Vec<usize> = (0..3 - round % 3).map(|_| random.below(5)).collect();
        let batch: Vec<Rgba> = chosen.iter().map(|&photo| photos[photo].clone()).collect();
        let answers = block_on(models[random.below(2)].classify_batch(&batch, 9)).unwrap();
        for (&photo, answer) in chosen.iter().zip(answers) {
            assert_eq!(bits(answer), alone[photo], "round {round}, photo {photo} among {chosen:?}");
        }
    }
}

#[test]
fn photos_give_the_same_bits_in_any_batch_on_a_gpu() {
    repeat(&gpu());
}

#[test]
fn photos_give_the_same_bits_in_any_batch_on_the_cpu() {
    for threads in [1, 3] {
        repeat(&Cpu::with_team(ThreadTeam::spawn(threads).into(), threads));
    }
}
