//! `relens._relens`: the library as Python reaches it.
//!
//! Arguments arrive here checked and in one form (lists, arrays of one dtype); the package `relens` around this module
//! does that, batches what is long, and draws progress. Everything that takes time runs in [`work::run`]: on a thread of
//! its own, without the interpreter's lock, and Ctrl-C returns to Python at once.
#![allow(clippy::needless_pass_by_value, reason = "what Python hands over is owned")]
#![allow(missing_docs, reason = "macros of the bindings make items that nobody can document")]

mod arrays;
mod enhancer;
mod evaluation;
mod fault;
mod knowledge;
mod library;
mod objectives;
mod process;
mod retriever;
mod work;

use pyo3::prelude::*;

#[pymodule]
mod _relens {
    #[pymodule_export]
    use super::enhancer::Enhancer;
    #[pymodule_export]
    use super::evaluation::{compare, evaluate};
    #[pymodule_export]
    use super::fault::{DatasetError, LibraryError, ModelError, RelensError};
    #[pymodule_export]
    use super::knowledge::Knowledge;
    #[pymodule_export]
    use super::library::Library;
    #[pymodule_export]
    use super::objectives::{
        adaptive_kl, generalized_advantages, group_advantages, grpo_loss, ppo_loss, pro_loss, value_loss,
        whiten,
    };
    #[pymodule_export]
    use super::process::{add_data_directory, bundled_models, data_file, home_directory, read_toml};
    #[pymodule_export]
    use super::retriever::{Retriever, similarity};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        // A fault of ours becomes an exception with its message; the thread's own report would come beside it.
        std::panic::set_hook(Box::new(|_| {}));
        Ok(())
    }
}
