//! Puts together the captions of one picture where a format has a line for each caption.

use std::collections::HashMap;
use std::path::Path;

use super::{DatasetImage, Split};

/// Pictures by name, in the order of their first appearance.
#[derive(Default)]
pub(super) struct CaptionGroups {
    positions: HashMap<String, usize>,
    groups: Vec<(String, Vec<String>)>,
}

impl CaptionGroups {
    /// Adds captions, or none, to the picture called `image`.
    pub(super) fn add(&mut self, image: &str, captions: impl IntoIterator<Item = String>) {
        if let Some((_, known)) = self.positions.get(image).and_then(|&at| self.groups.get_mut(at)) {
            known.extend(captions);
            return;
        }
        self.positions.insert(image.to_owned(), self.groups.len());
        self.groups.push((image.to_owned(), captions.into_iter().collect()));
    }

    /// The pictures, numbered by position, each in the split that `split_of` gives for its name.
    pub(super) fn into_images(self, directory: &Path, split_of: impl Fn(&str) -> Split) -> Vec<DatasetImage> {
        let numbered = self.groups.into_iter().zip(0u64..);
        numbered
            .map(|((name, captions), id)| DatasetImage {
                id,
                path: directory.join(&name),
                split: split_of(&name),
                captions,
            })
            .collect()
    }
}

/// A caption without the blanks around it, or `None` (and a warning) if nothing is left: an empty text has no place
/// in the shared space, and some published files hold a few.
pub(super) fn cleaned_caption(raw: &str, path: &Path, location: impl FnOnce() -> String) -> Option<String> {
    let caption = raw.trim();
    if caption.is_empty() {
        tracing::warn!("{}: {}: skipped an empty caption", path.display(), location());
        return None;
    }
    Some(caption.to_owned())
}
