//! Pictures that show nothing.

use image::imageops;
use relens_models::image_preprocessing::{Preprocessor, RgbImage};

use crate::error::Result;

/// What a picture is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// The model's mean colour: zero after normalisation, so that dark and bright pixels count alike.
    Grey,
    /// Black, the choice of Sundararajan et al.; what is black in the picture cannot be important then.
    Black,
    /// The picture itself, blurred until nothing can be recognised; colours stay. The choice of Qi et al.
    Blur,
}

/// The blur's standard deviation as a share of the longer side: 10 pixels of 224, as in I-GOS.
const BLUR: f32 = 10.0 / 224.0;

impl Baseline {
    /// The prepared baseline of a picture.
    ///
    /// # Shapes
    /// - result: `[height × width × 3]` of the model's input, normalised
    ///
    /// # Errors
    /// The picture is empty.
    pub fn prepared(self, picture: &RgbImage, preprocessor: &Preprocessor) -> Result<Vec<f32>> {
        let fitted = preprocessor.fit(picture)?;
        let (width, height) = fitted.dimensions();
        let mut values = vec![0.0; fitted.len()];
        match self {
            Self::Grey => {}
            Self::Black => preprocessor.normalise_into(&RgbImage::new(width, height), &mut values)?,
            Self::Blur => {
                let sigma = BLUR * width.max(height) as f32;
                preprocessor.normalise_into(&imageops::fast_blur(fitted.as_ref(), sigma), &mut values)?;
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use relens_models::image_preprocessing::{ImageSize, PreprocessConfig};

    use super::*;

    #[test]
    fn each_baseline_is_what_its_name_says() {
        let config = PreprocessConfig { size: ImageSize::square(32), ..PreprocessConfig::default() };
        let preprocessor = Preprocessor::new(config.clone()).unwrap();
        let picture = RgbImage::from_fn(32, 32, |x, _| image::Rgb([if x < 16 { 0 } else { 255 }; 3]));
        let grey = Baseline::Grey.prepared(&picture, &preprocessor).unwrap();
        assert!(grey.len() == 32 * 32 * 3 && grey.iter().all(|&value| value == 0.0));
        let black = Baseline::Black.prepared(&picture, &preprocessor).unwrap();
        assert_eq!(black[..3], [0, 1, 2].map(|channel| -config.mean[channel] / config.std[channel]));
        let blurred = Baseline::Blur.prepared(&picture, &preprocessor).unwrap();
        let (edge, far) = (blurred[16 * 3], blurred[0]);
        assert!(far < edge && edge < blurred[31 * 3], "{far} {edge}");
    }
}
