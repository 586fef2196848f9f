//! Pictures that are known already: those that moved, and those that an older relens indexed.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

use rayon::prelude::*;

use super::{Library, ScannedFile, content};
use crate::error::Result;
use crate::library::catalog::Adoption;
use crate::pictures::metadata;
use crate::progress::Progress;

/// How many changes are one transaction.
const CHANGES_PER_BATCH: usize = 500;

impl Library {
    /// Takes those files out of `new` whose content the catalogue has under another path, and gives them the vectors
    /// that are there. The numbers of pictures that moved, and of those that are there twice.
    pub(super) fn adopt_known(
        &mut self,
        new: &mut Vec<ScannedFile>,
        progress: &mut dyn Progress,
    ) -> Result<(usize, usize)> {
        let (mut adoptions, mut taken) = (Vec::new(), HashSet::new());
        let mut unknown = Vec::with_capacity(new.len());
        for file in std::mem::take(new) {
            match self.known_content(&file, &mut taken)? {
                Some(adoption) => adoptions.push(adoption),
                None => unknown.push(file),
            }
        }
        *new = unknown;
        for batch in adoptions.chunks(CHANGES_PER_BATCH) {
            self.catalog.adopt(batch)?;
        }
        let moved = adoptions.iter().filter(|adoption| adoption.moved).count();
        if !adoptions.is_empty() {
            progress
                .message(&format!("known under other paths, and not embedded again: {}", adoptions.len()));
        }
        Ok((moved, adoptions.len() - moved))
    }

    /// What the catalogue has of a file's content. A picture that is gone from its place moves once; any more files of
    /// that content are copies.
    fn known_content(&self, file: &ScannedFile, taken: &mut HashSet<u64>) -> Result<Option<Adoption>> {
        // Without a file of this size there is nothing to compare, and nothing is read.
        let candidates = self.catalog.images_of_size(file.state.size)?;
        if candidates.iter().all(|known| known.fingerprint.is_none() || known.path == file.path) {
            return Ok(None);
        }
        // What cannot be read is told where it is decoded.
        let Ok(Some(found)) = content::fingerprint(&file.path) else { return Ok(None) };
        let same: Vec<_> = candidates
            .iter()
            .filter(|known| known.fingerprint == Some(found) && known.path != file.path)
            .collect();
        let is_gone = |path: &Path| {
            std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
        };
        let gone = same.iter().find(|known| !taken.contains(&known.id) && is_gone(&known.path));
        let Some(known) = gone.or_else(|| same.first()).map(|known| known.id) else { return Ok(None) };
        let moved = gone.is_some();
        if moved {
            taken.insert(known);
        }
        Ok(Some(Adoption { known, path: file.path.clone(), state: file.state, moved }))
    }

    /// Reads what the files of unchanged pictures tell that an older relens indexed.
    pub(super) fn describe_undescribed(&mut self, root: &Path) -> Result<()> {
        let known = self.catalog.fingerprints_under(root)?;
        let undescribed: Vec<_> = known
            .into_iter()
            .filter_map(|(path, known)| (known.is_none() && path.is_file()).then_some(path))
            .collect();
        for batch in undescribed.chunks(CHANGES_PER_BATCH) {
            let descriptions: Vec<_> = batch
                .par_iter()
                .map(|path| (path.clone(), content::fingerprint(path).ok().flatten(), metadata::read(path)))
                .collect();
            self.catalog.describe(&descriptions)?;
        }
        Ok(())
    }
}
