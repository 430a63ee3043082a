//! Resizing on the GPU: the CPU's values, in buffers sized for recent photos.

use xception::backend::Readback;
use xception::backend::gpu::{Preprocessor, Runner, Tensors};
use xception::dtype::Dtype;
use xception::plan::{Plan, Slot};
use xception::resize::{self, Preprocessing, Rgba};

use crate::common::resize::{photo, ways};
use crate::common::{Random, assert_close, block_on, gpu, pattern};

#[test]
fn the_gpu_resizes_as_the_cpu_does() {
    let (gpu, size) = (gpu(), [24, 30]);
    let mut random = Random(13);
    for (width, height) in [(200, 133), (90, 120), (20, 15), (30, 24), (1, 1), (2000, 3), (3, 1500)] {
        let noise = (0..4 * width * height).map(|_| random.bits() as u8).collect();
        let photos = [photo(width, height, &pattern(height, width), 255), Rgba::new(width, height, noise).unwrap()];
        // f16 rounds to 11 bits.
        let stored = |way: (_, String)| [(Dtype::F32, 0.0), (Dtype::F16, 5e-4)].map(|storage| (way.clone(), storage));
        for ((preprocessing, name), (storage, rounding)) in ways().flat_map(stored) {
            let run = async {
                let slot = Slot { len: 24 * 30 * 4, dtype: storage };
                let plan = Plan { slots: vec![slot], ..Plan::default() };
                let runner = Runner::new(&plan, Tensors::new(&gpu, &plan).await?).await?;
                let mut preprocessor = Preprocessor::new(&gpu, preprocessing, size, runner.slot(0), storage).await?;
                let mut images = Vec::new();
                for photo in &photos {
                    preprocessor.prepare([width as u32, height as u32], preprocessing, 0, runner.slot(0)).await?;
                    preprocessor.upload(photo);
                    images.push(runner.submit(|pass| preprocessor.encode(pass), .., 1, 0, slot.len)?.read().await?);
                }
                xception::error::Result::Ok(images)
            };
            let images = block_on(run).unwrap_or_else(|error| panic!("{name}: {error}"));
            for (photo, actual) in photos.iter().zip(images) {
                let mut expected = vec![0.0; 24 * 30 * 4];
                preprocessing.normalise(&resize::resize(photo, preprocessing, size), &mut expected);
                let what = format!("{name} of {width}×{height} as {storage}");
                assert_close(&what, &actual, &expected, &[24, 30, 4], 1e-6 + rounding, 0.0);
            }
        }
    }
}

/// Memory for a large photo is released after a while; photos of two alternating sizes do not reallocate each time.
#[test]
fn room_for_a_large_photo_is_given_back() {
    let (gpu, size, preprocessing) = (gpu(), [24, 30], Preprocessing::default());
    let run = async {
        let slot = Slot { len: 24 * 30 * 4, dtype: Dtype::F32 };
        let plan = Plan { slots: vec![slot], ..Plan::default() };
        let runner = Runner::new(&plan, Tensors::new(&gpu, &plan).await?).await?;
        let mut preprocessor = Preprocessor::new(&gpu, preprocessing, size, runner.slot(0), Dtype::F32).await?;
        // A large and a small photo alternately, then small ones of the same and of other sizes.
        let by_turns = [[3000, 2200], [640, 480]].repeat(3);
        let small = (0..10).map(|step| [640, 480 + step / 5]);
        let mut textures = Vec::new();
        for sides @ [width, height] in by_turns.into_iter().chain(small) {
            preprocessor.prepare(sides, preprocessing, 0, runner.slot(0)).await?;
            textures.push(preprocessor.texture().clone());
            let grey = vec![200; (3 * width * height) as usize];
            preprocessor.upload(&photo(width as usize, height as usize, &grey, 255));
            let values = runner.submit(|pass| preprocessor.encode(pass), .., 1, 0, slot.len)?.read().await?;
            let expected = [[200.0 / 127.5 - 1.0; 3].as_slice(), &[0.0]].concat().repeat(24 * 30);
            assert_close(&format!("{sides:?}"), &values, &expected, &[24, 30, 4], 1e-6, 0.0);
        }
        let (by_turns, small) = textures.split_at(6);
        assert!(by_turns.iter().all(|texture| *texture == by_turns[0]), "room was made for photos by turns");
        let widths: Vec<u32> = small.iter().map(wgpu::Texture::width).collect();
        assert_eq!((widths[0], widths[9]), (3000, 1024), "{widths:?}");
        xception::error::Result::Ok(())
    };
    block_on(run).unwrap();
}
