//! Which pixels a score comes from, as the commands are asked for it.

use anyhow::Result;
use clap::{Args, ValueEnum};
use image::RgbImage;
use relens::embed::retriever::Retriever;
use relens::explanation::integrated_gradients::{IntegratedGradientsConfig, integrated_gradients};
use relens::explanation::mask::{MaskConfig, optimize_mask};
use relens::explanation::{Baseline, DifferentiableScore, SaliencyMap};
use relens::progress::Progress;
use serde::Serialize;

/// How pixels are explained.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PixelArguments {
    /// The method for the pixels.
    #[arg(long, value_enum, default_value = "integrated_gradients")]
    pub(crate) method: Method,

    /// Steps of integrated_gradients between baseline and picture, or descent steps of mask (default: 64 or 15).
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    steps: Option<u16>,

    /// What the picture is compared with.
    #[arg(long, value_enum, default_value = "blur")]
    pub(crate) baseline: BaselineName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// What each pixel adds to the score (Sundararajan et al., 2017).
    IntegratedGradients,
    /// The smallest part that the score cannot do without (I-GOS, Qi et al., 2020).
    Mask,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BaselineName {
    /// The model's mean colour.
    Grey,
    /// Black.
    Black,
    /// The picture, blurred.
    Blur,
}

/// A picture as the model reads it, and its baseline.
pub(crate) struct PreparedPair {
    pub(crate) image: Vec<f32>,
    pub(crate) baseline: Vec<f32>,
}

/// What was found out about the pixels.
pub(crate) struct PixelExplanation {
    pub(crate) map: SaliencyMap,
    pub(crate) score: f32,
    pub(crate) baseline_score: f32,
    pub(crate) detail: Detail,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(crate) enum Detail {
    Gradients { attributed: f64, completeness_error: f64, unadjusted_completeness_error: f64 },
    Mask { masked_score: f32, masked_area: f32 },
}

impl PixelArguments {
    pub(crate) fn steps(self) -> usize {
        let default = match self.method {
            Method::IntegratedGradients => IntegratedGradientsConfig::default().steps,
            Method::Mask => MaskConfig::default().iterations,
        };
        self.steps.map_or(default, usize::from)
    }

    pub(crate) fn prepare(self, retriever: &Retriever, image: &RgbImage) -> Result<PreparedPair> {
        let baseline = match self.baseline {
            BaselineName::Grey => Baseline::Grey,
            BaselineName::Black => Baseline::Black,
            BaselineName::Blur => Baseline::Blur,
        };
        let baseline = baseline.prepared(image, retriever.preprocessor())?;
        let mut prepared = vec![0.0; baseline.len()];
        retriever.preprocessor().normalise_into(image, &mut prepared)?;
        Ok(PreparedPair { image: prepared, baseline })
    }

    pub(crate) fn explain(
        self,
        score: &dyn DifferentiableScore,
        pair: &PreparedPair,
        progress: &mut dyn Progress,
    ) -> Result<PixelExplanation> {
        let (image, baseline) = (pair.image.as_slice(), pair.baseline.as_slice());
        if self.method == Method::Mask {
            let config = MaskConfig { iterations: self.steps(), ..MaskConfig::default() };
            let found = optimize_mask(score, image, baseline, config, progress)?;
            let detail = Detail::Mask { masked_score: found.masked_score, masked_area: found.area };
            let (score, baseline_score) = (found.score, found.baseline_score);
            return Ok(PixelExplanation { map: found.map, score, baseline_score, detail });
        }
        let config =
            IntegratedGradientsConfig { steps: self.steps(), ..IntegratedGradientsConfig::default() };
        let found = integrated_gradients(score, image, baseline, config, progress)?;
        let detail = Detail::Gradients {
            attributed: found.map.sum(),
            completeness_error: found.completeness_error(),
            unadjusted_completeness_error: found.unadjusted_completeness_error(),
        };
        let (score, baseline_score) = (found.score, found.baseline_score);
        Ok(PixelExplanation { map: found.map, score, baseline_score, detail })
    }
}

impl PixelExplanation {
    /// By how much the pixels miss the difference that they explain, as they are and before their steps were adjusted;
    /// none for a mask.
    pub(crate) fn completeness_errors(&self) -> Option<[f64; 2]> {
        match self.detail {
            Detail::Gradients { completeness_error, unadjusted_completeness_error, .. } => {
                Some([completeness_error, unadjusted_completeness_error])
            }
            Detail::Mask { .. } => None,
        }
    }
}
