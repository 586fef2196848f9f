//! The trunks that dual encoders are made of, one folder an architecture.

pub mod bert;
pub mod efficientnet;
pub mod eva02;
pub mod modified_resnet;
pub mod text_transformer;
pub mod vision_transformer;
