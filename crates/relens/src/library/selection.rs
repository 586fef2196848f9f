//! Which pictures of a ranking are shown: not those whose files are missing, nor those that fit too little.

use crate::error::Result;
use crate::library::FoundImage;
use crate::ranking::Ranking;

/// So many more pictures are ranked than are shown, so that missing ones leave no gaps.
const SPARE: usize = 50;

/// Which pictures of a ranking are shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HitSelection {
    /// How many, at most.
    pub k: usize,
    /// Whether those whose files are missing, as on a drive that is unplugged, are shown too.
    pub with_missing: bool,
    /// The lowest estimated probability of fitting with which a picture is shown; needs a pipeline with an estimate.
    pub min_fit: Option<f32>,
}

/// What is shown of a ranking.
#[derive(Debug, Default)]
pub struct Selected {
    /// Best first.
    pub found: Vec<FoundImage>,
    /// Where among them the line stands below which probably nothing fits.
    pub line: Option<usize>,
    /// Pictures that were left out because their files are missing.
    pub missing: usize,
    /// What was selected from.
    pub ranking: Ranking,
}

impl HitSelection {
    /// Selects from what `rank` finds: the best pictures among `everything`, as many as it is asked for. `resolve` looks up
    /// the pictures behind a ranking. Where whole folders are missing, everything is ranked, so that they leave no gap.
    ///
    /// # Errors
    /// Those of `rank` and `resolve`.
    pub fn search<E>(
        &self,
        everything: usize,
        rank: impl Fn(usize) -> std::result::Result<Ranking, E>,
        resolve: impl Fn(&Ranking) -> Result<Vec<FoundImage>>,
    ) -> std::result::Result<Selected, E>
    where
        E: From<crate::error::Error>,
    {
        let wanted = if self.with_missing { self.k } else { self.k.saturating_add(SPARE) };
        let ranking = rank(wanted)?;
        let selected = self.select(resolve(&ranking)?, ranking);
        if selected.found.len() == self.k || selected.missing == 0 || wanted >= everything {
            return Ok(selected);
        }
        let ranking = rank(everything)?;
        Ok(self.select(resolve(&ranking)?, ranking))
    }

    fn select(&self, ranked: Vec<FoundImage>, ranking: Ranking) -> Selected {
        let (mut found, mut line, mut missing) = (Vec::new(), None, 0);
        for (rank, image) in ranked.into_iter().enumerate() {
            if found.len() == self.k {
                break;
            }
            let fits = image.evidence.and_then(|evidence| evidence.fits);
            if self.min_fit.zip(fits).is_some_and(|(least, fits)| fits < least) {
                continue;
            }
            if !self.with_missing && !image.image.path.exists() {
                missing += 1;
                continue;
            }
            if line.is_none() && ranking.fit.as_ref().is_some_and(|fit| rank >= fit.above_line) {
                line = Some(found.len());
            }
            found.push(image);
        }
        Selected { found, line, missing, ranking }
    }
}
