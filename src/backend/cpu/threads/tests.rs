use super::*;
use crate::backend::HostRunner;
use crate::backend::cpu::{Runner, weights};
use crate::dtype::Dtype;
use crate::network::layer::{Role, Shape, Tensor};
use crate::ops::{Add, Op, Pointwise, Slice};
use crate::plan::{Binding, Pass, Plan, Slot};

/// How often each of `pixels` pixels is computed by a team.
fn counts(team: &ThreadTeam, threads: usize, pixels: usize, most: usize) -> Result<Vec<f32>, Lost> {
    let work = move |strip: Range<usize>, out: &mut [f32], _: &mut Scratch| {
        assert!(strip.len() <= most && (strip.len().is_multiple_of(MR) || strip.end == pixels));
        assert_eq!(out.len(), 2 * strip.len());
        out.iter_mut().for_each(|count| *count += 1.0);
    };
    let result = (Buffer::new(2 * pixels), [pixels, 2]);
    Ok(team.run(threads, most, result, &mut Scratch::default(), Box::new(work))?.to_vec())
}

#[test]
fn each_pixel_is_computed_once() {
    for threads in [1, 2, 3, 16] {
        let team = ThreadTeam::spawn(threads);
        for &pixels in &[1, MR, MR + 1, 100, 361, 5329][..if cfg!(miri) { 4 } else { 6 }] {
            for most in [MR, 11 * MR, 32 * MR] {
                let what = format!("{pixels} pixels in strips of {most} on {threads} threads");
                assert_eq!(counts(&team, threads, pixels, most), Ok(vec![1.0; 2 * pixels]), "{what}");
            }
        }
    }
}

#[test]
fn leaders_at_once_do_not_wait_for_one_another() {
    let team = ThreadTeam::spawn(3);
    let times = if cfg!(miri) { 2 } else { 200 };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..times).for_each(|_| assert_eq!(counts(&team, 3, 361, 66), Ok(vec![1.0; 722]))));
        }
    });
}

#[test]
fn a_thread_that_dies_or_hangs_is_lost_and_the_leader_goes_on_alone() {
    for hang in [false, true] {
        let team = ThreadTeam::spawn(2);
        let leader = thread::current().id();
        let taken = Arc::new(AtomicBool::new(false));
        let seen = taken.clone();
        let work = move |_: Range<usize>, _: &mut [f32], _: &mut Scratch| {
            if thread::current().id() != leader {
                seen.store(true, SeqCst);
                if hang {
                    loop {
                        thread::park();
                    }
                }
                panic!("this thread dies, as it should");
            }
            // The leader is in its first strip until the other has one.
            while !seen.load(SeqCst) {
                thread::yield_now();
            }
        };
        let result = team.run(2, MR, (Buffer::new(361), [361, 1]), &mut Scratch::default(), Box::new(work));
        assert_eq!((result.err(), taken.load(SeqCst)), (Some(Lost), true), "hang: {hang}");
        assert_eq!(counts(&team, 2, 361, 66), Ok(vec![1.0; 722]));
    }
}

/// A plan of 1×1 convolutions that read the first slot and write the second, or each the other half of the third's channels; and its weights.
fn plan() -> (Plan, Arc<[weights::Tensor]>) {
    let shape = if cfg!(miri) { Shape::new(5, 9, 16) } else { Shape::new(19, 23, 32) };
    let pass = |slice, from, writes| {
        let (add, tile) = (Add::Nothing, None);
        let op = Op::from(Pointwise { slice, input: shape, output: shape, stride: 1, add, relu_after: true, tile });
        let reads = vec![Binding::Slot(from), Binding::Tensor(0), Binding::Tensor(1)];
        Pass { label: String::new(), layer: None, op, reads, writes }
    };
    let part = |first| Some(Slice { first, all: 2 * shape.channels });
    let passes = vec![pass(None, 0, 1), pass(part(0), 1, 2), pass(part(shape.channels), 0, 2), pass(None, 1, 0)];
    let slots = [1, 1, 2].map(|count| Slot { len: count * shape.len(), dtype: Dtype::F32 }).to_vec();
    let bias = Tensor { name: String::new(), shape: vec![shape.channels], role: Role::Bias };
    let weight = Tensor { shape: vec![shape.channels; 2], role: Role::Matrix(1), ..bias.clone() };
    let weights = [weight, bias].into_iter().map(|tensor| {
        let mut weights = weights::Tensor::new(&tensor, Dtype::F32);
        let values: Vec<f32> = (0..tensor.len()).map(|i| (i % 7) as f32 / 16.0 - 0.125).collect();
        weights.write(0, &Dtype::F32.encode(&values));
        weights
    });
    (Plan { passes, slots, batch: 1, ..Plan::default() }, weights.collect())
}

#[test]
fn a_pass_whose_thread_is_lost_is_computed_again() {
    let (plan, weights) = plan();
    let passes = plan.passes.len();
    let results = |lost: Option<usize>| {
        let team = Arc::new(ThreadTeam::spawn(2));
        let mut runner = Runner::new(plan.clone(), weights.clone(), Some((team.clone(), 2)));
        runner.slot_mut(0).iter_mut().zip(0..).for_each(|(value, i)| *value = (i % 11) as f32 - 4.0);
        for index in 0..passes {
            if lost == Some(index) {
                // A thread that is in a strip and never leaves it.
                team.0.busy.fetch_add(1, SeqCst);
            }
            runner.run(index..index + 1);
        }
        assert_eq!(runner.threads() == 1, lost.is_some());
        [0, 1, 2].map(|slot| runner.slot(slot).to_vec())
    };
    let expected = results(None);
    assert!(expected.iter().all(|slot| slot.iter().any(|&value| value > 0.0)));
    // Each waits some seconds for its thread.
    thread::scope(|scope| {
        for lost in 0..passes {
            let (results, expected) = (&results, &expected);
            scope.spawn(move || assert_eq!(results(Some(lost)), *expected, "lost in pass {lost}"));
        }
    });
}
