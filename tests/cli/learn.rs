//! `xception learn`: folders of photos in, a head out that answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use super::common;
use super::tool::{model, photo, refused, scratch, stdout, xception};

const LEARNED: [(&str, &[&str]); 3] =
    [("cup", &["0000", "0009", "0020"]), ("plate", &["0004", "0192", "0385"]), ("spoon", &["0001", "0024"])];
const OTHERS: [(&str, &[&str]); 3] =
    [("cup", &["0299", "0403", "0422"]), ("plate", &["0002", "0026"]), ("spoon", &["0207"])];

/// A folder with a folder of photos for each class.
fn folders(name: &str, classes: &[(&str, &[&str])]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    for (class, photos) in classes {
        fs::create_dir_all(folder.join(class)).unwrap();
        for name in *photos {
            fs::copy(photo(&format!("{name}.jpg")), folder.join(class).join(format!("{name}.jpg"))).unwrap();
        }
    }
    folder
}

fn learn(images: &Path, head: &str, more: &[&str]) -> Output {
    let (model, images) = (model(), images.display().to_string());
    let arguments = ["learn", "--backend", "cpu", "--model", &model, "--images", &images, "--output", head, "--json"];
    xception(&[&arguments[..], more].concat())
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(&stdout(output)).unwrap()
}

#[test]
fn learned_classes_answer_and_the_same_photos_give_the_same_bytes() {
    let images = folders("learned", &LEARNED);
    let others = folders("others", &OTHERS).display().to_string();
    let heads = ["once", "again", "flipped"].map(|name| scratch(&format!("{name}.safetensors"), b""));
    let report = json(&learn(&images, &heads[0], &["--validate", &others]));
    assert_eq!(report["labels"], serde_json::json!(["cup", "plate", "spoon"]));
    assert_eq!((&report["photos"], &report["leftOut"]), (&serde_json::json!([3, 3, 2]), &0.into()));
    assert_eq!(report["heldOut"]["photos"], 3);
    assert_eq!(report["validated"]["right"], 6, "{report}");
    assert_eq!(report["validated"]["confusion"], serde_json::json!([[3, 0, 0], [0, 2, 0], [0, 0, 1]]));
    json(&learn(&images, &heads[1], &[]));
    assert_eq!(fs::read(&heads[0]).unwrap(), fs::read(&heads[1]).unwrap());
    json(&learn(&images, &heads[2], &["--flip", "--one-vs-rest", "--seed", "7"]));
    assert_ne!(fs::read(&heads[0]).unwrap(), fs::read(&heads[2]).unwrap());
    for (class, photos) in OTHERS {
        for head in [&heads[0], &heads[2]] {
            let photo = photo(&format!("{}.jpg", photos[0]));
            let output =
                xception(&["classify", "--json", "--backend", "cpu", "--model", &model(), "--head", head, &photo]);
            assert_eq!(json(&output)["predictions"][0]["label"], class, "{photo}");
        }
    }
    // The head says which features it was learned on.
    let mut file = fs::read(&heads[0]).unwrap();
    let key = b"backbone\\\":\\\"";
    let at = file.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    file[at..at + 2].copy_from_slice(b"zz");
    let other = scratch("other_head.safetensors", &file);
    let output = xception(&["inspect", &model(), "--head", &other]);
    refused(&output, 1, &["learned on the features of another model"]);
}

/// "Notop" weights: the head is learned on the mean of their last activation.
#[test]
fn weights_without_a_head_learn_one() {
    let images = folders("notop", &LEARNED).display().to_string();
    let weights = scratch("notop.h5", &common::fixture("notop.h5"));
    let head = scratch("notop_head.safetensors", b"");
    let model = ["--backend", "cpu", "--model", &weights, "--size", "71", "--json"];
    json(&xception(&[&["learn", "--images", &images, "--output", &head], &model[..]].concat()));
    assert_eq!(fs::read(&head).unwrap().len() / 8192, 3);
    let output = xception(&[&["classify", &photo("0009.jpg"), "--head", &head], &model[..]].concat());
    assert_eq!(json(&output)["predictions"].as_array().unwrap().len(), 3);
}

#[test]
fn what_cannot_be_learned_is_named() {
    let head = scratch("none.safetensors", b"");
    let one = folders("one", &LEARNED[..1]);
    refused(&learn(&one, &head, &[]), 1, &["one", "two or more classes", "cup alone"]);
    let empty = folders("empty", &[("cup", &["0009"]), ("fork", &[])]);
    refused(&learn(&empty, &head, &[]), 1, &["fork", "no photo"]);
    let twice = folders("twice", &[("cup", &["0009"]), ("fork", &["0009"])]);
    refused(&learn(&twice, &head, &[]), 1, &["fork", "of another class", "cup"]);
    let images = folders("odd", &[("cup", &["0000", "0009"]), ("plate", &["0002", "0004"])]);
    fs::write(images.join("cup/notes.txt"), "no photo").unwrap();
    fs::copy(images.join("cup/0009.jpg"), images.join("cup/copy.jpg")).unwrap();
    fs::write(images.join("cup/.hidden"), "nobody sees it").unwrap();
    let output = learn(&images, &head, &[]);
    refused(&output, 1, &["notes.txt", "not a readable image", "left out"]);
    refused(&output, 1, &["copy.jpg", "again", "left out"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["photos"], &report["leftOut"]), (&serde_json::json!([2, 2]), &2.into()));
    let unknown = folders("unknown", &[("bowl", &["0004"])]).display().to_string();
    refused(&learn(&images, &head, &["--validate", &unknown]), 1, &["bowl is none of the classes"]);
    refused(&learn(&images, &head, &["--penalty", "0"]), 1, &["penalty"]);
    let missing = images.join("missing");
    refused(&learn(&missing, &head, &[]), 1, &["missing"]);
}
