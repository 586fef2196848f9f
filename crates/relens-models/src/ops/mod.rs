//! Fused kernels on tensors in main memory, every one of them with a backward pass.
//!
//! The tensor library's own softmax, norms and rotary embedding have no backward pass and stop gradients silently,
//! and its products lose time on weights stored `[out, in]`. The functions here take f32 tensors of any strides
//! (strided ones are copied first), check their shapes, and let the gradient through to every argument that tracks
//! one.
//!
//! Sequences of different lengths are *packed*: their tokens lie one after the other in `[total_tokens, width]`, and
//! `offsets` (one more than there are sequences) says where each begins. Nothing is padded, so nothing is masked.
//!
//! The kernels are compiled for several instruction sets and pick the best one at run time.

mod activation;
pub(crate) mod arguments;
mod attention;
pub(crate) mod convolution;
mod dropout;
mod embedding;
mod epilogue;
mod instruction_set;
mod int8;
mod l2_normalize;
mod layer_norm;
mod linear;
mod matmul;
mod parallel;
mod quantized;
mod rms_norm;
mod rotary;
mod softmax;
mod target_log_probs;
mod vector_math;

pub use activation::{Activation, activation, gated_activation, gelu, gelu_tanh, quick_gelu, relu6, silu};
pub(crate) use arguments::Elements as TensorElements;
pub use attention::{
    AttentionConfig, AttentionMask, CachedSequence, attention, attention_separate, attention_with_bias,
    cached_attention,
};
pub(crate) use convolution::SamePadding;
pub use convolution::depthwise_conv2d;
pub use dropout::{DropoutGenerator, DropoutMask, dropout};
pub use embedding::{embedding, mean_pool};
pub use epilogue::Finish;
pub use int8::{Int8Matrix, int8_linear};
pub use l2_normalize::l2_normalize;
pub use layer_norm::{layer_norm, residual_layer_norm};
pub use linear::{linear, linear_activation, linear_finished, linear_transposed};
pub(crate) use quantized::GgmlLayout;
pub use quantized::{QuantizedFormat, QuantizedMatrix, quantized_linear};
pub use rms_norm::rms_norm;
pub use rotary::{RotaryLayout, rotary, rotary_leading_heads};
pub use softmax::{log_softmax_last_dim, softmax_last_dim};
pub(crate) use target_log_probs::log_sum_exp;
pub use target_log_probs::target_log_probs;
pub(crate) use vector_math::add_row;
