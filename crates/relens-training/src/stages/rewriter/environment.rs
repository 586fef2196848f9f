//! What a rewriter is judged by: the corpus, the retriever, and the embeddings of pictures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use relens::dataset::DatasetImage;
use relens::embed::TextEmbedder;
use relens::embed::embedding_cache::EmbeddingCache;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::embed::sentence_encoder::SentenceEncoder;

use super::config::FeedbackConfig;
use crate::Result;
use crate::data::corpus::{CorpusConfig, RewritingCorpus};
use crate::reward::{Judge, RewardConfig};
use relens::progress::Progress;

/// The corpus, and a retriever that is opened when it is first needed.
pub(crate) struct Environment {
    pub(crate) corpus: RewritingCorpus,
    settings: FeedbackConfig,
    retriever: Option<Arc<Retriever>>,
    judge: Option<Arc<Retriever>>,
    seed: u64,
}

impl Environment {
    /// Reads the corpus; `seed` draws the pictures that rewards are counted among.
    pub(crate) fn open(data: &CorpusConfig, retriever: &FeedbackConfig, seed: u64) -> Result<Self> {
        Ok(Self {
            corpus: RewritingCorpus::read(data)?,
            settings: retriever.clone(),
            retriever: None,
            judge: None,
            seed,
        })
    }

    /// The retriever.
    pub(crate) fn retriever(&mut self) -> Result<Arc<Retriever>> {
        if let Some(retriever) = &self.retriever {
            return Ok(retriever.clone());
        }
        let opened = Arc::new(Retriever::load(&self.settings.model)?);
        Ok(self.retriever.insert(opened).clone())
    }

    /// The retriever whose feedback is the reward.
    pub(crate) fn judging_retriever(&mut self) -> Result<Arc<Retriever>> {
        let Some(name) = self.settings.judge.clone().filter(|name| *name != self.settings.model) else {
            return self.retriever();
        };
        if let Some(judge) = &self.judge {
            return Ok(judge.clone());
        }
        Ok(self.judge.insert(Arc::new(Retriever::load(&name)?)).clone())
    }

    /// Where embeddings and rewards are kept.
    pub(crate) fn cache(&self) -> &Path {
        &self.settings.cache
    }

    /// The run's seed.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// A judge of rewrites for training pictures.
    pub(crate) fn judge(&mut self, config: &RewardConfig, progress: &mut dyn Progress) -> Result<Judge> {
        let retriever = self.judging_retriever()?;
        let pictures = self.embed(&retriever, &self.corpus.training, progress)?;
        let sentences = match &self.settings.sentence_encoder {
            Some(directory) if config.fidelity.weight > 0.0 => Some(sentence_encoder(directory)?),
            _ => None,
        };
        Judge::new(*config, retriever, sentences, pictures, self.seed)
    }

    /// Embeddings of the validation pictures.
    pub(crate) fn validation_pictures(&mut self, progress: &mut dyn Progress) -> Result<Embeddings> {
        let retriever = self.retriever()?;
        self.embed(&retriever, &self.corpus.validation, progress)
    }

    /// The judge's embeddings of the pictures that are held out, filled up to `size` with training pictures.
    pub(crate) fn gallery(&mut self, size: usize, progress: &mut dyn Progress) -> Result<Embeddings> {
        let retriever = self.judging_retriever()?;
        let others = size.saturating_sub(self.corpus.held_out.len()).min(self.corpus.training.len());
        let fill = self.corpus.training.iter().take(others);
        let pictures: Vec<DatasetImage> = self.corpus.held_out.iter().chain(fill).cloned().collect();
        self.embed(&retriever, &pictures, progress)
    }

    fn embed(
        &self,
        retriever: &Retriever,
        pictures: &[DatasetImage],
        progress: &mut dyn Progress,
    ) -> Result<Embeddings> {
        let paths: Vec<PathBuf> = pictures.iter().map(|picture| picture.path.clone()).collect();
        Ok(EmbeddingCache::at(&self.settings.cache).images(retriever, &paths, progress)?)
    }
}

fn sentence_encoder(directory: &Path) -> Result<Arc<dyn TextEmbedder>> {
    Ok(Arc::new(SentenceEncoder::open(directory)?))
}
