//! What can go wrong, and which exception Python sees.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt, PyValueError};
use pyo3::prelude::*;
use relens::error::Error;
use relens_models::ModelError as NetworkError;
use relens_training::TrainingError;

create_exception!(relens, RelensError, PyException, "Anything that relens refuses or fails at.");
create_exception!(
    relens,
    ModelError,
    RelensError,
    "A model that is not there, is malformed, or cannot be run."
);
create_exception!(
    relens,
    LibraryError,
    RelensError,
    "A library that is not there, is closed, is another model's, or cannot be read or written."
);
create_exception!(
    relens,
    DatasetError,
    RelensError,
    "Annotations that cannot be read, or whose pictures are missing."
);

/// The result of everything that Python calls.
pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// An argument, with its name, what was expected and what was found.
    Argument { name: &'static str, expected: String, found: String },
    /// The library.
    Relens(Error),
    /// A model that could not be opened, by the name that was given.
    Unopened { model: String, error: Error },
    /// A stage or an objective.
    Training(TrainingError),
    /// A library that was closed.
    Closed,
    /// This process was forked from one that had computed.
    Forked,
    /// Something that should not happen.
    Internal(String),
    /// Python's own.
    Python(PyErr),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Relens(error)
    }
}

impl From<NetworkError> for Fault {
    fn from(error: NetworkError) -> Self {
        Self::Relens(Error::Model(error))
    }
}

impl From<TrainingError> for Fault {
    fn from(error: TrainingError) -> Self {
        Self::Training(error)
    }
}

impl From<candle_core::Error> for Fault {
    fn from(error: candle_core::Error) -> Self {
        Self::Training(TrainingError::Tensor(error))
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<pythonize::PythonizeError> for Fault {
    fn from(error: pythonize::PythonizeError) -> Self {
        Self::Python(error.into())
    }
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Argument { name, expected, found } => {
                PyValueError::new_err(format!("{name}: expected {expected}, found {found}"))
            }
            Fault::Relens(error) => exception(error),
            Fault::Unopened { model, error } => {
                let bundled = relens::model_hub::bundled::model_names().join(", ");
                ModelError::new_err(format!(
                    "the model `{model}` cannot be opened (bundled models: {bundled}): {error}"
                ))
            }
            Fault::Training(error) => of_training(error),
            Fault::Closed => LibraryError::new_err("the library is closed: open it again with Library(path)"),
            Fault::Forked => RelensError::new_err(
                "this process was forked from one in which relens had begun to work, and its threads are not here: \
                 start workers by multiprocessing's \"spawn\" or \"forkserver\", or fork before the first call",
            ),
            Fault::Internal(message) => {
                RelensError::new_err(format!("relens has a fault, please report it: {message}"))
            }
            Fault::Python(error) => error,
        }
    }
}

fn exception(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Cancelled => PyKeyboardInterrupt::new_err(message),
        Error::Io(source) | Error::Model(NetworkError::Io(source)) => source.into(),
        Error::Model(_) | Error::Hub { .. } | Error::NotBundled { .. } => ModelError::new_err(message),
        Error::Argument { .. }
        | Error::NonFinite { .. }
        | Error::NotNormalised { .. }
        | Error::UnknownSplit { .. }
        | Error::EmptyQuery
        | Error::QueryTooLong { .. }
        | Error::UnknownEnhancer { .. }
        | Error::InvalidEntity { .. }
        | Error::UnknownEntity { .. } => PyValueError::new_err(message),
        Error::OtherModel { .. }
        | Error::Corrupt { .. }
        | Error::NewerFormat { .. }
        | Error::NoLibrary { .. }
        | Error::DiskFull { .. }
        | Error::NotWritable { .. }
        | Error::Busy { .. }
        | Error::Database { .. } => LibraryError::new_err(message),
        Error::Dataset { .. } | Error::UnknownDatasetFormat { .. } | Error::MissingImages { .. } => {
            DatasetError::new_err(message)
        }
        _ => RelensError::new_err(message),
    }
}

fn of_training(error: TrainingError) -> PyErr {
    let message = error.to_string();
    match error {
        TrainingError::Retrieval(error) => exception(error),
        TrainingError::Argument { .. } | TrainingError::Setting { .. } => PyValueError::new_err(message),
        _ => RelensError::new_err(message),
    }
}
