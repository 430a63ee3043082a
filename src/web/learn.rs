//! The module that learns classes from features, and predicts by what it learned.

use serde::{Deserialize, Serialize};

use super::*;
use crate::learn::{Accuracy, Examples, Head, Learned, Learner, Neighbours, Options, Round};
use crate::network::Output;
use crate::weights::learned::LearnedHead;

/// Half the code of Rust's own, which is for threads.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// Options of `learn` of index.d.ts, all of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Learning {
    output: String,
    penalty: f64,
    balanced: bool,
    seed: f64,
    nearest: bool,
    neighbours: Option<usize>,
}

/// `LearnReport` of index.d.ts, but for what was left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    labels: Vec<String>,
    photos: Vec<usize>,
    rounds: usize,
    curve: Vec<Round>,
    held_out: Accuracy,
}

/// Examples on their way.
#[wasm_bindgen(js_name = Examples)]
pub struct WebExamples {
    labels: Vec<String>,
    examples: Examples,
}

#[wasm_bindgen(js_class = Examples)]
impl WebExamples {
    /// None yet, of classes with these names.
    #[wasm_bindgen(constructor)]
    pub fn new(mut labels: Vec<String>) -> Self {
        labels.sort_unstable();
        labels.dedup();
        Self { labels, examples: Examples::default() }
    }

    /// The number of the example with these very features, if there is one.
    pub fn find(&self, features: &[f32]) -> Option<usize> {
        self.examples.find(features)
    }

    /// Adds an example of a class; its number.
    pub fn add(&mut self, features: Vec<f32>, label: &str) -> usize {
        let class = self.labels.partition_point(|other| &**other < label);
        self.examples.push(features, class);
        self.examples.classes.len() - 1
    }

    /// Adds a variant of an example, such as its mirror image.
    #[wasm_bindgen(js_name = addVariant)]
    pub fn add_variant(&mut self, features: Vec<f32>, of: usize) {
        self.examples.push_variant(features, of);
    }

    /// Begins to learn; `options` is JSON.
    pub fn learn(self, backbone: String, options: &str) -> Result<WebLearner, JsValue> {
        let options: Learning =
            serde_json::from_str(options).map_err(|error| throw(&Error::Argument(error.to_string())))?;
        WebLearner::new(self, backbone, options).map_err(|error| throw(&error))
    }
}

/// Learning under way.
#[wasm_bindgen(js_name = Learner)]
pub struct WebLearner {
    examples: WebExamples,
    description: LearnedHead,
    /// None where neighbours vote.
    learner: Option<Learner>,
    neighbours: Option<usize>,
}

impl WebLearner {
    fn new(examples: WebExamples, backbone: String, options: Learning) -> crate::error::Result<Self> {
        let WebExamples { labels, examples: own } = &examples;
        if let Some(class) = own.counts(labels.len()).iter().position(|&count| count == 0) {
            let message = format!("the class {} has no photo: give some, or leave it out", labels[class]);
            return Err(Error::Argument(message));
        }
        let output: Output = options.output.parse()?;
        let Learning { penalty, balanced: is_balanced, seed, nearest, neighbours, .. } = options;
        let description = LearnedHead::new(backbone, labels.clone(), output);
        let chosen = Options { output, penalty, is_balanced, seed: seed as u64, ..Options::default() };
        let learner = (!nearest).then(|| Learner::new(own.clone(), labels.len(), chosen)).transpose()?;
        Ok(Self { examples, description, learner, neighbours })
    }
}

#[wasm_bindgen(js_class = Learner)]
impl WebLearner {
    /// Goes on for a round; false behind the last.
    pub fn step(&mut self) -> bool {
        self.learner.as_mut().is_some_and(Learner::step)
    }

    /// The rounds so far.
    pub fn rounds(&self) -> usize {
        self.learner.as_ref().map_or(0, |learner| learner.curve().len() + learner.taken())
    }

    /// The rounds that are left, and what came of it.
    pub fn finish(self) -> Result<WebLearned, JsValue> {
        self.end().map_err(|error| throw(&error))
    }

    fn end(self) -> crate::error::Result<WebLearned> {
        let Self { examples: WebExamples { labels, examples }, description, learner, neighbours } = self;
        let classes = labels.len();
        let (photos, own) = (examples.counts(classes), examples.classes.clone());
        let (file, rounds, curve, predicted) = if let Some(learner) = learner {
            let Learned { linear, rounds, curve, held_out } = learner.finish();
            (Head::of_linear(&description, &linear)?, rounds, curve, held_out)
        } else {
            let (neighbours, predicted) = Neighbours::new(examples, classes, neighbours)?;
            (Head::of_neighbours(description, &neighbours)?, 0, Vec::new(), predicted)
        };
        let answers = predicted.into_iter().map(|(photo, class)| (photo, own[photo], class));
        let held_out = Accuracy::new(classes, answers);
        let report = serde_json::to_string(&Report { labels, photos, rounds, curve, held_out });
        let report = report.map_err(|error| Error::Argument(error.to_string()))?;
        Ok(WebLearned { file, report })
    }
}

/// What was learned.
#[wasm_bindgen(js_name = Learned, getter_with_clone)]
pub struct WebLearned {
    /// The head's file.
    pub file: Vec<u8>,
    /// JSON of [`Report`].
    pub report: String,
}

/// A learned head.
#[wasm_bindgen(js_name = Head)]
pub struct WebHead {
    head: Head,
}

#[wasm_bindgen(js_class = Head)]
impl WebHead {
    /// Reads its file.
    #[wasm_bindgen(constructor)]
    pub fn new(file: &[u8]) -> Result<Self, JsValue> {
        Head::read(file).map(|head| Self { head }).map_err(|error| throw(&error))
    }

    /// Its description, JSON.
    pub fn description(&self) -> String {
        // Text and numbers alone.
        serde_json::to_string(self.head.description()).unwrap_or_default()
    }

    /// Throws where it was learned on the features of another backbone.
    pub fn check(&self, backbone: &str) -> Result<(), JsValue> {
        self.head.description().check(backbone).map_err(|error| throw(&error))
    }

    /// The probability of each class.
    pub fn predict(&self, features: &[f32]) -> Result<Vec<f32>, JsValue> {
        self.head.predict(features).map_err(|error| throw(&error))
    }

    /// The weights of a class, unless neighbours vote.
    pub fn weights(&self, class: usize) -> Option<Vec<f32>> {
        self.head.weights(class).map(<[f32]>::to_vec)
    }
}
