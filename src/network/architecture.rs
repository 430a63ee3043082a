//! The backbones by name, and what is published of them.

/// A backbone by its published name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Keras's Xception. Max pooling is padded as Keras does for "same": an odd length gets one on each side, an even one none before.
    #[default]
    Xception,
    /// Keras's without the shortcuts and sums around its blocks, which the paper compares with (Figure 9).
    XceptionWithoutResiduals,
    /// Keras's with a ReLU between the halves of separable convolutions, likewise (Figure 10).
    XceptionReluBetween,
    /// With an ELU there.
    XceptionEluBetween,
    /// timm's, and Cadene's: max pooling is padded by one on each side.
    LegacyXception,
    /// timm's modified aligned Xception of 41 layers, as DeepLab has it.
    Xception41,
    /// Of 65 layers.
    Xception65,
    /// Of 71 layers.
    Xception71,
    /// Of 41 layers, with batch norm and ReLU before each convolution.
    Xception41p,
    /// Of 65 layers, likewise.
    Xception65p,
    /// Keras's Inception V3. Average pooling leaves padding out.
    InceptionV3,
    /// PyTorch's Inception V3, which torchvision and timm have. Average pooling counts padding as zeros, and batch norms have a gamma.
    TorchInceptionV3,
}

crate::names! { Architecture {
    Xception = "xception", XceptionWithoutResiduals = "xception_without_residuals",
    XceptionReluBetween = "xception_relu_between", XceptionEluBetween = "xception_elu_between",
    LegacyXception = "legacy_xception", Xception41 = "xception41", Xception65 = "xception65", Xception71 = "xception71",
    Xception41p = "xception41p", Xception65p = "xception65p", InceptionV3 = "inception_v3",
    TorchInceptionV3 = "torch_inception_v3"
} }

impl Architecture {
    /// Whether it is Xception by the paper's table, as it is or with one of the paper's changes.
    pub const fn is_xception(self) -> bool {
        matches!(
            self,
            Self::Xception
                | Self::XceptionWithoutResiduals
                | Self::XceptionReluBetween
                | Self::XceptionEluBetween
                | Self::LegacyXception
        )
    }

    /// The smallest side of an image that the backbone takes.
    pub const fn min_side(self) -> usize {
        match self {
            Self::InceptionV3 | Self::TorchInceptionV3 => super::inception_v3::MIN_SIDE,
            _ => super::xception::MIN_SIDE,
        }
    }
}

/// A network with the published accuracy of its best weights: see `published.json`, which the demo page reads too.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Published {
    /// The network.
    pub network: Architecture,
    /// Parameters with 1000 classes, as [`Network::parameter_count`](super::Network::parameter_count) has them.
    pub parameters: usize,
    /// Multiply-accumulates at 299×299.
    pub macs: u64,
    /// Passes of a photo on a GPU, without those that resize it.
    pub passes: usize,
    /// Who trained the weights.
    pub weights: String,
    /// Percent of ImageNet's validation photos whose class is the first.
    pub top1: f64,
    /// Percent whose class is among the first five.
    pub top5: f64,
    /// The source of these figures.
    pub source: String,
}

#[cfg(not(target_arch = "wasm32"))]
impl Published {
    /// All that are known, in the order of their networks' tables.
    pub fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("published.json")).unwrap_or_default()
    }
}
