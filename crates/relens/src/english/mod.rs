//! What does relens know of the English language? Articles, lemmas and inflections, the words that captions use and in
//! which company, and words that are spelled right.

pub mod article;
pub(crate) mod contractions;
pub mod inflection;
pub mod lemma;
pub mod sorted_lines;
pub mod spelling;
pub(crate) mod stray_marks;
pub mod vocabulary;
pub mod word_list;
pub mod word_pairs;
pub(crate) mod words;

pub use sorted_lines::SortedLines;
pub use spelling::Correction;
pub use vocabulary::Vocabulary;
pub use word_list::WordList;
pub use word_pairs::WordPairs;
