//! What is explained: the score of prepared pictures with one query vector, and the picture that shows nothing
//! which it is compared with.

use candle_core::{Device, Tensor, Var};
use image::imageops;
use relens_models::ModelError;
use relens_models::dual_encoder::DualEncoder;
use relens_models::image_preprocessing::{Preprocessor, RgbImage};

use crate::embed::retriever::Retriever;
use crate::error::{Error, Result};

/// Height and width of prepared pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelGrid {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl PixelGrid {
    /// The number of pixels.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// The number of values: three a pixel.
    pub fn values(self) -> usize {
        3 * self.pixels()
    }

    /// Refuses what is not `count` pictures of this size.
    pub(super) fn ensure(self, operation: &'static str, values: &[f32], count: usize) -> Result<()> {
        if values.len() == count * self.values() {
            return Ok(());
        }
        Err(Error::Argument {
            operation,
            expected: format!("{count} pictures of {} × {} pixels", self.height, self.width),
            found: format!("{} values", values.len()),
        })
    }
}

/// Scores and their gradients by every value of every picture.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredGradients {
    /// `[pictures]`
    pub scores: Vec<f32>,
    /// `[pictures, height, width, 3]`
    pub gradients: Vec<f32>,
}

/// A score of pictures that can be differentiated by their pixels.
pub trait DifferentiableScore {
    /// The size of the pictures.
    fn size(&self) -> PixelGrid;

    /// The scores of pictures.
    ///
    /// # Shapes
    /// - `pictures`: `[pictures, height, width, 3]`, normalised
    /// - result: `[pictures]`
    ///
    /// # Errors
    /// The pictures have another size, or the model fails.
    fn scores(&self, pictures: &[f32]) -> Result<Vec<f32>>;

    /// The scores of pictures and their gradients.
    ///
    /// # Shapes
    /// - `pictures`: `[pictures, height, width, 3]`, normalised
    ///
    /// # Errors
    /// As [`scores`](Self::scores).
    fn gradients(&self, pictures: &[f32]) -> Result<ScoredGradients>;
}

/// The dot product of a query vector with the embeddings of pictures.
#[derive(Debug)]
pub struct RetrievalScore<'a> {
    encoder: &'a DualEncoder,
    /// `[dim, 1]`
    query: Tensor,
    size: PixelGrid,
}

impl<'a> RetrievalScore<'a> {
    /// The score of pictures with `query` under `retriever`.
    ///
    /// # Shapes
    /// - `query`: `[dim]`
    ///
    /// # Errors
    /// [`Error::Argument`] if the query has another number of components.
    pub fn new(retriever: &'a Retriever, query: &[f32]) -> Result<Self> {
        if query.len() != retriever.dim() {
            return Err(Error::Argument {
                operation: "RetrievalScore::new",
                expected: format!("a query of {} components", retriever.dim()),
                found: query.len().to_string(),
            });
        }
        let size = retriever.preprocessor().config().size;
        let query = Tensor::from_slice(query, (query.len(), 1), &Device::Cpu).map_err(ModelError::from)?;
        let size = PixelGrid { height: size.height as usize, width: size.width as usize };
        Ok(Self { encoder: retriever.encoder(), query, size })
    }

    /// # Shapes
    /// - result: `[pictures, height, width, 3]`
    fn tensor(&self, pictures: &[f32]) -> Result<Tensor> {
        let PixelGrid { height, width } = self.size;
        let count = pictures.len() / self.size.values().max(1);
        self.size.ensure("RetrievalScore", pictures, count)?;
        let shape = (count, height, width, 3);
        Ok(Tensor::from_slice(pictures, shape, &Device::Cpu).map_err(ModelError::from)?)
    }

    /// # Shapes
    /// - result: `[pictures]`
    fn scored(&self, pictures: &Tensor) -> Result<Tensor> {
        let embeddings = self.encoder.encode_image(pictures)?;
        Ok(embeddings
            .matmul(&self.query)
            .and_then(|scores| scores.flatten_all())
            .map_err(ModelError::from)?)
    }
}

impl DifferentiableScore for RetrievalScore<'_> {
    fn size(&self) -> PixelGrid {
        self.size
    }

    fn scores(&self, pictures: &[f32]) -> Result<Vec<f32>> {
        let scores = self.scored(&self.tensor(pictures)?)?;
        Ok(scores.to_vec1().map_err(ModelError::from)?)
    }

    fn gradients(&self, pictures: &[f32]) -> Result<ScoredGradients> {
        let pictures = Var::from_tensor(&self.tensor(pictures)?).map_err(ModelError::from)?;
        let scores = self.scored(pictures.as_tensor())?;
        // Pictures do not see each other, so the gradient of the sum holds the gradient of each.
        let gradients = scores.sum_all().and_then(|sum| sum.backward()).map_err(ModelError::from)?;
        let gradient = gradients.get(pictures.as_tensor()).ok_or_else(|| Error::Argument {
            operation: "RetrievalScore::gradients",
            expected: "an image tower that gradients pass through".to_owned(),
            found: "no gradient at the pixels".to_owned(),
        })?;
        let gradients = gradient.flatten_all().and_then(|flat| flat.to_vec1()).map_err(ModelError::from)?;
        Ok(ScoredGradients { scores: scores.to_vec1().map_err(ModelError::from)?, gradients })
    }
}

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
