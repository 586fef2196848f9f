//! What does relens know of the English language? Lemmas and inflections, the words that captions use, words that are
//! spelled right.

pub mod inflection;
pub mod lemma;
pub mod sorted_lines;
pub mod vocabulary;
pub mod word_list;
pub mod words;

pub use sorted_lines::SortedLines;
pub use vocabulary::Vocabulary;
pub use word_list::WordList;
pub use words::Correction;
