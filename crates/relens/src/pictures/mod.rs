//! What do folders and archives hold, and how is it decoded? Image files, tar and Parquet shards, videos.

pub(crate) mod archive;
pub(crate) mod image_files;
pub(crate) mod parquet_archive;
pub(crate) mod tar_archive;
pub mod video;
