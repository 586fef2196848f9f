//! `relens explain`: which pixels and which words a score comes from.

mod canvas;
mod layout;

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use image::RgbImage;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::embed::similarity::dot;
use relens::enhancer::{EnhancedQuery, Query, WeightedText};
use relens::explanation::RetrievalScore;
use relens::explanation::words::{TextAttribution, explain_words};
use relens::ranking::Pipeline;
use relens_models::image_preprocessing::decode_image;
use serde::Serialize;

use crate::enhancer_choice::EnhancerArguments;
use crate::model_choice::ModelArguments;
use crate::output::{self, Output};
use crate::output_file::{check_output, drawing_format, write_whole};
use crate::pixel_explanation::{Detail, PixelArguments, PixelExplanation, PreparedPair};
use crate::reporter::Reporter;
use crate::usage::usage_error;
use relens::counted::counted;

/// Show which pixels and which words the score of a query and a picture comes from.
///
/// Writes one PNG: the picture, a heat map of the pixels (warm: for the score, cold: against it) and the words of the
/// query, coloured by what each adds. With an enhancer, before and after rewriting stand side by side, on one scale.
///
/// integrated_gradients: what each pixel adds to the score, compared with the baseline; all of it adds up to the
/// difference of the two scores, and the completeness error says how nearly. mask (I-GOS): the smallest part that the
/// score cannot do without. Words: Shapley values, what a word adds on average over all orders of putting words in.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The query.
    #[arg(value_name = "QUERY")]
    query: String,

    /// The picture.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Where the explanation is drawn: a PNG, JPEG or WebP, as the name's ending says.
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,

    #[command(flatten)]
    pixels: PixelArguments,

    #[command(flatten)]
    enhancer: EnhancerArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// Print one JSON object: {"query", "image", "method", "baseline", "steps", "explanations": […]}.
    #[arg(long)]
    json: bool,
}

/// One column of the picture: the query as it was typed, or as the enhancer rewrote it.
struct Side {
    title: String,
    /// What a search ranks the picture by, where that is not the score that is explained.
    ranking_score: Option<f32>,
    pixels: PixelExplanation,
    texts: Vec<WeightedAttribution>,
    /// Further texts, whose words are not explained.
    others: Vec<WeightedText>,
}

#[derive(Debug, Serialize)]
struct WeightedAttribution {
    weight: f32,
    #[serde(flatten)]
    words: TextAttribution,
}

/// Blanks before the words of a text behind the first line: they begin behind its weight.
const WORDS_INDENT: usize = 8;

/// Texts of an enhanced query whose words are explained, the weightiest first.
const EXPLAINED_TEXTS: usize = 3;

impl ExplainArguments {
    pub(crate) fn run(self) -> Result<()> {
        drawing_format(&self.out)?;
        check_output(&self.out, &[&self.image])?;
        let query = Query::new(&self.query).map_err(usage_error)?;
        let retriever = Arc::new(self.model.open()?);
        let pipeline = self.enhancer.open(retriever.clone())?;
        let picture = decode_image(&self.image)?;
        let explainer = Explainer {
            retriever: &retriever,
            pair: self.pixels.prepare(&retriever, &picture)?,
            embedding: retriever.embed_images(std::slice::from_ref(&picture))?,
            options: self.pixels,
        };
        let plain = Pipeline::default();
        let mut sides = vec![explainer.side("the query as typed", &query, &plain)?];
        if pipeline.name() != plain.name() {
            sides.push(explainer.side(&format!("after {}", pipeline.name()), &query, &pipeline)?);
        }
        let fitted = retriever.preprocessor().fit(&picture)?;
        let drawn = layout::draw(query.text(), &fitted, &sides, self.pixels.method);
        save(&drawn, &self.out)?;
        if self.json { self.print_json(&query, &sides) } else { self.print(&sides) }
    }

    fn print_json(&self, query: &Query, sides: &[Side]) -> Result<()> {
        let explanations: Vec<serde_json::Value> = sides.iter().map(Side::to_json).collect();
        let (image, out) = (self.image.to_string_lossy(), self.out.to_string_lossy());
        let report = serde_json::json!({
            "query": query.text(), "image": image, "out": out, "method": self.pixels.method,
            "baseline": self.pixels.baseline, "steps": self.pixels.steps(), "explanations": explanations,
        });
        let mut output = Output::new();
        serde_json::to_writer(&mut output.writer, &report)?;
        writeln!(output.writer)?;
        Ok(output.writer.flush()?)
    }

    fn print(&self, sides: &[Side]) -> Result<()> {
        let mut output = Output::new();
        for side in sides {
            let PixelExplanation { score, baseline_score, detail, .. } = side.pixels;
            let steps = self.pixels.steps();
            let title = format!("{}: score {score:.4}, of the baseline {baseline_score:.4}", side.title);
            writeln!(output.writer, "{}", output::wrapped(&title, 2))?;
            let detail = match detail {
                Detail::Gradients { attributed, completeness_error, unadjusted_completeness_error } => {
                    format!(
                        "pixels add up to {attributed:.4} in {}, completeness error {:.2} % ({:.2} % before each step \
                         was adjusted to what it gains)",
                        counted(steps, "step"),
                        100.0 * completeness_error,
                        100.0 * unadjusted_completeness_error
                    )
                }
                Detail::Mask { masked_score, masked_area } => format!(
                    "{masked_score:.4} without {:.1} % of the picture, after up to {}",
                    100.0 * masked_area,
                    counted(steps, "step")
                ),
            };
            writeln!(output.writer, "  {}", output::wrapped(&detail, 2))?;
            if let Some(ranking_score) = side.ranking_score {
                let loss = score - ranking_score;
                let change = match loss < 0.0 {
                    true => {
                        format!("{:.4} is given for having less in common with every query than most", -loss)
                    }
                    false => format!("{loss:.4} is taken off for what it has in common with every query"),
                };
                let ranked =
                    format!("a search ranks it by {ranking_score:.4}: {change}, which is left out here");
                writeln!(output.writer, "  {}", output::wrapped(&ranked, 2))?;
            }
            for text in &side.texts {
                let values = text.words.words.iter().map(|word| format!("{} {:+.4}", word.word, word.value));
                let values: Vec<String> = values.collect();
                let words = output::wrapped_pieces(&values, "  ", WORDS_INDENT);
                writeln!(output.writer, "  {:.3} {words}", text.weight)?;
            }
            for text in &side.others {
                let text = format!("{:.3} {} (its words are not explained)", text.weight, text.text);
                writeln!(output.writer, "  {}", output::wrapped(&text, WORDS_INDENT))?;
            }
        }
        writeln!(output.writer, "drawn to {}", self.out.display())?;
        Ok(output.writer.flush()?)
    }
}

/// A picture and what it is explained with.
struct Explainer<'a> {
    retriever: &'a Retriever,
    pair: PreparedPair,
    embedding: Embeddings,
    options: PixelArguments,
}

impl Explainer<'_> {
    fn side(&self, title: &str, query: &Query, pipeline: &Pipeline) -> Result<Side> {
        let mut embedded = pipeline.embed(std::slice::from_ref(query), self.retriever, None)?;
        let enhanced = embedded.enhanced.pop().context("expected one enhanced query, found none")?;
        let vector =
            self.nearest(embedded.vectors.vectors()).context("expected a query vector, found none")?;
        let ranking_score = match pipeline.hubness_of_scores() {
            Some(hubness) => {
                let loss = hubness.losses(&self.embedding)?.first().copied().unwrap_or(0.0);
                Some(dot(vector, self.embedding.row(0)) - loss)
            }
            None => None,
        };
        let score = RetrievalScore::new(self.retriever, vector)?;
        let pixels = self.options.explain(&score, &self.pair, &mut Reporter::default())?;
        let (texts, others) = self.texts(enhanced)?;
        Ok(Side { title: title.to_owned(), ranking_score, pixels, texts, others })
    }

    /// Where a query has several vectors, its score is that of the nearest: the one to explain.
    fn nearest<'v>(&self, vectors: &'v Embeddings) -> Option<&'v [f32]> {
        let picture = self.embedding.row(0);
        vectors.iter().max_by(|one, other| dot(one, picture).total_cmp(&dot(other, picture)))
    }

    /// The weightiest texts with what their words add, and the others.
    fn texts(&self, enhanced: EnhancedQuery) -> Result<(Vec<WeightedAttribution>, Vec<WeightedText>)> {
        let mut texts = enhanced.texts;
        texts.sort_by(|one, other| other.weight.abs().total_cmp(&one.weight.abs()));
        let others = texts.split_off(EXPLAINED_TEXTS.min(texts.len()));
        let explain = |text: WeightedText| {
            let words = explain_words(self.retriever, &text.text, self.embedding.row(0))?;
            Ok(WeightedAttribution { weight: text.weight, words })
        };
        Ok((texts.into_iter().map(explain).collect::<Result<_>>()?, others))
    }
}

impl Side {
    fn to_json(&self) -> serde_json::Value {
        let PixelExplanation { score, baseline_score, detail, .. } = &self.pixels;
        serde_json::json!({
            "side": self.title, "score": score, "baseline_score": baseline_score, "pixels": detail,
            "texts": self.texts, "other_texts": self.others, "ranking_score": self.ranking_score,
        })
    }
}

fn save(drawn: &RgbImage, path: &Path) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    drawn.write_to(&mut bytes, drawing_format(path)?)?;
    write_whole(path, bytes.get_ref())
}
