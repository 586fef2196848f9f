//! The seeded EfficientNets of `tools/reference/efficientnet.py`.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use relens_models::towers::efficientnet::{BlockConfig, EfficientNetConfig};
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};

use super::{linear_congruential, texture};

/// The small network: every kernel, stride and expansion, odd numbers of channels.
pub(crate) fn tiny() -> EfficientNetConfig {
    let stages = [(1, 3, 1, 1, 12), (2, 3, 2, 6, 24), (2, 5, 2, 3, 40), (1, 5, 1, 2, 20)];
    let mut blocks = Vec::new();
    let mut inputs = 8;
    for (stage, (count, kernel, stride, expansion, outputs)) in stages.into_iter().enumerate() {
        for position in 0..count {
            let stride = if position == 0 { stride } else { 1 };
            blocks.push(BlockConfig { stage, position, kernel, stride, inputs, expansion, outputs });
            inputs = outputs;
        }
    }
    EfficientNetConfig { stem_channels: 8, blocks, head_channels: 70, input_size: 45, norm_eps: 1e-3 }
}

pub(crate) fn lite(variant: u8) -> EfficientNetConfig {
    EfficientNetConfig::from_timm_name(&format!("tf_efficientnet_lite{variant}")).unwrap()
}

fn shapes(config: &EfficientNetConfig) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    let mut add = |convolution: String, norm: String, dims: [usize; 4]| {
        shapes.insert(format!("{convolution}.weight"), dims.to_vec());
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.insert(format!("{norm}.{part}"), vec![dims[0]]);
        }
    };
    add("conv_stem".into(), "bn1".into(), [config.stem_channels, 3, 3, 3]);
    for block in &config.blocks {
        let name = |part: &str| format!("blocks.{}.{}.{part}", block.stage, block.position);
        let (expanded, kernel) = (block.expanded(), block.kernel);
        let mut convolutions = vec![
            ("conv_pw", [expanded, block.inputs, 1, 1]),
            ("conv_dw", [expanded, 1, kernel, kernel]),
            ("conv_pwl", [block.outputs, expanded, 1, 1]),
        ];
        if block.expansion == 1 {
            convolutions.remove(0);
            convolutions[1].0 = "conv_pw";
        }
        for (number, (convolution, dims)) in convolutions.into_iter().enumerate() {
            add(name(convolution), name(&format!("bn{}", number + 1)), dims);
        }
    }
    let inputs = config.channels_before(config.blocks.len());
    add("conv_head".into(), "bn2".into(), [config.head_channels, inputs, 1, 1]);
    shapes
}

fn seeded(position: usize, name: &str, dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    let states = linear_congruential(1000 + u32::try_from(position).unwrap());
    let uniform = states.map(|state| f64::from(state >> 8) / 2f64.powi(24) - 0.5).take(count);
    let transform: Box<dyn Fn(f64) -> f64> = if let [_, inputs, height, width] = *dims {
        let scale = (24.0 / (inputs * height * width) as f64).sqrt();
        Box::new(move |value| value * scale)
    } else if name.ends_with("running_var") || name.ends_with("weight") {
        Box::new(|value| 1.0 + 0.5 * value)
    } else {
        Box::new(|value| 0.5 * value)
    };
    let values: Vec<f32> = uniform.map(|value| transform(value) as f32).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// The network's weights, as a checkpoint would hold them.
pub(crate) fn weights(config: &EfficientNetConfig) -> Weights {
    let tensors = shapes(config)
        .into_iter()
        .enumerate()
        .map(|(position, (name, dims))| (name.clone(), seeded(position, &name, &dims)))
        .collect();
    let bytes = tensors_to_bytes(&tensors, ElementType::F32).unwrap();
    Weights::from_bytes("seeded", bytes).unwrap()
}

/// Textures from −1 to 1, with seeds from 1 on: `[count, height, width, 3]`.
pub(crate) fn pictures(width: u32, height: u32, count: u32) -> Tensor {
    let levels = (1..=count).flat_map(|seed| texture(width, height, seed).into_raw());
    let values: Vec<f32> = levels.map(|level| (f64::from(level) / 127.5 - 1.0) as f32).collect();
    let dims = (count as usize, height as usize, width as usize, 3);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}
