//! What does relens know of the English language? Lemmas, the words that captions use, words that are spelled right.

pub mod lemma;
pub mod spelling;
pub mod vocabulary;
pub mod word_list;
pub(crate) mod words;

pub use spelling::Correction;
pub use vocabulary::Vocabulary;
pub use word_list::WordList;
