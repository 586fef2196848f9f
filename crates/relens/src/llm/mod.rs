//! Chat models behind any OpenAI-compatible endpoint: vLLM, llama.cpp, Ollama, OpenAI, ….
//!
//! [`ChatModel`] is what the rest of relens asks; [`LlmClient`] is the model behind an endpoint. Every reply goes to a
//! [`RecordStore`] before anybody sees it, under a hash of all that decides it: whoever asks the same again gets the
//! recorded reply, and a client that only replays needs no network. [`structured`] reads replies that should be JSON.
//!
//! ```no_run
//! use relens::llm::{ApiKey, ChatModel, ChatRequest, ClientConfig, LlmClient, RecordStore};
//!
//! let store = RecordStore::open("replies.jsonl".as_ref())?;
//! let settings = ClientConfig::new("http://127.0.0.1:8000/v1", "a-model");
//! let client = LlmClient::start(settings, ApiKey::from_environment("OPENAI_API_KEY"), Some(store))?;
//! let reply = client.ask(ChatRequest::new("greeting", "Say hello."))?;
//! println!("{}, {} tokens", reply.content, client.usage().completion_tokens);
//! # Ok::<(), relens::llm::LlmError>(())
//! ```

mod accounting;
mod api_key;
mod client;
mod error;
mod image_part;
mod record_store;
mod request;
mod settings;
pub mod structured;
mod transport;
mod wire;

pub use accounting::{Budget, ClientUsage, Prices};
pub use api_key::ApiKey;
pub use client::LlmClient;
pub use error::LlmError;
pub use record_store::{RecordStore, RecordedReply};
pub use request::{ChatReply, ChatRequest, Message, Part, ReplyForm, RequestKey, Role};
pub use settings::{ClientConfig, ImageMode, JsonMode, RetryConfig};
pub use transport::install_tls_provider;

/// Takes the outcome of a request, on another thread.
pub type Deliver = Box<dyn FnOnce(Result<ChatReply, LlmError>) + Send>;

/// Something that answers chat requests. The seam between those who ask and how they are answered.
pub trait ChatModel: Send + Sync {
    /// The model's name, for records.
    fn model(&self) -> &str;

    /// Asks without waiting; `deliver` is called once, on another thread or before this returns.
    fn submit(&self, request: ChatRequest, deliver: Deliver);

    /// Lets nothing more be asked; what is on its way is still answered.
    fn cancel(&self) {}

    /// Asks and waits.
    ///
    /// # Errors
    /// [`LlmError`], see there.
    fn ask(&self, request: ChatRequest) -> Result<ChatReply, LlmError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let deliver = Box::new(move |outcome| drop(sender.send(outcome)));
        self.submit(request, deliver);
        receiver.recv().unwrap_or(Err(LlmError::Cancelled))
    }
}
