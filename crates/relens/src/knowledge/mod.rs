//! What do the things in a query look like? The knowledge base of entity visual descriptions (EvdCLIP, section 3.2).
//!
//! - [`entity`]: an [`Entity`] has aliases and one or more [`Sense`]s; a sense has descriptions, each a short phrase on
//!   colour, shape, parts, number or texture, with the [`Source`] that it came from.
//! - [`store`]: entities in SQLite. Every edit is a revision with its undo, in the transaction of the edit itself.
//! - [`json_lines`]: the file format that is exchanged; [`descriptors`] and [`records`] are read as well.
//! - [`lookup`]: finds the entities of a query, longest match first, by lemma.
//! - [`sense`]: which of several senses a query means.
//! - [`knowledge_base`]: all of it in memory, as enhancers use it.
//! - [`collection`]: asks a language model for entities and descriptions; [`builder`]: puts a knowledge base together;
//!   [`vocabulary`](crate::english::vocabulary): the words that captions use; [`word_list`](crate::english::word_list): words that are spelled right all the same.
//! - [`lint`]: what a person should look at again.
//!
//! ```
//! use relens::knowledge::{Entity, Knowledge, Source};
//!
//! let mouse = Entity::described("mouse", ["long thin tail", "round ears"], Source::Person);
//! let knowledge = Knowledge::new(vec![mouse], "an example")?;
//! let mentions = knowledge.find("Three mice asleep in a mousetrap");
//! assert_eq!(mentions.len(), 1);
//! assert_eq!(mentions[0].surface, "mice");
//! assert_eq!(knowledge.entity(&mentions[0]).name, "mouse");
//! # Ok::<(), relens::error::Error>(())
//! ```

pub mod builder;
pub mod collection;
pub mod descriptors;
pub mod editing;
pub mod entity;
pub mod json_lines;
pub mod knowledge_base;
pub mod lint;
pub mod lookup;
pub mod records;
pub mod sense;
pub mod store;
pub mod wordnet;
pub mod words;

pub use editing::{EntityDetails, EntityEdit};
pub use entity::{Description, Entity, Sense, Source};
pub use knowledge_base::Knowledge;
pub use lookup::Mention;
pub use store::{ImportMode, KnowledgeStore};
pub use words::{Word, Words};
