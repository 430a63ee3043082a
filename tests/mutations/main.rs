//! Damaged and hostile files of every kind end in an error or are read: never a panic, a hang, or more memory than the
//! file warrants. Thousands of mutations from fixed seeds, and the files that fuzzing found (`npm run fuzz`).
//!
//! `cargo test --release --test mutations -- --nocapture` prints how many were refused; with `SEED=17` before it, each
//! kind repeats that one mutation.

#[path = "../common/mod.rs"]
mod common;
mod memory;
mod mutate;
mod originals;
mod readers;
mod watch;

use std::sync::LazyLock;

use originals::Files;
use readers::{CONFIG, FOREIGN, HEAD, HEADER, IMAGE, LABELS, LEARNED, OWN, Reader};
use watch::{Run, watched};
use zip::CompressionMethod;

/// A whole model in our own format, stored in each way.
static MODELS: LazyLock<Files> = LazyLock::new(originals::own);

/// No repair.
fn leave(_: &mut [u8]) {}

fn run(name: &'static str, reader: Reader, count: u64, refused: u64, originals: Files) {
    Run { name, reader, count, refused, repair: leave }.over(originals);
}

#[test]
fn own_headers() {
    run("own_headers", HEADER, 6000, 60, originals::headers(&MODELS));
}

/// Dense layers too large for any machine, whose sizes wrap to 0 in 32 bits, are refused by name on every target.
#[test]
fn own_headers_of_absurd_sizes() {
    let (_, file) = originals::headers(&MODELS).swap_remove(0);
    let heads: [(&[usize], &str, u64); 4] = [
        (&[1, 1 << 18, 1 << 18], "fc2", 1 << 38),
        (&[1, 1 << 18, 1 << 14], "fc2", 1 << 34),
        (&[1 << 18, 1 << 18], "fc0", 1 << 31),
        (&[1 << 18], "fc0", 1 << 31),
    ];
    for (units, name, bytes) in heads {
        let error = (HEADER.read)(&originals::with_head(&file, units)).expect_err(name);
        assert_eq!(error.code(), "too-large", "{units:?}: {error}");
        assert!(error.to_string().contains(&format!("{name}.weight has {bytes} bytes")), "{units:?}: {error}");
    }
    (HEADER.read)(&originals::with_head(&file, &[1 << 17, 7])).unwrap();
}

/// A size that overflows 32 bits is not truncated on 32-bit targets.
#[test]
fn sizes_beyond_32_bits() {
    for (reader, name, from, to, reason) in [
        (HEAD, "head.keras", "\"units\": 7", "\"units\": 4294967303", "some of another shape"),
        (FOREIGN, "sequential.keras", "[null, 150,", "[null, 4294967446,", "is not supported"),
    ] {
        let file = common::fixture(name);
        let config = String::from_utf8(originals::member(&file, "config.json")).unwrap();
        assert!(config.contains(from), "{config}");
        let (config, weights) = (config.replace(from, to), originals::member(&file, "model.weights.h5"));
        let members = [("config.json", config.as_bytes()), ("model.weights.h5", &weights)];
        let error =
            (reader.read)(&originals::archive(&members, CompressionMethod::Stored)).expect_err(name).to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
}

#[test]
fn own_models() {
    run("own_models", OWN, 60, 40, MODELS.clone());
}

#[test]
fn keras_models() {
    for (name, file) in [
        ("keras1.h5", "keras1.h5"),
        ("keras2.h5", "keras2.h5"),
        ("keras3.h5", "keras3.h5"),
        ("keras3.weights.h5", "keras3.weights.h5"),
        ("sequential.keras", "sequential.keras"),
    ] {
        run(name, FOREIGN, 16, 10, originals::fixtures(&[file]));
    }
}

#[test]
fn timm_models() {
    run("timm.safetensors", FOREIGN, 24, 40, originals::fixtures(&["timm.safetensors"]));
}

#[test]
fn keras_heads() {
    run("keras_heads", HEAD, 4000, 10, originals::fixtures(&["head.h5", "head.weights.h5", "head.keras"]));
}

#[test]
fn pickles() {
    run("pickles", HEAD, 20_000, 30, originals::fixtures(&["head.pth", "head_module.pth", "head_legacy.pth"]));
}

#[test]
fn checkpoints() {
    let files = ["checkpoints/whole.pt", "checkpoints/half.pt", "checkpoints/outside.safetensors"];
    run("checkpoints", FOREIGN, 12, 10, originals::fixtures(&files));
}

/// Configs of whole models, by themselves.
#[test]
fn whole_configs() {
    let names = ["forms/drawn_06.keras", "forms/joined.keras", "forms/own_relu.keras", "inception/model.keras"];
    let config = |name: &str| (name.to_owned(), originals::member(&common::decompressed(name), "config.json"));
    run("whole_configs", CONFIG, 6000, 5, names.map(config).into());
}

#[test]
fn small_heads() {
    let mut files = originals::small_h5();
    files.extend(originals::small_archives());
    files.push(originals::small_safetensors());
    files.push(originals::small_json());
    run("small_heads", HEAD, 10_000, 40, files);
}

#[test]
fn learned_heads() {
    run("learned_heads", LEARNED, 10_000, 40, originals::learned());
}

/// Damaged configs in an otherwise valid archive.
#[test]
fn configs() {
    static WEIGHTS: LazyLock<Vec<u8>> =
        LazyLock::new(|| originals::member(&common::fixture("head.keras"), "model.weights.h5"));
    let reader = Reader {
        read: |config| {
            let members: [(&str, &[u8]); 2] = [("config.json", config), ("model.weights.h5", &WEIGHTS)];
            (HEAD.read)(&originals::archive(&members, CompressionMethod::Stored))
        },
        limit: |config| 2 * WEIGHTS.len() + 100 * config.len() + (HEAD.limit)(&WEIGHTS),
    };
    let config = |name: &str| originals::member(&common::fixture(name), "config.json");
    run("configs", reader, 3000, 10, vec![("head.keras".to_owned(), config("head.keras"))]);
}

#[test]
fn labels() {
    run("labels", LABELS, 6000, 5, originals::labels());
}

#[test]
fn images() {
    let files = originals::folder(&originals::data("photos"));
    assert!(files.len() > 20, "tests/data/photos is there");
    Run { name: "images", reader: IMAGE, count: 16_000, refused: 20, repair: originals::repair_png }.over(files);
}

/// The files that `npm run fuzz` found, in a folder for each target.
#[test]
fn crashes() {
    let readers = [
        ("own", OWN),
        ("keras", FOREIGN),
        ("timm", FOREIGN),
        ("torch", HEAD),
        ("config", CONFIG),
        ("head", HEAD),
        ("labels", LABELS),
        ("image", IMAGE),
    ];
    for (target, reader) in readers {
        for (name, file) in originals::folder(&originals::data("crashes").join(target)) {
            let outcome = watched("crashes", 0, &file, &reader);
            assert!(outcome.accepted.is_some(), "{target}/{name} panics");
            let limit = (reader.limit)(&file);
            assert!(outcome.memory <= limit, "{target}/{name} takes {} of {limit} bytes", outcome.memory);
        }
    }
}
