//! Interpretation: class activation maps, and the activations of any layer.

use super::{Classifier, ReadbackOf};
use crate::backend::{Backend, Engine};
use crate::error::{Error, Result};
use crate::explain::Explanation;
use crate::network::Output;

impl<B: Backend> Classifier<B> {
    /// Starts to explain a class, or an output without classes, of the photo that [`Self::start`], [`Self::classify`] or
    /// [`Self::predict`] answered last by itself: what each pixel of the backbone's last activation contributes to its logit,
    /// `[height][width]` of [`Network::features`](crate::network::Network::features). Where the map is exact ([`Self::is_exact`]),
    /// their mean is the logit, but for what biases add.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such class, or the model gives features; [`Error::OutOfMemory`] if the device has no room for
    /// what explains; [`Error::DeviceLost`] or [`Error::Gpu`] if it failed.
    pub async fn explain(&mut self, class: usize) -> Result<ReadbackOf<B>> {
        if self.network.output == Output::Features {
            return Err(Error::Argument(
                "the model has no output but its features: there is nothing to explain".to_owned(),
            ));
        }
        let (outputs, single) = (self.plan().outputs, &mut self.single);
        let classes = self.network.classes().max(outputs);
        if class >= classes {
            return Err(Error::Argument(format!("there is no class {class}: the model has {classes}")));
        }
        let explanation = match &mut self.explanation {
            Some(explanation) => explanation,
            none => {
                let explanation = Explanation::new(single.plan())?;
                single.extend(explanation.plan.clone()).await?;
                none.insert(explanation)
            }
        };
        let Explanation { first, gradient, map, ref plan, .. } = *explanation;
        let mut values = vec![0.0; outputs];
        // Of two classes with one logit z, the first's is −z.
        values[if classes > outputs { 0 } else { class }] = if classes > outputs && class == 0 { -1.0 } else { 1.0 };
        single.write_slot(gradient, &values);
        single.submit(first..plan.passes.len(), 1, map, plan.slots[map].len)
    }

    /// Whether explanations are exact: the head is linear piece by piece. Else they are gradients at the photo.
    pub fn is_exact(&self) -> bool {
        Explanation::new(self.plan()).is_ok_and(|explanation| explanation.is_exact)
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
