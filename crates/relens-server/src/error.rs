//! Why a server does not start, or ends.

use std::net::SocketAddr;

/// An error of the server itself; what goes wrong with a request is told to its client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The library, a model or the knowledge base cannot be used.
    #[error(transparent)]
    Relens(#[from] relens::error::Error),

    /// The system refused a file, a thread or a connection.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },

    /// Others could reach the address, and nothing would keep them out.
    #[error(
        "{address} can be reached from other computers: expected a key (--api-key-file), or --insecure to serve \
         everybody"
    )]
    Unprotected {
        /// The address.
        address: SocketAddr,
    },

    /// A setting cannot be used.
    #[error("{setting}: expected {expected}, found {found}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        found: String,
    },
}
