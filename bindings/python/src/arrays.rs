//! numpy's arrays as the library takes them, and the other way, without a copy of what is contiguous.

use numpy::ndarray::{Array2, Array3};
use numpy::{IntoPyArray, PyArray2, PyArray3, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use relens::embed::embeddings::Embeddings;
use relens_models::image_preprocessing::RgbImage;

use crate::fault::{Fault, Result};

/// Vectors as an array, `[rows, dim]`: the memory changes hands.
pub(crate) fn of_embeddings(py: Python<'_>, embeddings: Embeddings) -> Result<Bound<'_, PyArray2<f32>>> {
    let shape = (embeddings.rows(), embeddings.dim());
    matrix(py, shape, embeddings.into_vec())
}

/// Row-major values as an array.
pub(crate) fn matrix<T: numpy::Element>(
    py: Python<'_>,
    shape: (usize, usize),
    values: Vec<T>,
) -> Result<Bound<'_, PyArray2<T>>> {
    let array = Array2::from_shape_vec(shape, values);
    Ok(array.map_err(|error| Fault::Internal(error.to_string()))?.into_pyarray(py))
}

/// Pixels as an array, `[height, width, 3]`: the memory changes hands.
pub(crate) fn of_image(py: Python<'_>, image: RgbImage) -> Result<Bound<'_, PyArray3<u8>>> {
    let shape = (image.height() as usize, image.width() as usize, 3);
    let array = Array3::from_shape_vec(shape, image.into_raw());
    Ok(array.map_err(|error| Fault::Internal(error.to_string()))?.into_pyarray(py))
}

/// The values of an array of one dimension, which stay where they are.
pub(crate) fn values<'a, T: numpy::Element>(
    name: &'static str,
    array: &'a PyReadonlyArray1<'_, T>,
) -> Result<&'a [T]> {
    array.as_slice().map_err(|_| not_contiguous(name))
}

/// The values of a row-major matrix, which stay where they are.
pub(crate) fn rows<'a, T: numpy::Element>(
    name: &'static str,
    array: &'a PyReadonlyArray2<'_, T>,
) -> Result<&'a [T]> {
    array.as_slice().map_err(|_| not_contiguous(name))
}

fn not_contiguous(name: &'static str) -> Fault {
    Fault::Argument {
        name,
        expected: "a contiguous row-major array".to_owned(),
        found: "one with gaps or in another order (numpy.ascontiguousarray makes one)".to_owned(),
    }
}

/// Refuses NaN and infinities.
pub(crate) fn ensure_finite(name: &'static str, values: &[f32], dim: usize) -> Result<()> {
    let Some(position) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let (row, component) = (position / dim.max(1), position % dim.max(1));
    let found = format!("{} at row {row}, component {component}", values[position]);
    Err(Fault::Argument { name, expected: "finite numbers".to_owned(), found })
}
