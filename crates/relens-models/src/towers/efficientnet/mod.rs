//! EfficientNet-Lite (Tan and Le, 2019, in the variant for mobile devices: ReLU6, no squeeze-and-excitation), as
//! timm's `tf_efficientnet_lite0` to `lite4`: the image trunk of the bundled retriever.
//!
//! ```no_run
//! use relens_models::towers::efficientnet::{EfficientNet, EfficientNetConfig};
//! use relens_models::image_preprocessing::{PreprocessConfig, Preprocessor, decode_image};
//! use relens_models::parameters::Parameters;
//! use relens_models::weights::Weights;
//!
//! let parameters = Parameters::frozen(Weights::open("model.safetensors")?);
//! let config = EfficientNetConfig::from_timm_name("tf_efficientnet_lite0")?;
//! let network = EfficientNet::new(config, &parameters)?;
//! let preprocessor = Preprocessor::new(PreprocessConfig::default())?;
//! let features = network.pooled(&preprocessor.batch(&[decode_image("beach.jpg")?])?)?;
//! assert_eq!(features.dims(), [1, 1280]);
//! # Ok::<(), relens_models::ModelError>(())
//! ```

mod block;
mod config;
mod fused;
mod network;

pub use config::{BlockConfig, EfficientNetConfig};
pub use network::EfficientNet;
