//! What a query can be made of besides a text: pictures, pictures of the library, vectors, several with weights.

use relens::embed::embeddings::Embeddings;
use relens::enhancer::{EnhancedQuery, Query};
use relens::index::{ExactIndex, Index};
use relens::ranking::Pipeline;
use relens::ranking::relevance_feedback::combine_terms;
use schemars::JsonSchema;
use serde::Deserialize;

use super::extract::picture_bytes;
use crate::engine::{OpenModel, RemoteImages};
use crate::problem::HttpProblem;

/// The most terms of one query.
const MOST_TERMS: usize = 64;

/// One part of a query: exactly one of `text`, `image`, `id` and `vector`, and how much it counts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SearchTerm {
    /// What the pictures should show.
    text: Option<String>,
    /// What they should look like: a picture in base64, bare or as a `data:` address.
    image: Option<String>,
    /// A picture of the library that they should look like.
    id: Option<u64>,
    /// A vector of the library's model.
    vector: Option<Vec<f32>>,
    /// How much it counts beside the others; below 0 it counts against. Default 1.
    weight: Option<f32>,
}

impl SearchTerm {
    pub(crate) fn text(text: String) -> Self {
        Self { text: Some(text), ..Self::default() }
    }

    pub(crate) fn image(image: String) -> Self {
        Self { image: Some(image), ..Self::default() }
    }

    pub(crate) fn vector(vector: Vec<f32>) -> Self {
        Self { vector: Some(vector), ..Self::default() }
    }

    /// The text of a term that is nothing but a text.
    pub(crate) fn only_text(&self) -> Option<&str> {
        let alone = self.image.is_none() && self.id.is_none() && self.vector.is_none();
        self.text.as_deref().filter(|_| alone && self.weight.is_none_or(|weight| weight > 0.0))
    }
}

/// What terms are embedded with.
pub(crate) struct TermContext<'a> {
    pub(crate) model: &'a OpenModel,
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) index: &'a ExactIndex,
    /// Fetches pictures of the network, where that is allowed.
    pub(crate) remote: Option<&'a RemoteImages>,
    /// Words of the texts that no enhancer may touch.
    pub(crate) keep: &'a [String],
}

/// The terms of a query as one vector, and what became of their texts.
pub(crate) struct EmbeddedTerms {
    /// `[1, dim]`; none if there are no terms.
    pub(crate) vector: Option<Embeddings>,
    /// One for each text, in order.
    pub(crate) rewrites: Vec<(Query, EnhancedQuery)>,
}

impl TermContext<'_> {
    /// Embeds all terms and adds them up.
    pub(crate) fn embed(&self, terms: &[SearchTerm]) -> Result<EmbeddedTerms, HttpProblem> {
        if terms.len() > MOST_TERMS {
            return Err(HttpProblem::field(
                "terms",
                format!("at most {MOST_TERMS}"),
                terms.len().to_string(),
            ));
        }
        let mut rewrites = Vec::new();
        let mut rows = Embeddings::new(self.index.dim());
        let mut weights = Vec::with_capacity(terms.len());
        for (position, term) in terms.iter().enumerate() {
            let weight = term.weight.unwrap_or(1.0);
            if !weight.is_finite() || weight.abs() > 1000.0 {
                let field = format!("terms[{position}].weight");
                return Err(HttpProblem::field(&field, "a number of −1000 to 1000", weight.to_string()));
            }
            weights.push(weight);
            rows.append(&self.embed_term(term, position, &mut rewrites)?)?;
        }
        let weighted: Vec<(f32, &[f32])> = weights.into_iter().zip(rows.iter()).collect();
        let vector = if terms.is_empty() { None } else { Some(combine_terms(&weighted, rows.dim())?) };
        Ok(EmbeddedTerms { vector, rewrites })
    }

    fn embed_term(
        &self,
        term: &SearchTerm,
        position: usize,
        rewrites: &mut Vec<(Query, EnhancedQuery)>,
    ) -> Result<Embeddings, HttpProblem> {
        match term {
            SearchTerm { text: Some(text), image: None, id: None, vector: None, .. } => {
                let query = Query::new(text)?.keeping(self.keep);
                let images = Some(self.index as &dyn Index);
                let mut embedded =
                    self.pipeline.embed(std::slice::from_ref(&query), &*self.model.texts, images)?;
                rewrites.extend(embedded.enhanced.pop().map(|enhanced| (query, enhanced)));
                Ok(embedded.vectors.one_vector_each()?)
            }
            SearchTerm { text: None, image: Some(image), id: None, vector: None, .. } => {
                let bytes = picture_bytes(image, "image", self.remote)?;
                let decoded = self.model.decode(&bytes, "image")?;
                self.model.embed_images(&[decoded])
            }
            SearchTerm { text: None, image: None, id: Some(id), vector: None, .. } => {
                pictures_vectors(self.index, &[*id])
            }
            SearchTerm { text: None, image: None, id: None, vector: Some(vector), .. } => {
                self.unit_vector(vector)
            }
            _ => {
                let field = format!("terms[{position}]");
                Err(HttpProblem::field(
                    &field,
                    "exactly one of text, image, id and vector",
                    "none or several",
                ))
            }
        }
    }

    fn unit_vector(&self, vector: &[f32]) -> Result<Embeddings, HttpProblem> {
        let dim = self.index.dim();
        if vector.len() != dim {
            let found = format!("{} components", vector.len());
            return Err(HttpProblem::field("vector", format!("{dim} components"), found));
        }
        let mut row = Embeddings::from_rows(dim, vector.to_vec())?;
        row.normalise();
        let unit = row.ensure_normalised("the vector");
        unit.map_err(|error| HttpProblem::field("vector", "finite numbers, not all 0", error.to_string()))?;
        Ok(row)
    }
}

/// The vectors of pictures of the library, `[ids, dim]`.
///
/// # Errors
/// 404 if it does not have one of them.
pub(super) fn pictures_vectors(index: &ExactIndex, ids: &[u64]) -> Result<Embeddings, HttpProblem> {
    index.vectors(ids).map_err(|_| {
        let named: Vec<String> = ids.iter().take(10).map(u64::to_string).collect();
        HttpProblem::not_found(format!("the library does not have all of the pictures {}", named.join(", ")))
    })
}
