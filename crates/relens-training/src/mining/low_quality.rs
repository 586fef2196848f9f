//! The queries that mining is for: captions whose picture the retriever ranks outside the first k.

use super::pool::MiningFeedback;
use super::pool::PoolCaption;
use crate::Result;
use crate::retriever_feedback::Judgement;

/// Captions that are ranked at a time.
const BLOCK: usize = 256;

/// A caption and its rank in the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedCaption {
    /// The caption.
    pub caption: PoolCaption,
    /// How the retriever ranks its picture for it.
    pub judgement: Judgement,
}

/// Which captions are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Ranked outside the first k.
    Low,
    /// Ranked within the first k.
    High,
    /// All.
    Any,
}

/// Goes through all captions of the pool in order, ranking a block at a time, and yields those of one quality.
pub struct RankedCaptions<'a> {
    judge: &'a MiningFeedback<'a>,
    captions: Box<dyn Iterator<Item = PoolCaption> + 'a>,
    ready: std::vec::IntoIter<RankedCaption>,
    quality: Quality,
    k: u32,
    scanned: u64,
}

impl<'a> RankedCaptions<'a> {
    /// Captions of `judge`'s pool of this quality; `k` parts low from high.
    pub fn new(judge: &'a MiningFeedback<'a>, quality: Quality, k: u32) -> Self {
        let captions = Box::new(judge.pool.captions());
        Self { judge, captions, ready: Vec::new().into_iter(), quality, k, scanned: 0 }
    }

    /// How many captions were ranked so far.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }

    /// The next caption, if there is one.
    ///
    /// # Errors
    /// Those of the retriever.
    pub fn next_caption(&mut self) -> Result<Option<RankedCaption>> {
        loop {
            if let Some(caption) = self.ready.next() {
                return Ok(Some(caption));
            }
            let block: Vec<PoolCaption> = self.captions.by_ref().take(BLOCK).collect();
            if block.is_empty() {
                return Ok(None);
            }
            self.scanned += block.len() as u64;
            let texts: Vec<(&str, usize)> =
                block.iter().map(|caption| (caption.query.as_str(), caption.picture)).collect();
            let judged = self.judge.judge(&texts)?;
            let wanted = |judgement: &Judgement| match self.quality {
                Quality::Low => judgement.rank > self.k,
                Quality::High => judgement.rank <= self.k,
                Quality::Any => true,
            };
            let ranked = block.into_iter().zip(judged).filter(|(_, judgement)| wanted(judgement));
            let ranked: Vec<RankedCaption> =
                ranked.map(|(caption, judgement)| RankedCaption { caption, judgement }).collect();
            self.ready = ranked.into_iter();
        }
    }

    /// The next captions, at most `count`.
    ///
    /// # Errors
    /// Those of the retriever.
    pub fn next_block(&mut self, count: usize) -> Result<Vec<RankedCaption>> {
        let mut block = Vec::with_capacity(count);
        while block.len() < count
            && let Some(caption) = self.next_caption()?
        {
            block.push(caption);
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    #[test]
    fn captions_are_parted_by_their_rank_and_repeated_ones_left_out() {
        let world = World::new(&[&["red dog", "blue cat", "red dog"], &["blue cat", "blue cat on sofa"]]);
        let judge = world.judge();
        let ids = |quality| {
            let mut captions = RankedCaptions::new(&judge, quality, 1);
            let block = captions.next_block(100).unwrap();
            assert_eq!(captions.scanned(), 4);
            block.into_iter().map(|ranked| ranked.caption.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(Quality::Low), ["0.jpg#1"]);
        assert_eq!(ids(Quality::High), ["0.jpg#0", "1.jpg#0", "1.jpg#1"]);
        assert_eq!(ids(Quality::Any).len(), 4);
    }
}
