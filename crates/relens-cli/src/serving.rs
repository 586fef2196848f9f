//! A server that runs until Ctrl-C, shared by the commands that start one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use relens::embed::retriever::Retriever;
use relens_server::{Server, ServerConfig};

use crate::{interrupt, progress};

/// How often Ctrl-C is looked for.
const LOOK_FOR_INTERRUPT: Duration = Duration::from_millis(100);

/// Serves until the program is told to stop, and calls `listens` with the address once it listens.
pub(crate) fn serve(
    config: ServerConfig,
    retriever: impl Into<Arc<Retriever>>,
    listens: impl FnOnce(SocketAddr),
) -> Result<()> {
    interrupt::watch();
    let server = Server::new(config, retriever)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = server.bind().await?;
        let address = listener.local_addr()?;
        progress::note(&format!("serving at http://{address} (Ctrl-C ends it)"));
        listens(address);
        Ok(server.serve(listener, interrupted()).await?)
    })
}

async fn interrupted() {
    while !interrupt::requested() {
        tokio::time::sleep(LOOK_FOR_INTERRUPT).await;
    }
}
