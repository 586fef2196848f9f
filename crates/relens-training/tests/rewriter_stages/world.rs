//! What the stages read: a few pictures of the gallery with captions, the bundled retriever, and a tiny fresh T5.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use relens::progress::Progress;
use relens_models::weights::Weights;
use relens_training::Result;
use relens_training::stages::denoise::DenoiseMethod;
use relens_training::stages::rewriter::{RewriterConfig, RewritingMethod, RunSummary};
use serde_json::{Map, Value, json};

/// Pictures with what they show; the last ones are for validation.
const PICTURES: [(&str, &str, &str); 10] = [
    ("aqueduct.jpg", "stone aqueduct over a river valley", "an old roman bridge"),
    ("astronaut.jpg", "smiling astronaut in an orange suit", "a woman before a flag"),
    ("bison.jpg", "a bison on the grass", "a large brown animal"),
    ("white-castle.jpg", "a castle on a hill", "an old stone building"),
    ("cat.jpg", "a cat looks at the camera", "a small pet"),
    ("coffee.jpg", "a cup of coffee on a table", "a spoon beside a cup"),
    ("koala.jpg", "a koala in a tree", "a grey animal"),
    ("moose.jpg", "a moose in the forest", "a brown animal"),
    ("giraffes.jpg", "giraffes on the grass", "a large animal"),
    ("jaguars.jpg", "jaguars in the grass", "wild cats"),
];
const VALIDATION: usize = 4;

/// The directory of all tests of this program, made by the first one.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

pub(crate) struct World {
    directory: tempfile::TempDir,
    gallery: PathBuf,
}

impl World {
    fn new() -> Self {
        let gallery = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gallery");
        let world = Self { directory: tempfile::tempdir().unwrap(), gallery };
        let present: Vec<_> =
            PICTURES.iter().filter(|(file, ..)| world.gallery.join(file).is_file()).collect();
        assert!(present.len() >= VALIDATION + 4, "pictures of the gallery are missing");
        let lines: Vec<String> = present
            .iter()
            .enumerate()
            .map(|(index, (file, first, second))| {
                let split = if index + VALIDATION < present.len() { "train" } else { "val" };
                json!({"image": file, "captions": [first, second], "split": split}).to_string()
            })
            .collect();
        std::fs::write(world.path("annotations.jsonl"), lines.join("\n")).unwrap();
        let config = world.config::<DenoiseMethod>("fresh", "max_steps = 1", FRESH);
        config.run(&mut relens::progress::Silent).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The tiny rewriter that stages start from.
    pub(crate) fn rewriter(&self) -> PathBuf {
        self.path("fresh/model")
    }

    /// A stage's configuration: `top` beside the fields that all have, `tables` after them.
    pub(crate) fn config<M: RewritingMethod>(
        &self,
        output: &str,
        top: &str,
        tables: &str,
    ) -> RewriterConfig<M> {
        let text = format!(
            r#"
            output = {output:?}
            seed = 3
            learning_rate = 0.01
            batch_size = 4
            {top}
            [data]
            annotations = {annotations:?}
            images = {images:?}
            [retriever]
            cache = {cache:?}
            {tables}
            "#,
            output = self.path(output),
            annotations = self.path("annotations.jsonl"),
            images = self.gallery,
            cache = self.path("cache"),
        );
        let path = self.path(&format!("{}.toml", output.replace('/', "-")));
        std::fs::write(&path, text).unwrap();
        RewriterConfig::read(&path).unwrap()
    }

    /// The tables of a stage that starts from the tiny rewriter.
    pub(crate) fn starting_tables(&self, tables: &str) -> String {
        format!(
            "[policy]\nstart_from = {:?}\ndropout = false\n[evaluation]\nevery_steps = 2\nhacking_patience = 0\n\
             samples = 2\n{tables}",
            self.rewriter()
        )
    }
}

/// A T5 that a test can afford.
pub(crate) const FRESH: &str = "
    [fresh]
    vocabulary_size = 300
    d_model = 16
    d_kv = 8
    d_ff = 24
    layers = 2
    decoder_layers = 2
    heads = 2
    dropout = 0.1
    positions = 48
    [rewriter.decoding]
    max_tokens = 12
    [evaluation]
    metric = \"loss\"
    every_steps = 2
";

/// The weights of a step's checkpoint.
pub(crate) fn weights(run: &Path, step: u64) -> BTreeMap<String, Vec<f32>> {
    let path = run.join(format!("checkpoints/step-{step}/weights.safetensors"));
    let weights = Weights::open(path).unwrap();
    let values = |name: &str| {
        let tensor = weights.tensor(name, weights.shape(name).unwrap()).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    };
    weights.names().map(|name| (name.to_owned(), values(name))).collect()
}

/// All files of a run that must be the same for the same seed, by name.
pub(crate) fn bytes(run: &Path, step: u64) -> BTreeMap<String, Vec<u8>> {
    let checkpoint = format!("checkpoints/step-{step}");
    let names = ["weights.safetensors", "optimizer.safetensors", "average.safetensors", "state.json"];
    let mut files: Vec<String> = names.iter().map(|name| format!("{checkpoint}/{name}")).collect();
    files.extend(["metrics.jsonl", "samples.jsonl", "model/model.safetensors"].map(str::to_owned));
    files.into_iter().map(|name| (name.clone(), std::fs::read(run.join(&name)).unwrap())).collect()
}

/// Stops a run after some steps, as a kill would.
pub(crate) struct StopAfter(pub(crate) u64);

impl Progress for StopAfter {
    fn metrics(&mut self, record: &Map<String, Value>) {
        if !record.contains_key("split") {
            self.0 = self.0.saturating_sub(1);
        }
    }

    fn cancelled(&mut self) -> bool {
        self.0 == 0
    }
}

/// Remembers what was said.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) messages: Vec<String>,
    pub(crate) records: Vec<Map<String, Value>>,
}

impl Progress for Listener {
    fn metrics(&mut self, record: &Map<String, Value>) {
        self.records.push(record.clone());
    }

    fn message(&mut self, text: &str) {
        self.messages.push(text.to_owned());
    }
}

/// Runs a stage to its end.
pub(crate) fn finish(stage: &RewriterConfig<impl RewritingMethod>) -> Result<RunSummary> {
    stage.run(&mut relens::progress::Silent)
}
