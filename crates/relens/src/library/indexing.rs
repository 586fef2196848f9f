//! Pictures into vectors, in memory that does not grow with their number.
//!
//! One thread hands out files in batches; `jobs` threads decode a batch and scale its pictures down; the calling
//! thread embeds it and commits it to the library. At most three batches of small pictures exist at a time. Batches
//! keep the order of the plan, so that the same pictures get the same ids on any number of threads.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::ThreadPool;
use rayon::prelude::*;
use relens_models::ModelError;

use super::{KeptFolder, Library, PassedOver, ScannedFile, content};
use crate::embed::embeddings::Embeddings;
use crate::embed::{ImageEmbedder, PreparedImage};
use crate::error::{Error, Result};
use crate::library::catalog::{IndexedImage, SkippedFile};
use crate::pictures::metadata::{self, PictureMetadata};
use crate::progress::Progress;

/// How many deletions are one transaction.
const DELETIONS_PER_BATCH: usize = 1000;

/// Skipped files that are named one by one; of the others the number is told.
const NAMED_SKIPS: usize = 20;

/// How to index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexingOptions {
    /// Threads that decode; default: one for each core.
    pub jobs: usize,
    /// Pictures that are embedded and committed together; default 32.
    pub batch_size: usize,
    /// Whether symbolic links are followed; default no.
    pub follow_links: bool,
    /// Whether the content of files is compared, too, whose size and time are as they were; default no.
    pub verify: bool,
}

impl Default for IndexingOptions {
    fn default() -> Self {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        Self { jobs, batch_size: 32, follow_links: false, verify: false }
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexingSummary {
    /// New pictures in the library.
    pub added: usize,
    /// Pictures embedded again because their files changed.
    pub updated: usize,
    /// Pictures whose content was known under another path and is there no more: nothing was embedded.
    pub moved: usize,
    /// Pictures whose content is known under another path, too: nothing was embedded.
    pub copied: usize,
    /// Pictures removed because their files are gone.
    pub deleted: usize,
    /// Pictures that were as they were.
    pub unchanged: usize,
    /// Files left out now, or before and unchanged since.
    pub skipped: usize,
    /// Places that could not be looked into.
    pub unreadable: usize,
    /// Files that were passed over without being opened.
    pub passed_over: PassedOver,
    /// Indexed folders in which nothing is found any more; what the library has of them stays.
    pub kept: Vec<KeptFolder>,
    /// Whether it was stopped before the end; a later run continues.
    pub cancelled: bool,
}

/// What a picture's file tells beside the picture.
type Origin = (Option<[u8; 32]>, PictureMetadata);
type Prepared<P> = Result<(PreparedImage<P>, Origin), SkippedFile>;

impl Library {
    /// Brings the library up to date with `root`: embeds what is new or changed, forgets what is gone.
    ///
    /// Every batch is committed when it is done: after a kill, a full disk or a cancellation the next run continues
    /// there. A picture that cannot be used is left out, counted and named.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if the library is another model's; those of [`scan`](Self::scan) and of writing; the
    /// model's, if it fails for every picture of a batch.
    pub fn index_directory<E: ImageEmbedder>(
        &mut self,
        root: &Path,
        embedder: &E,
        options: &IndexingOptions,
        progress: &mut dyn Progress,
    ) -> Result<IndexingSummary> {
        self.catalog.ensure_model(&embedder.model().fingerprint)?;
        let mut plan = self.scan(root, options)?;
        for warning in &plan.warnings {
            progress.message(&format!("cannot be looked into: {}", warning.reason));
        }
        let mut summary = IndexingSummary {
            unchanged: plan.unchanged,
            skipped: plan.known_skips,
            unreadable: plan.warnings.len(),
            passed_over: std::mem::take(&mut plan.passed_over),
            kept: std::mem::take(&mut plan.kept),
            ..IndexingSummary::default()
        };
        let root = fs_err::canonicalize(root)?;
        // Before anything is taken for gone: what is gone here may have come up there.
        (summary.moved, summary.copied) = self.adopt_known(&mut plan.new, progress)?;
        self.describe_undescribed(&root)?;
        for paths in plan.deleted.chunks(DELETIONS_PER_BATCH) {
            summary.deleted += self.catalog.remove(paths)?;
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.jobs.max(1))
            .thread_name(|number| format!("decode-{number}"))
            .build()
            .map_err(std::io::Error::other)?;
        let batch_size = options.batch_size.max(1);
        let mut work = Work::begin(plan.files_to_read(), progress);
        for (files, counter) in [(&plan.new, Counter::Added), (&plan.changed, Counter::Updated)] {
            let batches: Vec<&[ScannedFile]> = files.chunks(batch_size).collect();
            std::thread::scope(|scope| {
                // One batch waits while one is decoded and one is embedded.
                let (sender, receiver) = sync_channel(1);
                let (batches, pool) = (&batches, &pool);
                scope.spawn(move || {
                    for batch in batches {
                        // The receiver is gone when the work stops early.
                        if sender.send(prepare_batch(pool, embedder, batch)).is_err() {
                            break;
                        }
                    }
                });
                self.embed_batches(batches, &receiver, embedder, &mut work, counter, &mut summary)
            })?;
        }
        work.end();
        self.catalog.add_folder(&root)?;
        Ok(summary)
    }

    fn embed_batches<E: ImageEmbedder>(
        &mut self,
        batches: &[&[ScannedFile]],
        receiver: &Receiver<Vec<Prepared<E::Image>>>,
        embedder: &E,
        work: &mut Work<'_>,
        counter: Counter,
        summary: &mut IndexingSummary,
    ) -> Result<()> {
        for batch in batches {
            summary.cancelled |= work.progress.cancelled();
            if summary.cancelled {
                break;
            }
            let Ok(prepared) = receiver.recv() else { break };
            let (images, vectors, skipped) = embed_batch(embedder, batch, prepared)?;
            self.catalog.add_batch(&images, &vectors, &skipped)?;
            match counter {
                Counter::Added => summary.added += images.len(),
                Counter::Updated => summary.updated += images.len(),
            }
            summary.skipped += skipped.len();
            work.advance(batch.len(), &skipped);
        }
        Ok(())
    }
}

/// What is told of the files that are read.
struct Work<'a> {
    progress: &'a mut dyn Progress,
    done: u64,
    skipped: usize,
}

impl<'a> Work<'a> {
    fn begin(files: usize, progress: &'a mut dyn Progress) -> Self {
        // An empty task would show a bar for nothing.
        if files > 0 {
            progress.begin("index", files as u64);
        }
        Self { progress, done: 0, skipped: 0 }
    }

    fn advance(&mut self, files: usize, skipped: &[SkippedFile]) {
        let named = NAMED_SKIPS.saturating_sub(self.skipped);
        for file in skipped.iter().take(named) {
            self.progress.message(&format!("skipped: {}", file.reason));
        }
        self.skipped += skipped.len();
        self.done += files as u64;
        self.progress.advance(self.done);
    }

    fn end(self) {
        self.progress.end();
        let unnamed = self.skipped.saturating_sub(NAMED_SKIPS);
        if unnamed > 0 {
            let text = format!("skipped: {unnamed} more files that cannot be read as pictures");
            self.progress.message(&text);
        }
    }
}

#[derive(Clone, Copy)]
enum Counter {
    Added,
    Updated,
}

/// Decodes a batch on the pool's threads.
fn prepare_batch<E: ImageEmbedder>(
    pool: &ThreadPool,
    embedder: &E,
    batch: &[ScannedFile],
) -> Vec<Prepared<E::Image>> {
    pool.install(|| batch.par_iter().map(|file| prepare(embedder, file)).collect())
}

fn prepare<E: ImageEmbedder>(embedder: &E, file: &ScannedFile) -> Prepared<E::Image> {
    let skip = |state, reason| SkippedFile { path: file.path.clone(), state, reason };
    // A decoder that panics on one of many thousand files must not end the whole run.
    let prepared = std::panic::catch_unwind(AssertUnwindSafe(|| {
        Ok((embedder.prepare(&file.path)?, (content::fingerprint(&file.path)?, metadata::read(&file.path))))
    }));
    match prepared {
        Ok(Ok(prepared)) => Ok(prepared),
        Ok(Err(error)) => Err(skip((!may_change(&error)).then_some(file.state), error.to_string())),
        Err(_) => Err(skip(Some(file.state), format!("{}: the decoder failed", file.path.display()))),
    }
}

/// Whether the next run may read what this one cannot: for another state of the disk, or a larger limit.
fn may_change(error: &Error) -> bool {
    matches!(error, Error::Io(_) | Error::Model(ModelError::Io(_) | ModelError::ImageTooLarge { .. }))
}

/// Embeds what could be decoded; if that fails, picture by picture, to find the one to blame.
fn embed_batch<E: ImageEmbedder>(
    embedder: &E,
    batch: &[ScannedFile],
    prepared: Vec<Prepared<E::Image>>,
) -> Result<(Vec<IndexedImage>, Embeddings, Vec<SkippedFile>)> {
    let (mut images, mut pictures, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for (file, prepared) in batch.iter().zip(prepared) {
        match prepared {
            Err(file) => skipped.push(file),
            Ok((PreparedImage { image: scaled, width, height }, carried)) => {
                pictures.push(scaled);
                let (fingerprint, metadata) = carried;
                images.push(IndexedImage {
                    path: file.path.clone(),
                    state: file.state,
                    width,
                    height,
                    fingerprint,
                    metadata,
                });
            }
        }
    }
    let dim = embedder.model().dim;
    if pictures.is_empty() {
        return Ok((images, Embeddings::new(dim), skipped));
    }
    if let Ok(vectors) = checked_embeddings(embedder, &pictures) {
        return Ok((images, vectors, skipped));
    }
    let (mut kept, mut vectors, mut last_error) = (Vec::new(), Embeddings::new(dim), None);
    for (image, picture) in images.into_iter().zip(&pictures) {
        match checked_embeddings(embedder, std::slice::from_ref(picture)) {
            Ok(vector) => {
                vectors.append(&vector)?;
                kept.push(image);
            }
            Err(error) => {
                let reason = format!("{}: {error}", image.path.display());
                skipped.push(SkippedFile { state: Some(image.state), path: image.path, reason });
                last_error = Some(error);
            }
        }
    }
    match last_error {
        // If no picture works, the pictures are not to blame.
        Some(error) if kept.is_empty() && pictures.len() > 1 => Err(error),
        _ => Ok((kept, vectors, skipped)),
    }
}

fn checked_embeddings<E: ImageEmbedder>(embedder: &E, pictures: &[E::Image]) -> Result<Embeddings> {
    let vectors = embedder.embed(pictures)?;
    if vectors.rows() != pictures.len() || vectors.dim() != embedder.model().dim {
        return Err(Error::Argument {
            operation: "indexing",
            expected: format!("{} vectors of {} components", pictures.len(), embedder.model().dim),
            found: format!("{} of {}", vectors.rows(), vectors.dim()),
        });
    }
    vectors.ensure_normalised("picture embeddings")?;
    Ok(vectors)
}
