//! What do folders and archives hold, and how is it decoded? Image files, tar and Parquet shards, videos.

pub(crate) mod archive;
mod external_program;
pub mod formats;
mod heif;
pub(crate) mod image_files;
pub mod metadata;
pub(crate) mod parquet_archive;
mod raw_preview;
pub(crate) mod tar_archive;
pub mod video;
