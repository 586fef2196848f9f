//! How a retriever and a rewriter learn, and how the examples that a rewriter learns from are mined.
//!
//! A *stage* is one kind of training: [`stages::retriever`] makes a dual encoder from two pretrained towers,
//! [`stages::fine_tune`] tunes a whole one, [`stages::denoise`], [`stages::sft`], [`stages::pro`], [`stages::ppo`] and
//! [`stages::grpo`] train a rewriter, [`stages::description`] an adapter or the values of descriptions, and
//! [`stages::gate`] fits the gate that keeps harmful rewrites out. Each is a configuration, read from TOML, and a
//! function that runs it:
//!
//! ```
//! use relens_training::stages::sft::SftConfig;
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("sft.toml");
//! std::fs::write(
//!     &path,
//!     r#"
//!         output = "runs/sft"
//!         epochs = 2
//!         data = { annotations = "captions.json", images = "images" }
//!         policy = { start_from = "runs/denoise/model" }
//!         candidates = { sibling_captions = 2 }
//!     "#,
//! )?;
//! let config = SftConfig::read(&path)?;
//! assert_eq!((config.epochs, config.batch_size), (2.0, 8));
//! // Trains, or goes on where it was interrupted; what it says goes to whatever implements `Progress`.
//! // let summary = config.run(&mut relens::progress::Silent)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All stages stand on one loop (`run::training`), which calls a stage for its steps and measurements and does the rest:
//! checkpoints ([`run::checkpoint`]), logs ([`run::log`]), early stops, going on after an interruption with the same
//! bytes. An update is made by a [`Trainer`](run::trainer::Trainer): [`optimizer`], [`schedule`], moving averages. Batches
//! that do not fit into memory go through the [`gradient cache`](run::gradient_cache). [`objectives`] are the papers'
//! losses as functions of tensors, each with its equation.
//!
//! A rewriter learns from the retriever: [`retriever_feedback`] ranks texts among images, [`reward`] makes of it what a
//! rewrite is worth, and [`mining`] asks language models for rewrites that the retriever likes better. [`data`] is what a
//! rewriter reads: a corpus of captioned images, candidate rewrites, noise, a vocabulary of its own.

mod config_file;
pub mod data;
pub mod error;
pub mod mining;
pub mod objectives;
pub mod optimizer;
pub mod random;
pub mod retriever_feedback;
pub mod reward;
pub mod run;
pub mod schedule;
pub mod stages;

pub use error::{Result, TrainingError};
