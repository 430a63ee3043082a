//! Activation functions.

/// An activation function, as Keras defines it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x, or α·(eˣ − 1) where x < 0
    Elu(f32),
    /// 1.0507·x, or 1.7581·(eˣ − 1) where x < 0
    Selu,
    /// x, or α·x where x < 0
    LeakyRelu(f32),
    /// x·Φ(x), by the error function
    Gelu,
    /// GELU by tanh
    GeluTanh,
    /// x·sigmoid(x), also known as swish
    Silu,
    /// tanh(x)
    Tanh,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// slope·x + ½ within 0 to 1; Keras 3's slope is 1/6, Keras 2's 0.2
    HardSigmoid(f32),
    /// ln(1 + eˣ)
    Softplus,
}

impl Function {
    /// Its value at `x`.
    pub fn apply(self, x: f32) -> f32 {
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Relu => x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Elu(alpha) => {
                if x < 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            Self::Selu => 1.050_701 * if x < 0.0 { 1.673_263_2 * x.exp_m1() } else { x },
            Self::LeakyRelu(alpha) => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::Gelu => 0.5 * x * libm::erfcf(-x * std::f32::consts::FRAC_1_SQRT_2),
            Self::GeluTanh => 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()),
            Self::Silu => x * sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => sigmoid(x),
            Self::HardSigmoid(slope) => (slope * x + 0.5).clamp(0.0, 1.0),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }

    /// Its slope at `x`; where it has a corner, that of the left side.
    pub fn slope(self, x: f32) -> f32 {
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let step = |is_right: bool, left: f32| if is_right { 1.0 } else { left };
        match self {
            Self::Relu => step(x > 0.0, 0.0),
            Self::Relu6 => step(x > 0.0 && x < 6.0, 0.0),
            Self::Elu(alpha) => step(x > 0.0, alpha * x.exp()),
            Self::Selu => 1.050_701 * step(x > 0.0, 1.673_263_2 * x.exp()),
            Self::LeakyRelu(alpha) => step(x > 0.0, alpha),
            Self::Gelu => {
                let density = 0.398_942_3 * (-0.5 * x * x).exp();
                0.5 * libm::erfcf(-x * std::f32::consts::FRAC_1_SQRT_2) + x * density
            }
            Self::GeluTanh => {
                let tanh = (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh();
                0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * 0.797_884_6 * (1.0 + 0.134_145 * x * x)
            }
            Self::Silu => sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x))),
            Self::Tanh => 1.0 - x.tanh() * x.tanh(),
            Self::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
            Self::HardSigmoid(slope) => {
                if (slope * x).abs() < 0.5 {
                    slope
                } else {
                    0.0
                }
            }
            Self::Softplus => sigmoid(x),
        }
    }

    /// Whether it is linear piece by piece.
    pub fn is_piecewise_linear(self) -> bool {
        matches!(self, Self::Relu | Self::Relu6 | Self::LeakyRelu(_) | Self::HardSigmoid(_))
    }
}
