//! One head that copies, written into a fresh T5 so that training does not have to find it.
//!
//! A rewriter repeats most of its query. A T5 from scratch finds out how late: captions are so regular that guessing
//! the next word pays for thousands of steps (EXPERIMENTS.md). The circuit it lacks is an induction head (Olsson et
//! al., 2022, arXiv 2209.11895), and it can be written down:
//!
//! - encoder block 0, head 0 looks at the token before (by the relative position bias) and writes it into a subspace
//!   that embeddings hardly use;
//! - in the last decoder block, head 0 of the cross-attention has the last written token as query, the token before as
//!   key, and the token itself as value.
//!
//! The maps from what the second attention reads are fitted by ridge regression on the hidden states of captions.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use relens_models::language_model::PromptTargetBatch;
use relens_models::language_model::t5::T5Model;

use super::config::FreshModel;
use crate::random::{fill_normal, stream};
use crate::{Result, TrainingError};

/// Length of what the first head writes, in units of a normalised embedding.
const WRITTEN: f64 = 1.0;
/// Length of queries and keys: their product, 16, is far above what the other heads' scores reach.
const KEYS: f64 = 4.0;
/// Length of what the copying head writes: more than all other layers have written before it.
const VALUES: f64 = 4.0;
/// The position bias of the token before, and (negative) of all others.
const BIAS: f32 = 10.0;
/// The bucket of the token before, in an encoder.
const BEFORE: usize = 1;
/// The strongest directions of the embeddings, which say what all tokens have in common.
const COMMON: usize = 4;
/// Strength of the ridge, as a share of the inputs' mean square.
const RIDGE: f64 = 1e-2;

/// The tensors of a model by name.
pub(super) type TensorsByName = BTreeMap<String, Tensor>;

/// Refuses sizes in which the three subspaces of the head have no room beside each other.
///
/// # Errors
/// [`TrainingError::Setting`].
pub(super) fn check(model: &FreshModel) -> Result<()> {
    let least = COMMON + 3 * model.d_kv;
    if model.d_model < least {
        let expected = format!("at least {COMMON} + 3 · d_kv = {least} for a copying head");
        return Err(TrainingError::setting("fresh.d_model", expected, &model.d_model));
    }
    Ok(())
}

/// The orthonormal directions that the head reads and writes, as rows `[d_kv, d_model]`.
pub(super) struct Subspaces {
    keys: DMatrix<f64>,
    values: DMatrix<f64>,
    /// The normalised embeddings of all tokens, `[vocabulary, d_model]`.
    tokens: DMatrix<f64>,
}

/// Chooses the subspaces and writes the head that looks at the token before.
///
/// # Errors
/// A tensor is missing.
pub(super) fn write_previous_token_head(
    tensors: &mut TensorsByName,
    model: &FreshModel,
    seed: u64,
) -> Result<Subspaces> {
    let tokens = normalised_rows(matrix(tensors, "shared.weight")?);
    let directions = principal_directions(&tokens);
    let width = model.d_kv;
    // Not the strongest directions, which all tokens share; and not the weakest, where the first head writes.
    let middle = directions.rows(COMMON, 2 * width);
    let draw = |purpose| random_rotation(2 * width, width, seed, purpose) * middle;
    let (keys, values) = (draw("copying keys"), draw("copying values"));
    let written = directions.rows(directions.nrows() - width, width).into_owned();
    let attention = "encoder.block.0.layer.0.SelfAttention";
    let zero = DMatrix::zeros(width, model.d_model);
    set_rows(tensors, &format!("{attention}.q.weight"), &zero)?;
    set_rows(tensors, &format!("{attention}.k.weight"), &zero)?;
    set_rows(tensors, &format!("{attention}.v.weight"), &keys)?;
    set_columns(tensors, &format!("{attention}.o.weight"), &(written.transpose() * WRITTEN))?;
    let name = format!("{attention}.relative_attention_bias.weight");
    edit(tensors, &name, |bias, columns| {
        for (bucket, row) in bias.chunks_exact_mut(columns).enumerate() {
            row[0] = if bucket == BEFORE { BIAS } else { -BIAS };
        }
    })?;
    Ok(Subspaces { keys, values, tokens })
}

/// Fits the head that copies, on the states of the model whose weights are in `directory` while it writes `captions`
/// (token ids, the end included) after reading them.
///
/// # Errors
/// The model cannot be read; no caption has two tokens.
pub(super) fn write_copying_head(
    tensors: &mut TensorsByName,
    model: &FreshModel,
    subspaces: &Subspaces,
    directory: &Path,
    captions: &[Vec<u32>],
) -> Result<()> {
    let network = T5Model::open(directory)?;
    let batch = PromptTargetBatch::from_pairs(captions.iter().map(|ids| (ids, ids)));
    let (memory, states) = network.last_cross_attention_inputs(&batch)?;
    let (memory, states) = (to_matrix(&memory)?, to_matrix(&states)?);
    // Places with a token before them; the decoder's state there has just read that token.
    let offsets = &batch.prompts.offsets;
    let places: Vec<usize> = offsets.windows(2).flat_map(|pair| pair[0] + 1..pair[1]).collect();
    let Some(_) = places.first() else {
        return Err(TrainingError::argument("copying head", "a caption of two tokens", "none".to_owned()));
    };
    let ids: Vec<usize> = batch.prompts.ids.iter().map(|&id| id as usize).collect();
    let before: Vec<usize> = places.iter().map(|place| ids[place - 1]).collect();
    let wanted = subspaces.tokens.select_rows(&before) * subspaces.keys.transpose();
    let length = (wanted.norm_squared() / places.len() as f64).sqrt();
    let query = ridge(&states.select_rows(&places), &wanted);
    let key = ridge(&memory.select_rows(&places), &wanted);
    let own = subspaces.tokens.select_rows(&ids) * subspaces.values.transpose();
    let value = ridge(&memory, &own);
    let attention = format!("decoder.block.{}.layer.1.EncDecAttention", model.decoder_layers - 1);
    set_rows(tensors, &format!("{attention}.q.weight"), &(query * (KEYS / length)))?;
    set_rows(tensors, &format!("{attention}.k.weight"), &(key * (KEYS / length)))?;
    set_rows(tensors, &format!("{attention}.v.weight"), &value)?;
    set_columns(tensors, &format!("{attention}.o.weight"), &(subspaces.values.transpose() * VALUES))
}

/// Rows of mean square 1, as T5's norms with weights of 1 make them.
fn normalised_rows(mut rows: DMatrix<f64>) -> DMatrix<f64> {
    for mut row in rows.row_iter_mut() {
        let mean_square = row.norm_squared() / row.len() as f64;
        row /= (mean_square + 1e-6).sqrt();
    }
    rows
}

/// The principal directions of the rows, strongest first, as rows.
fn principal_directions(rows: &DMatrix<f64>) -> DMatrix<f64> {
    let mean = rows.row_mean();
    let centred =
        DMatrix::from_fn(rows.nrows(), rows.ncols(), |row, column| rows[(row, column)] - mean[column]);
    let eigen = SymmetricEigen::new(centred.tr_mul(&centred));
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    eigen.eigenvectors.select_columns(&order).transpose()
}

/// `count` orthonormal rows of `size` numbers.
fn random_rotation(size: usize, count: usize, seed: u64, purpose: &str) -> DMatrix<f64> {
    let mut numbers = vec![0f32; size * size];
    fill_normal(&mut numbers, &mut stream(seed, purpose, 0));
    let random = DMatrix::from_iterator(size, size, numbers.into_iter().map(f64::from));
    random.qr().q().rows(0, count).into_owned()
}

/// The map W of least |inputs·Wᵀ − outputs|² + strength·|W|², `[out, in]`.
fn ridge(inputs: &DMatrix<f64>, outputs: &DMatrix<f64>) -> DMatrix<f64> {
    let width = inputs.ncols();
    let strength = RIDGE * inputs.norm_squared() / width as f64;
    let mut gram = inputs.tr_mul(inputs);
    gram += DMatrix::from_diagonal(&DVector::repeat(width, strength.max(f64::MIN_POSITIVE)));
    let right = inputs.tr_mul(outputs);
    // The strength makes the matrix positive definite, unless all inputs are 0.
    gram.cholesky()
        .map_or_else(|| DMatrix::zeros(outputs.ncols(), width), |factor| factor.solve(&right).transpose())
}

fn tensor<'a>(tensors: &'a TensorsByName, name: &str) -> Result<&'a Tensor> {
    let missing = || TrainingError::argument("copying head", format!("a tensor {name}"), "none".to_owned());
    tensors.get(name).ok_or_else(missing)
}

fn matrix(tensors: &TensorsByName, name: &str) -> Result<DMatrix<f64>> {
    to_matrix(tensor(tensors, name)?)
}

fn to_matrix(tensor: &Tensor) -> Result<DMatrix<f64>> {
    let (rows, columns) = tensor.dims2()?;
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(DMatrix::from_row_iterator(rows, columns, values.into_iter().map(f64::from)))
}

/// Changes a matrix in place; `change` gets its values row by row and the length of a row.
fn edit(tensors: &mut TensorsByName, name: &str, change: impl FnOnce(&mut [f32], usize)) -> Result<()> {
    let (rows, columns) = tensor(tensors, name)?.dims2()?;
    let mut values = tensor(tensors, name)?.flatten_all()?.to_vec1::<f32>()?;
    change(&mut values, columns);
    tensors.insert(name.to_owned(), Tensor::from_vec(values, (rows, columns), &Device::Cpu)?);
    Ok(())
}

/// Replaces the first rows, which are those of head 0 in a map to heads.
fn set_rows(tensors: &mut TensorsByName, name: &str, rows: &DMatrix<f64>) -> Result<()> {
    edit(tensors, name, |values, columns| {
        for (row, target) in rows.row_iter().zip(values.chunks_exact_mut(columns)) {
            row.iter().zip(target).for_each(|(&value, place)| *place = value as f32);
        }
    })
}

/// Replaces the first columns, which are those of head 0 in a map from heads.
fn set_columns(tensors: &mut TensorsByName, name: &str, columns: &DMatrix<f64>) -> Result<()> {
    edit(tensors, name, |values, length| {
        for (row, target) in columns.row_iter().zip(values.chunks_exact_mut(length)) {
            row.iter().zip(target).for_each(|(&value, place)| *place = value as f32);
        }
    })
}

#[cfg(test)]
mod tests {
    use rand::RngExt;
    use relens_models::language_model::LanguageModel;
    use relens_models::weights::{ElementType, tensors_to_bytes};

    use super::super::fresh::{initial_weights, model_config};
    use super::*;

    /// Share of the tokens that the model in `directory` predicts right while it repeats what it reads.
    fn copied(directory: &Path, texts: &[Vec<u32>]) -> f64 {
        let model = T5Model::open(directory).unwrap();
        let batch = PromptTargetBatch::from_pairs(texts.iter().map(|ids| (ids, ids)));
        let logits = model.logits(&model.target_hidden(&batch, None).unwrap()).unwrap();
        let guesses = logits.argmax(1).unwrap().to_vec1::<u32>().unwrap();
        let right = guesses.iter().zip(&batch.targets.ids).filter(|(guess, id)| guess == id).count();
        right as f64 / guesses.len() as f64
    }

    #[test]
    fn the_head_copies_texts_that_it_was_not_fitted_on_before_any_training() {
        let sizes =
            FreshModel { vocabulary_size: 300, d_model: 128, d_kv: 32, d_ff: 128, ..FreshModel::default() };
        let sizes = FreshModel { layers: 1, decoder_layers: 2, ..sizes };
        let text = |place: u64| -> Vec<u32> {
            let mut rng = stream(7, "texts", place);
            (0..10).map(|_| rng.random_range(4..300)).chain([1]).collect()
        };
        let (fitted, unseen): (Vec<_>, Vec<_>) =
            ((0..128).map(text).collect(), (1000..1032).map(text).collect());
        let directory = tempfile::tempdir().unwrap();
        let mut tensors = initial_weights(&sizes, 3).unwrap();
        let save = |tensors: &TensorsByName| {
            let bytes = tensors_to_bytes(tensors, ElementType::F32).unwrap();
            fs_err::write(directory.path().join("model.safetensors"), bytes).unwrap();
        };
        fs_err::write(directory.path().join("config.json"), model_config(&sizes)).unwrap();
        save(&tensors);
        let before = copied(directory.path(), &unseen);
        let subspaces = write_previous_token_head(&mut tensors, &sizes, 3).unwrap();
        save(&tensors);
        write_copying_head(&mut tensors, &sizes, &subspaces, directory.path(), &fitted).unwrap();
        save(&tensors);
        let after = copied(directory.path(), &unseen);
        assert!(before < 0.1 && after > 0.5, "{before} without the head, {after} with it");
    }

    #[test]
    fn a_model_too_narrow_for_the_head_is_refused() {
        let narrow = FreshModel { d_model: 100, d_kv: 64, ..FreshModel::default() };
        assert!(check(&narrow).unwrap_err().to_string().contains("d_model"));
    }

    #[test]
    fn ridge_finds_the_map_that_made_the_outputs() {
        let mut numbers = vec![0f32; 200 * 4];
        fill_normal(&mut numbers, &mut stream(0, "inputs", 0));
        let inputs = DMatrix::from_row_iterator(200, 4, numbers.into_iter().map(f64::from));
        let map = DMatrix::from_row_slice(2, 4, &[1.0, -2.0, 0.5, 0.0, 0.0, 3.0, -1.0, 2.0]);
        let found = ridge(&inputs, &(&inputs * map.transpose()));
        assert!((found - map).amax() < 0.05);
    }

    #[test]
    fn principal_directions_are_orthonormal_and_strongest_first() {
        let rows = DMatrix::from_row_slice(4, 2, &[3.0, 1.0, -3.0, -1.0, 6.0, 2.1, -6.0, -2.1]);
        let directions = principal_directions(&rows);
        assert!((&directions * directions.transpose() - DMatrix::identity(2, 2)).amax() < 1e-12);
        assert!(directions[(0, 0)].abs() > 0.9);
    }

    #[test]
    fn rotations_have_orthonormal_rows() {
        let rotation = random_rotation(8, 3, 1, "test");
        assert!((&rotation * rotation.transpose() - DMatrix::identity(3, 3)).amax() < 1e-12);
    }
}
