//! What each row of a contrastive batch should look like: which texts belong to which image, and how strongly.

use candle_core::{D, Device, Tensor};

use crate::{Result, TrainingError};

/// Target distributions of a batch of images and texts, for both directions.
///
/// Hard targets are uniform over the positives (an image has several captions, a caption one image); soft ones come
/// from a teacher or from the similarity of the captions.
#[derive(Debug, Clone)]
pub struct ContrastiveTargets {
    /// For each image a distribution over the batch's texts: `[images, texts]`.
    pub image_to_text: Tensor,
    /// For each text a distribution over the batch's images: `[texts, images]`.
    pub text_to_image: Tensor,
    /// 1 where the text belongs to the image, else 0: `[images, texts]`.
    pub positives: Tensor,
}

impl ContrastiveTargets {
    /// Joint positives: all texts of an image share its probability, and an image has all of its texts' probability.
    ///
    /// `image_of_text[t]` is the row of text `t`'s image. With one text per image this is CLIP's diagonal. An image
    /// without a text in the batch gets a row of zeros, which the losses pass over.
    ///
    /// # Errors
    /// A text belongs to an image that is not in the batch.
    pub fn joint(images: usize, image_of_text: &[u32], device: &Device) -> Result<Self> {
        let texts = image_of_text.len();
        if let Some(row) = image_of_text.iter().find(|&&row| row as usize >= images) {
            return Err(TrainingError::argument(
                "ContrastiveTargets::joint",
                format!("image rows below {images}"),
                row.to_string(),
            ));
        }
        let mut positives = vec![0f32; images * texts];
        for (text, &image) in image_of_text.iter().enumerate() {
            positives[image as usize * texts + text] = 1.0;
        }
        let positives = Tensor::from_vec(positives, (images, texts), device)?;
        let counts = positives.sum_keepdim(D::Minus1)?.maximum(1f64)?;
        Ok(Self {
            image_to_text: positives.broadcast_div(&counts)?,
            text_to_image: positives.t()?.contiguous()?,
            positives,
        })
    }

    /// Label smoothing (Szegedy et al. 2016): `(1 − ε)·target + ε / classes`, as `torch.nn.CrossEntropyLoss`.
    ///
    /// # Errors
    /// The tensor library failed.
    pub fn smoothed(&self, epsilon: f64) -> Result<Self> {
        let smooth = |targets: &Tensor| -> Result<Tensor> {
            let mass = targets.sum_keepdim(D::Minus1)?;
            let uniform = (mass * (epsilon / targets.dim(1)? as f64))?;
            Ok((targets * (1.0 - epsilon))?.broadcast_add(&uniform)?)
        };
        Ok(Self {
            image_to_text: smooth(&self.image_to_text)?,
            text_to_image: smooth(&self.text_to_image)?,
            positives: self.positives.clone(),
        })
    }

    /// `(1 − weight)·self + weight·softmax(scale·similarities)` in both directions: distillation from a teacher
    /// (Hinton et al. 2015; for dual encoders e.g. CLIP-TD, TinyCLIP), or any other opinion on who resembles whom.
    ///
    /// # Shapes
    /// - similarities: `[images, texts]`, for instance a teacher ensemble's mean cosine
    ///
    /// # Errors
    /// The similarities are of another shape than the targets.
    pub fn mixed_with(&self, similarities: &Tensor, scale: f64, weight: f64) -> Result<Self> {
        if similarities.dims() != self.positives.dims() {
            return Err(TrainingError::argument(
                "ContrastiveTargets::mixed_with",
                format!("similarities of shape {:?}", self.positives.dims()),
                format!("{:?}", similarities.dims()),
            ));
        }
        let logits = (similarities.detach() * scale)?;
        let mix = |hard: &Tensor, logits: &Tensor| -> Result<Tensor> {
            Ok(((hard * (1.0 - weight))? + (softmax_rows(logits)? * weight)?)?)
        };
        Ok(Self {
            image_to_text: mix(&self.image_to_text, &logits)?,
            text_to_image: mix(&self.text_to_image, &logits.t()?.contiguous()?)?,
            positives: self.positives.clone(),
        })
    }
}

/// Similarities of images and texts as their captions see them: the cosine of the image's mean caption embedding and
/// the mean caption embedding of the text's own image, after a frozen sentence encoder. Two pictures that people
/// describe alike are then not pushed apart as if they were strangers.
///
/// # Shapes
/// - caption_means: `[images, width]`, one mean caption embedding per image
/// - output: `[images, texts]`
///
/// # Errors
/// A text belongs to an image without a mean embedding.
pub fn caption_similarity_targets(caption_means: &Tensor, image_of_text: &[u32]) -> Result<Tensor> {
    let norms = caption_means.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12f64)?;
    let unit = caption_means.broadcast_div(&norms)?;
    let similarities = unit.matmul(&unit.t()?)?;
    let columns = Tensor::from_slice(image_of_text, image_of_text.len(), caption_means.device())?;
    Ok(similarities.index_select(&columns, 1)?)
}

/// Softmax over the last dimension of constants: composed, and never differentiated here.
fn softmax_rows(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?.exp()?;
    Ok(shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joint_positives_share_the_row() {
        let targets = ContrastiveTargets::joint(3, &[0, 2, 0], &Device::Cpu).unwrap();
        let rows = targets.image_to_text.to_vec2::<f32>().unwrap();
        assert_eq!(rows, vec![vec![0.5, 0.0, 0.5], vec![0.0; 3], vec![0.0, 1.0, 0.0]]);
        let columns = targets.text_to_image.to_vec2::<f32>().unwrap();
        assert_eq!(columns, vec![vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0], vec![1.0, 0.0, 0.0]]);
    }

    #[test]
    fn smoothing_and_mixing_keep_rows_summing_to_one() {
        let targets = ContrastiveTargets::joint(2, &[0, 0, 1, 1], &Device::Cpu).unwrap();
        let similarities =
            Tensor::new(&[[0.9f32, 0.8, 0.1, 0.3], [0.2, 0.1, 0.7, 0.9]], &Device::Cpu).unwrap();
        let mixed = targets.smoothed(0.1).unwrap().mixed_with(&similarities, 10.0, 0.4).unwrap();
        for matrix in [&mixed.image_to_text, &mixed.text_to_image] {
            for sum in matrix.sum(1).unwrap().to_vec1::<f32>().unwrap() {
                assert!((sum - 1.0).abs() < 1e-6, "row sums to {sum}");
            }
        }
    }

    #[test]
    fn a_text_of_no_image_is_refused() {
        let error = ContrastiveTargets::joint(2, &[0, 2], &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("image rows below 2, found 2"), "{error}");
    }

    #[test]
    fn caption_similarity_of_an_image_with_itself_is_one() {
        let means = Tensor::new(&[[1f32, 0.0], [1.0, 1.0]], &Device::Cpu).unwrap();
        let similarities = caption_similarity_targets(&means, &[0, 1, 1]).unwrap().to_vec2::<f32>().unwrap();
        assert!((similarities[0][0] - 1.0).abs() < 1e-6);
        assert!((similarities[1][2] - 1.0).abs() < 1e-6);
        assert!((similarities[0][1] - 0.5f32.sqrt()).abs() < 1e-6);
    }
}
