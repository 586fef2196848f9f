use super::*;
use crate::dataset::{Dataset, DatasetImage, Split};
use crate::embed::reference_pairs::ReferencePairs;
use crate::english::Vocabulary;
use crate::enhancer::WeightedText;
use crate::enhancer::exclusion::ExclusionConfig;
use crate::evaluation::evaluate;
use crate::index::ExactIndex;
use crate::ranking::fit::FitConfig;

/// Embeds a text as the counts of the words that it knows.
pub(crate) struct WordCounts {
    pub(crate) words: &'static [&'static str],
}

impl TextEmbedder for WordCounts {
    fn name(&self) -> &str {
        "word-counts"
    }

    fn fingerprint(&self) -> &str {
        "words"
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
        let count = |text: &str, word: &str| text.split(' ').filter(|found| *found == word).count() as f32;
        let data = texts.iter().flat_map(|text| self.words.iter().map(|word| count(text, word)));
        let mut embeddings = Embeddings::from_rows(self.words.len(), data.collect())?;
        embeddings.normalise();
        Ok(embeddings)
    }
}

const WORDS: WordCounts = WordCounts { words: &["dog", "cat", "red", "blue"] };

/// Adds what it knows of the query's colour.
struct AddsRed(Combination);

impl QueryEnhancer for AddsRed {
    fn name(&self) -> &str {
        "adds-red"
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let enhance = |query: &Query| {
            let mut enhanced = EnhancedQuery::unchanged(query, "");
            let rewrite = WeightedText { text: format!("red {}", query.text()), weight: 1.0 };
            if self.0 == Combination::Replace {
                enhanced.texts.clear();
            }
            enhanced.texts.push(rewrite);
            EnhancedQuery { combination: self.0, ..enhanced }
        };
        Ok(queries.iter().map(enhance).collect())
    }
}

struct Forgets;

impl QueryEnhancer for Forgets {
    fn name(&self) -> &str {
        "forgets"
    }

    fn enhance_batch(&self, _: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        Ok(Vec::new())
    }
}

fn index() -> ExactIndex {
    let images = WORDS.embed_texts(&["dog blue", "dog red", "cat red"]).unwrap();
    ExactIndex::from_parts("words", vec![10, 11, 12], images).unwrap()
}

#[test]
fn an_enhancer_moves_the_ranking_and_the_answer_says_how() {
    let index = index();
    let query = Query::new("dog").unwrap();
    let plain = Pipeline::default().search(&query, 3, &WORDS, &index).unwrap();
    assert_eq!(plain.hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [10, 11, 12]);
    for combination in [Combination::Replace, Combination::MeanScore, Combination::MaxScore] {
        let pipeline = Pipeline::new(Box::new(AddsRed(combination)));
        let ranking = pipeline.search(&query, 2, &WORDS, &index).unwrap();
        assert_eq!(ranking.hits[0].id, 11, "{combination:?}");
        assert_eq!(ranking.enhanced.texts.last().unwrap().text, "red dog");
    }
}

#[test]
fn a_batch_answers_as_each_alone() {
    let index = index();
    let pipeline = Pipeline::new(Box::new(AddsRed(Combination::MaxScore)));
    let queries = ["dog", "blue cat", "cat"].map(|text| Query::new(text).unwrap());
    let alone: Vec<Ranking> =
        queries.iter().map(|query| pipeline.search(query, 2, &WORDS, &index).unwrap()).collect();
    assert_eq!(pipeline.search_batch(&queries, 2, &WORDS, &index).unwrap(), alone);
    assert!(pipeline.search_batch(&[], 2, &WORDS, &index).unwrap().is_empty());
}

#[test]
fn another_model_or_a_forgetful_enhancer_is_refused() {
    let other = ExactIndex::new(4, "other").unwrap();
    let query = Query::new("dog").unwrap();
    let refused = Pipeline::default().search(&query, 1, &WORDS, &other);
    assert!(matches!(refused, Err(Error::OtherModel { .. })));
    let pipeline = Pipeline::new(Box::new(Forgets));
    let error = pipeline.search(&query, 1, &WORDS, &index()).unwrap_err().to_string();
    assert_eq!(error, "enhancer `forgets`: expected 1 enhanced queries, found 0");
}

#[test]
fn an_evaluation_goes_through_the_same_steps() {
    let captions = ["dog blue", "dog red", "cat red"];
    let images = WORDS.embed_texts(&captions).unwrap();
    let dataset = Dataset {
        name: "words".to_owned(),
        images_directory: "pictures".into(),
        images: (0u64..)
            .zip(captions)
            .map(|(id, caption)| DatasetImage {
                id,
                path: "a.jpg".into(),
                split: Split::Val,
                captions: vec![caption.to_owned(); id as usize],
            })
            .collect(),
    };
    let counted = std::cell::Cell::new(0);
    let mut count = |enhanced: Vec<EnhancedQuery>| counted.set(counted.get() + enhanced.len());
    let identity = Pipeline::default();
    let result = evaluate(&dataset, &images, &WORDS, &identity, &[1], &mut count).unwrap();
    assert_eq!(result.ranks.text_to_image, [1, 1, 1]);
    assert_eq!(result.ranks.image_to_text, [1, 1]);
    assert_eq!((result.report.n_images, result.report.n_texts, counted.get()), (3, 3, 3));
    assert_eq!(result.report.model, "word-counts");

    let mut silent = dataset;
    silent.images.iter_mut().for_each(|image| image.captions.clear());
    assert!(evaluate(&silent, &images, &WORDS, &identity, &[1], &mut count).is_err());
    let fewer = images.select(&[0]).unwrap();
    assert!(evaluate(&silent, &fewer, &WORDS, &identity, &[1], &mut count).is_err());
}

#[test]
fn combination_and_share_of_the_original_can_be_set() {
    let query = [Query::new("dog").unwrap()];
    let enhance = |pipeline: &Pipeline| pipeline.enhance(&query, None).map(|mut enhanced| enhanced.remove(0));
    let mut pipeline = Pipeline::new(Box::new(AddsRed(Combination::MeanScore)));
    pipeline.combine = Some(Combination::MaxScore);
    pipeline.original_share = Some(0.25);
    let enhanced = enhance(&pipeline).unwrap();
    assert_eq!(enhanced.combination, Combination::MaxScore);
    assert_eq!([enhanced.texts[0].weight, enhanced.texts[1].weight], [0.25, 0.75]);
    pipeline.original_share = Some(f32::NAN);
    assert!(enhance(&pipeline).is_err());
}

#[test]
fn what_is_not_wanted_is_subtracted_and_does_not_count_for_the_fit() {
    let exclusion = Exclusion::new(ExclusionConfig { weight: 0.5 }).unwrap();
    let mut pipeline = Pipeline { exclusion: Some(exclusion), ..Pipeline::default() };
    let search = |pipeline: &Pipeline, text: &str| {
        pipeline.search(&Query::new(text).unwrap(), 3, &WORDS, &index()).unwrap()
    };
    let ranking = search(&pipeline, "dog without blue");
    assert_eq!(ranking.hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [11, 10, 12]);
    assert_eq!(ranking.enhanced.texts.iter().map(|text| text.weight).collect::<Vec<_>>(), [1.0, -0.5]);
    assert_eq!(search(&pipeline, "dog blue"), search(&Pipeline::default(), "dog blue"));

    let captions = WORDS.embed_texts(&["dog", "red"]).unwrap();
    let pairs = Arc::new(ReferencePairs::new(captions, WORDS.embed_texts(&["dog red"]).unwrap()).unwrap());
    let vocabulary = Arc::new(Vocabulary::of_captions(["dog red"; 5]));
    let config = FitConfig { bias: 0.0, unseen: -9.0, anything_line: 0.4, ..FitConfig::default() };
    pipeline.fit = Some(Fit::new(&pairs, vocabulary, config).unwrap());
    let features = |text: &str| search(&pipeline, text).fit.unwrap().features;
    assert_eq!(features("dog without cat").unseen, 0.0, "what is not wanted need not be known");
    assert_eq!(features("dog without cat").similarity, features("dog").similarity);
    let ranking = search(&pipeline, "cat");
    assert_eq!((ranking.fit.unwrap().above_line, ranking.evidence.len()), (0, 3));
    assert!((ranking.evidence[0].similarity - ranking.hits[0].score).abs() < 1e-6);
}
