//! `xception publish`: a folder for the hub, whose files are what they say.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::tool::{model, photo, refused, scratch, stdout, xception};

/// A folder of this test run that is not there yet.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn sha256(path: &Path) -> String {
    Sha256::digest(fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_published_folder_has_weights_a_card_labels_and_checksums() {
    let folder = folder("published");
    let names = scratch("published.txt", b"cup\nfork\nglass\nknife\nplate\nspoon\n");
    let photos = photo("");
    let classes = Path::new(&photos).with_file_name("labels.csv").display().to_string();
    let (model, path) = (model(), folder.display().to_string());
    let output = xception(&[
        "publish",
        "--backend",
        "cpu",
        "--model",
        &model,
        "--filter",
        "nearest",
        "--license",
        "Apache-2.0",
        "--labels",
        &names,
        "--name",
        "me/kitchen",
        "--eval-images",
        &photos,
        "--eval-labels",
        &classes,
        &path,
    ]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("hf upload me/kitchen"), "{output:?}");
    let mut found: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let files = ["README.md", "SHA256SUMS", "labels.txt", "model-i8.safetensors", "model.safetensors", "models.json"];
    assert_eq!(found, files);

    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("labels.txt"), "cup\nfork\nglass\nknife\nplate\nspoon\n");
    let sums = read("SHA256SUMS");
    let listed: Vec<_> = sums.lines().map(|line| line.split_once("  ").unwrap()).collect();
    let names: Vec<_> = listed.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["model.safetensors", "model-i8.safetensors"]);
    let entries: Vec<Value> = serde_json::from_str(&read("models.json")).unwrap();
    for ((sum, name), entry) in listed.iter().zip(&entries) {
        let file = folder.join(name);
        assert_eq!((*sum, entry["integrity"].as_str().unwrap()), (&*sha256(&file), *sum));
        assert_eq!(entry["bytes"], fs::metadata(&file).unwrap().len());
        assert_eq!(entry["url"], format!("https://huggingface.co/me/kitchen/resolve/main/{name}"));
        assert_eq!(entry["license"], "Apache-2.0");
        let keys: Vec<_> = entry.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["bytes", "integrity", "license", "name", "url"], "docs/models.schema.json");
        let photo = photo("0009.jpg");
        let answer = xception(&["classify", "--backend", "cpu", "--model", &file.display().to_string(), &photo]);
        assert!(stdout(&answer).contains("cup"), "{answer:?}");
    }

    let card = read("README.md");
    let (front, text) = card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    let is_there = |part: &str, whole: &str| assert!(whole.contains(part), "{part} is not in {whole}");
    for line in
        ["license: apache-2.0", "pipeline_tag: image-classification", "      value: 1.0000", "- name: \"me/kitchen\""]
    {
        is_there(line, front);
    }
    for part in [
        "hf:me/kitchen",
        &sha256(&folder.join("model.safetensors")),
        "| i8 | 9 | 100.0 % |",
        "nearest, squash",
        "Assumed",
    ] {
        is_there(part, text);
    }

    refused(&xception(&["publish", "--model", &model, "--name", "me/kitchen", &path]), 1, &[&path, "not empty"]);
}

#[test]
fn what_others_need_to_know_is_asked_for() {
    let (model, path) = (model(), folder("unpublished").display().to_string());
    let publish = |more: &[&str]| {
        xception(&[&["publish", "--backend", "cpu", "--model", &model, "--name", "me/kitchen", &path], more].concat())
    };
    refused(&publish(&[]), 1, &["licence", "--license"]);
    refused(&publish(&["--license", "mit"]), 1, &["classes have no names", "--labels"]);
    let few = scratch("few.txt", b"cup\nfork\n");
    refused(&publish(&["--license", "mit", "--labels", &few]), 1, &["2 labels for 6 classes"]);
    let usage = xception(&["publish", "--model", &model, "--name", "kitchen", &path]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}
