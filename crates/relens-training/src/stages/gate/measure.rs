//! What rewrites of held-out queries do to the rank of the right picture.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use relens::counted::counted;
use relens::dataset::rewrites::{CAPTION, for_each_record};
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::enhancer::rewriter::{
    Gate, GateFeatures, Rewrite, Rewriter, RewriterModelConfig, RewriterOptions,
};
use relens::enhancer::{Combination, EnhancedQuery, Query, WeightedText};
use relens::evaluation::GroundTruthRanks;
use relens::evaluation::perturbation::Synonyms;
use relens::index::{ExactIndex, Index};
use relens::knowledge::Knowledge;
use relens::progress::Progress;
use relens::ranking::CombinedQueries;

use super::GateConfig;
use crate::Result;
use crate::data::corpus::RewritingCorpus;
use crate::data::hard_queries::hardened;
use crate::random::stream;

/// Words of a caption that are made harder at most.
const HARDER_WORDS: usize = 4;

/// A query with its rewrite's features, and the rank of its picture without and with the rewrite.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeasuredRewrite {
    pub(super) features: GateFeatures,
    pub(super) before: u32,
    pub(super) after: u32,
}

/// Who ranks.
#[derive(Clone, Copy)]
pub(super) struct Retrievers<'a> {
    pub(super) judge: &'a Arc<Retriever>,
    /// Whether the gate is for the judge itself.
    pub(super) is_used: bool,
}

/// All queries that were rewritten.
pub(super) struct Measured<'a> {
    pub(super) rewrites: Vec<MeasuredRewrite>,
    pictures: &'a Embeddings,
    picture_of: Vec<usize>,
    queries: Vec<Query>,
    texts: Vec<String>,
    /// A row a query, then a row a rewrite.
    vectors: Embeddings,
    combine: Combination,
}

/// Queries for pictures that the rewriter has not learned from, each with its picture's place among them.
fn queries(config: &GateConfig, corpus: &RewritingCorpus) -> Result<Vec<(usize, Query)>> {
    let mut queries = Vec::new();
    let synonyms = config.lexicon.as_deref().map(Synonyms::open).transpose()?;
    for (index, picture) in corpus.held_out.iter().enumerate() {
        let mut rng = stream(0, "gate", index as u64);
        for caption in &picture.captions {
            queries.push((index, Query::new(caption)?));
            if let Some(hard) =
                synonyms.as_ref().and_then(|all| hardened(caption, all, HARDER_WORDS, &mut rng))
            {
                queries.push((index, Query::new(&hard)?));
            }
        }
    }
    let places: HashMap<u64, usize> =
        corpus.held_out.iter().enumerate().map(|(index, picture)| (picture.id, index)).collect();
    for path in &config.asked {
        read_asked(path, &places, &mut queries)?;
    }
    Ok(queries)
}

/// Adds what a file asks for the pictures with these numbers; their captions stand there already.
fn read_asked(path: &Path, places: &HashMap<u64, usize>, queries: &mut Vec<(usize, Query)>) -> Result<()> {
    for_each_record(path, |place, record| {
        place.refuse_blank_texts(&record)?;
        let picture = record.imgid.and_then(|id| places.get(&id));
        if let Some(&picture) = picture.filter(|_| record.wording != CAPTION) {
            queries.push((picture, Query::new(&record.query)?));
        }
        Ok(())
    })?;
    Ok(())
}

impl<'a> Measured<'a> {
    pub(super) fn new(
        config: &GateConfig,
        corpus: &RewritingCorpus,
        Retrievers { judge, is_used }: Retrievers<'_>,
        pictures: &'a Embeddings,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let (picture_of, queries): (Vec<usize>, Vec<Query>) = queries(config, corpus)?.into_iter().unzip();
        let settings = RewriterModelConfig::open(&config.rewriter)?;
        let options = RewriterOptions {
            without_gate: true,
            embedder: Some(judge.clone()),
            ..RewriterOptions::default()
        };
        let rewriter = Rewriter::open(&config.rewriter, options, || Knowledge::bundled().map(Arc::new))?;
        let asked = counted(queries.len(), "query");
        progress.message(&format!("rewriting {asked} for held-out pictures"));
        let written: Vec<Option<Rewrite>> =
            rewriter.rewrites(&queries)?.into_iter().map(|all| all.into_iter().next()).collect();
        let own = queries.iter().map(|query| query.text().to_owned());
        let changed = written.iter().zip(&queries).map(|(rewrite, query)| {
            rewrite.as_ref().map_or_else(|| query.text().to_owned(), |rewrite| rewrite.text.clone())
        });
        let texts: Vec<String> = own.chain(changed).collect();
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = judge.embed_texts(&all)?;
        let combine = settings.mix.combine;
        let measured = Self { rewrites: Vec::new(), pictures, picture_of, queries, texts, vectors, combine };
        let share = if config.share { 0.0 } else { settings.mix.original_share };
        let before = measured.ranks(&vec![1.0; measured.queries.len()])?;
        let after = measured.ranks(&vec![share; measured.queries.len()])?;
        let ids = (0..pictures.rows() as u64).collect();
        let gallery = ExactIndex::from_parts(judge.fingerprint(), ids, pictures.clone())?;
        let gallery = is_used.then_some(&gallery as &dyn Index);
        let count = measured.queries.len();
        let mut rewrites = Vec::with_capacity(count);
        for (index, (rewrite, query)) in written.iter().zip(&measured.queries).enumerate() {
            // A query without a rewrite stays as it is, and its rank with it.
            let kept = Rewrite { text: query.text().to_owned(), mean_log_prob: 0.0 };
            rewrites.push(MeasuredRewrite {
                features: GateFeatures::measure(
                    query.text(),
                    rewriter.unfamiliarity(query),
                    rewrite.as_ref().unwrap_or(&kept),
                    measured.vectors.row(index),
                    measured.vectors.row(count + index),
                    gallery,
                )?,
                before: before.get(index).copied().unwrap_or(1),
                after: after.get(index).copied().unwrap_or(1),
            });
        }
        Ok(Self { rewrites, ..measured })
    }

    /// The rank of every query's picture, if the query itself has this share beside its rewrite.
    fn ranks(&self, shares: &[f32]) -> Result<Vec<u32>> {
        let count = self.queries.len();
        let text = |text: &String, weight| WeightedText { text: text.clone(), weight };
        let pairs = self.texts.iter().zip(self.texts.iter().skip(count)).zip(shares);
        let mixed = pairs.map(|((own, rewrite), &share)| EnhancedQuery {
            texts: vec![text(own, share), text(rewrite, 1.0 - share)],
            combination: self.combine,
            ..EnhancedQuery::default()
        });
        let mixed: Vec<EnhancedQuery> = mixed.collect();
        let rows: Vec<usize> = (0..count).flat_map(|index| [index, count + index]).collect();
        let vectors = self.vectors.select(&rows)?;
        let combined = CombinedQueries::combine(&mixed, &vectors, "rewriter")?;
        Ok(GroundTruthRanks::compute(self.pictures, &combined, &self.picture_of)?.text_to_image)
    }

    /// The mean reciprocal rank, if every rewrite has the share that the gate gives it.
    pub(super) fn reciprocal_rank_by_shares(&self, gate: &Gate) -> Result<f64> {
        let share = |rewrite: &MeasuredRewrite| {
            let weight = gate.weights(&[rewrite.features]).and_then(|weights| weights.first().copied());
            1.0 / (1.0 + weight.unwrap_or(0.0))
        };
        let shares: Vec<f32> = self.rewrites.iter().map(share).collect();
        let ranks = self.ranks(&shares)?;
        let total: f64 = ranks.iter().map(|&rank| 1.0 / f64::from(rank)).sum();
        Ok(total / ranks.len().max(1) as f64)
    }
}
