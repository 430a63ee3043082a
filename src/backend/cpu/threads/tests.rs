use super::*;
use crate::backend::HostRunner;
use crate::backend::cpu::{Runner, weights};
use crate::dtype::Dtype;
use crate::network::layer::{Role, Shape, Tensor};
use crate::ops::{Add, Op, Pointwise};
use crate::plan::{Binding, Pass, Plan, Slot};

/// How often each of `pixels` pixels is computed by a team, and whether that succeeds.
fn counts(team: &ThreadTeam, threads: usize, pixels: usize, most: usize) -> (Vec<f32>, Result<(), Lost>) {
    let mut counts = vec![0.0; 2 * pixels];
    let work = |strip: Range<usize>, out: &mut [f32], _: &mut Scratch| {
        assert!(strip.len() <= most && (strip.len().is_multiple_of(MR) || strip.end == pixels));
        assert_eq!(out.len(), 2 * strip.len());
        out.iter_mut().for_each(|count| *count += 1.0);
    };
    // SAFETY: nothing is lost, as is asserted.
    let result = unsafe { team.run(threads, most, (&mut counts, 2), &mut Scratch::default(), Box::new(work)) };
    (counts, result)
}

#[test]
fn each_pixel_is_computed_once() {
    for threads in [1, 2, 3, 16] {
        let team = ThreadTeam::spawn(threads);
        for &pixels in &[1, MR, MR + 1, 100, 361, 5329][..if cfg!(miri) { 4 } else { 6 }] {
            for most in [MR, 11 * MR, 32 * MR] {
                let what = format!("{pixels} pixels in strips of {most} on {threads} threads");
                assert_eq!(counts(&team, threads, pixels, most), (vec![1.0; 2 * pixels], Ok(())), "{what}");
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
            scope.spawn(|| (0..times).for_each(|_| assert_eq!(counts(&team, 3, 361, 66), (vec![1.0; 722], Ok(())))));
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
        let out = Vec::leak(vec![0.0; 361]);
        // SAFETY: the work owns what it refers to, and the result is leaked.
        let result = unsafe { team.run(2, MR, (out, 1), &mut Scratch::default(), Box::new(work)) };
        assert_eq!((result, taken.load(SeqCst)), (Err(Lost), true), "hang: {hang}");
        assert_eq!(counts(&team, 2, 361, 66), (vec![1.0; 722], Ok(())));
    }
}

#[test]
fn a_pass_whose_thread_is_lost_is_computed_again() {
    let shape = if cfg!(miri) { Shape::new(5, 9, 16) } else { Shape::new(19, 23, 32) };
    let (op, bias) = (
        Op::from(Pointwise {
            slice: None,
            input: shape,
            output: shape,
            stride: 1,
            add: Add::Nothing,
            relu_after: true,
            tile: None,
        }),
        Tensor { name: String::new(), shape: vec![shape.channels], role: Role::Bias },
    );
    let weight = Tensor { shape: vec![shape.channels; 2], role: Role::Matrix(1), ..bias.clone() };
    let pass = |from, writes| {
        let reads = vec![Binding::Slot(from), Binding::Tensor(0), Binding::Tensor(1)];
        Pass { label: String::new(), layer: None, op, reads, writes }
    };
    let slots = vec![Slot { len: shape.len(), dtype: Dtype::F32 }; 3];
    let plan = Plan { passes: vec![pass(0, 1), pass(1, 2), pass(2, 1)], slots, batch: 1, ..Plan::default() };
    let weights: Arc<[weights::Tensor]> = [weight, bias]
        .iter()
        .map(|tensor| {
            let mut weights = weights::Tensor::new(tensor, Dtype::F32);
            let values: Vec<f32> = (0..tensor.len()).map(|i| (i % 7) as f32 / 16.0 - 0.125).collect();
            weights.write(0, &Dtype::F32.encode(&values));
            weights
        })
        .collect();
    let results = [false, true].map(|lost| {
        let team = Arc::new(ThreadTeam::spawn(2));
        let mut runner = Runner::new(plan.clone(), weights.clone(), Some((team.clone(), 2)));
        runner.slot_mut(0).iter_mut().zip(0..).for_each(|(value, i)| *value = (i % 11) as f32 - 4.0);
        runner.run(0..1);
        if lost {
            // A thread that is in a strip and never leaves it.
            team.0.busy.fetch_add(1, SeqCst);
        }
        runner.run(1..3);
        assert_eq!(runner.threads() == 1, lost);
        [1, 2].map(|slot| runner.slot(slot).to_vec())
    });
    assert_eq!(results[0], results[1]);
    assert!(results[0][0].iter().any(|&value| value > 0.0));
}
