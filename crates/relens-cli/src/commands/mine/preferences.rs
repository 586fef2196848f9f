//! `relens mine preferences`: which meanings of words a retriever likes.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use relens::english::{Vocabulary, vocabulary};
use relens::enhancer::composer::preferences::{PREFERENCES_FILE, write_preferences};
use relens::error::Error;
use relens::knowledge::words::Word;
use relens::knowledge::{Knowledge, knowledge_base};
use relens::model_hub::bundled;

use crate::interrupt;
use crate::model_choice::ModelArguments;
use crate::output_file::write_streaming;
use crate::reporter::Reporter;

/// Find out which meanings of words a retriever likes.
///
/// Every word of the bundled knowledge base that has several meanings is embedded with them; the nearer a meaning is to
/// its word in the retriever's own space, and the more captions use its words, the better. `composer` chooses by the
/// file if it lies beside the retriever.
#[derive(Debug, Args)]
pub(crate) struct PreferencesArguments {
    #[command(flatten)]
    model: ModelArguments,

    /// How often captions use words, `word<TAB>count` a line. Default: the bundled vocabulary.
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,

    /// The file to write; `preferences.tsv` in the model's directory is where `composer` looks.
    #[arg(long, value_name = "FILE", default_value = PREFERENCES_FILE)]
    out: PathBuf,
}

impl PreferencesArguments {
    pub(crate) fn run(self) -> Result<()> {
        interrupt::watch();
        let bundled_vocabulary =
            || Ok::<_, Error>(bundled::model(knowledge_base::BUNDLED)?.join(vocabulary::BUNDLED_FILE));
        let captions = Vocabulary::open(&self.vocabulary.map_or_else(bundled_vocabulary, Ok)?)?;
        let words: Vec<Word> = Knowledge::bundled()?.words().iter().collect();
        let retriever = self.model.open()?;
        write_streaming(&self.out, |writer| {
            Ok(write_preferences(&words, &captions, &retriever, writer, &mut Reporter::default())?)
        })
    }
}
