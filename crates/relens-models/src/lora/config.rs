//! What an adapter is like.

use serde::{Deserialize, Serialize};

use crate::{ModelError, Result};

/// The largest rank: beyond it, an adapter is no smaller than what it adapts.
const LARGEST_RANK: usize = 4096;

/// What an adapter is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Width of the bottleneck, `r`. Default 8.
    pub rank: usize,
    /// The products are multiplied by alpha / rank. Default 16.
    pub alpha: f64,
    /// Share of the inputs that training sets to zero before A. Default 0.
    pub dropout: f32,
    /// Which linear maps are adapted: the last parts of their names, as `q_proj` or `self_attn.q_proj`. Default the
    /// queries' and values' of both families, `q_proj`, `v_proj`, `q`, `v`.
    pub targets: Vec<String>,
    /// Whether the products are multiplied by alpha / √rank instead (Kalajdzievski, 2023). Default no.
    pub rank_stabilized: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            targets: ["q_proj", "v_proj", "q", "v"].map(String::from).to_vec(),
            rank_stabilized: false,
        }
    }
}

impl LoraConfig {
    /// What the products are multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// Whether the map of this name is adapted.
    pub fn targets(&self, module: &str) -> bool {
        let ends_with = |target: &String| {
            module.strip_suffix(target.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.targets.iter().any(ends_with)
    }

    /// Refuses what cannot be.
    ///
    /// # Errors
    /// With the field, what it may be and what it is.
    pub fn check(&self) -> Result<()> {
        let refuse = |expected: String, found: String| {
            Err(ModelError::Argument { operation: "LoRA", expected, found })
        };
        if !(1..=LARGEST_RANK).contains(&self.rank) {
            return refuse(format!("a rank of 1 to {LARGEST_RANK}"), self.rank.to_string());
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return refuse("an alpha above 0".into(), self.alpha.to_string());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return refuse("a dropout of at least 0 and below 1".into(), self.dropout.to_string());
        }
        if self.targets.is_empty() || self.targets.iter().any(String::is_empty) {
            return refuse("names of linear maps as targets".into(), format!("{:?}", self.targets));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_whole_parts_of_names() {
        let config = LoraConfig { targets: vec!["q".into(), "attn.k_proj".into()], ..LoraConfig::default() };
        for (module, expected) in [
            ("encoder.block.0.SelfAttention.q", true),
            ("q", true),
            ("model.layers.0.attn.k_proj", true),
            ("model.layers.0.cross_attn.k_proj", false),
            ("decoder.freq", false),
            ("q.wo", false),
        ] {
            assert_eq!(config.targets(module), expected, "{module}");
        }
    }

    #[test]
    fn the_scale_depends_on_the_rank() {
        let config = LoraConfig { rank: 16, alpha: 32.0, ..LoraConfig::default() };
        assert_eq!(config.scale(), 2.0);
        assert_eq!(LoraConfig { rank_stabilized: true, ..config }.scale(), 8.0);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let good = LoraConfig::default;
        assert!(good().check().is_ok());
        for (config, expected) in [
            (LoraConfig { rank: 0, ..good() }, "a rank of 1 to 4096, found 0"),
            (LoraConfig { alpha: f64::NAN, ..good() }, "an alpha above 0, found NaN"),
            (LoraConfig { dropout: 1.0, ..good() }, "below 1, found 1"),
            (LoraConfig { targets: vec![], ..good() }, "names of linear maps as targets, found []"),
        ] {
            assert!(config.check().unwrap_err().to_string().contains(expected));
        }
    }
}
