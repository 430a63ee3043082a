//! What the network saw: class activation maps, and the activations of any layer.

use super::Classifier;
use crate::error::{Error, Result};
use crate::explain::Explanation;
use crate::gpu::Readback;

impl Classifier {
    /// Starts to explain a class of the photo that [`Self::start`] or [`Self::classify`] answered last by itself: what each
    /// pixel of the network's last activation contributes to the class's logit, `[height][width]` of [`Network::features`](crate::network::Network::features). Their
    /// mean is the logit, but for the biases.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such class, [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed.
    pub fn explain(&mut self, class: usize) -> Result<Readback> {
        let classes = self.plan().classes;
        if class >= classes {
            return Err(Error::Argument(format!("there is no class {class}: the model has {classes}")));
        }
        let (plan, runner) = (&self.single.plan, &self.single.runner);
        let (explanation, runner) = self.explainer.get_or_insert_with(|| {
            let explanation = Explanation::new(plan);
            let runner = runner.extended(&explanation.plan);
            (explanation, runner)
        });
        let mut gradient = vec![0.0; classes];
        gradient[class] = 1.0;
        runner.write_slot(explanation.gradient, 0, &gradient);
        let map = explanation.map;
        runner.submit(|_| {}, explanation.first.., 1, map, explanation.plan.slots[map].len)
    }

    /// Starts the network up to a layer on the photo that was uploaded last: `[height][width][channels]`, after its batch norm, what is
    /// added to it (a block's last layer has the whole block's result) and its ReLU, if that comes after it.
    ///
    /// # Errors
    /// [`Error::Argument`] where no layer has that name, [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed.
    pub fn activations(&self, layer: &str) -> Result<Readback> {
        let plan = self.plan();
        let (pass, shape) = plan.pass_of(&self.network, layer)?;
        self.single.submit(..=pass, 1, plan.passes[pass].writes, shape.len())
    }
}
