//! Interpretation: class activation maps, and the activations of any layer.

use super::{Classifier, ReadbackOf};
use crate::backend::{Backend, Engine};
use crate::error::{Error, Result};
use crate::explain::Explanation;

impl<B: Backend> Classifier<B> {
    /// Starts to explain a class of the photo that [`Self::start`] or [`Self::classify`] answered last by itself: what each
    /// pixel of the network's last activation contributes to the class's logit, `[height][width]` of
    /// [`Network::features`](crate::network::Network::features). Their mean is the logit, but for the biases.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such class, [`Error::DeviceLost`] or [`Error::Gpu`] if the device failed.
    pub fn explain(&mut self, class: usize) -> Result<ReadbackOf<B>> {
        let (classes, single) = (self.plan().classes, &mut self.single);
        if class >= classes {
            return Err(Error::Argument(format!("there is no class {class}: the model has {classes}")));
        }
        let Explanation { first, gradient, map, ref plan } = *self.explanation.get_or_insert_with(|| {
            let explanation = Explanation::new(single.plan());
            single.extend(explanation.plan.clone());
            explanation
        });
        let mut values = vec![0.0; classes];
        values[class] = 1.0;
        single.write_slot(gradient, &values);
        single.submit(first..plan.passes.len(), 1, map, plan.slots[map].len)
    }

    /// Starts the network up to a layer on the photo that was uploaded last: `[height][width][channels]`, after its batch norm, what is
    /// added to it (a block's last layer has the whole block's result) and its ReLU, if that comes after it.
    ///
    /// # Errors
    /// [`Error::Argument`] if no layer has that name, [`Error::DeviceLost`] or [`Error::Gpu`] if the device failed.
    pub fn activations(&self, layer: &str) -> Result<ReadbackOf<B>> {
        let plan = self.plan();
        let (pass, shape) = plan.pass_of(&self.network, layer)?;
        self.single.submit(0..pass + 1, 1, plan.passes[pass].writes, shape.len())
    }
}
