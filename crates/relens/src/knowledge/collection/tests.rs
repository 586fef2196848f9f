use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::error::Error;
use crate::progress::tests::Watched;

/// Answers from the words of the question, and counts.
#[derive(Default)]
struct Model {
    asked: AtomicUsize,
    seen: Mutex<HashSet<String>>,
    fails_after: Option<usize>,
}

impl AnswerPrompts for Model {
    fn answer(&self, _: QuestionKind, prompt: &str) -> Result<Answer> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if self.fails_after.is_some_and(|limit| asked >= limit) {
            return Err(Error::Cancelled);
        }
        assert!(self.seen.lock().unwrap().insert(prompt.to_owned()), "asked twice: {prompt}");
        let question = prompt.rsplit("Question: ").next().unwrap();
        let question = question.split("\nAnswer:").next().unwrap();
        let reply = if question.starts_with('[') {
            let names: Vec<String> = serde_json::from_str(question).unwrap();
            let record = |name: &String| {
                let visual = name != "luck";
                let descriptions = if visual { vec![format!("look of a {name}")] } else { Vec::new() };
                serde_json::json!({"entity": name, "visual": visual, "descriptions": descriptions})
            };
            serde_json::json!({"answers": names.iter().map(record).collect::<Vec<_>>()}).to_string()
        } else {
            let known = ["dogs", "dog", "The Zebra", "luck", "bench"];
            let named: Vec<&str> = known.into_iter().filter(|name| question.contains(name)).collect();
            format!("Here you are:\n```json\n{}\n```", serde_json::json!({"entities": named}))
        };
        Ok(Answer { reply, prompt_tokens: 10, completion_tokens: 2 })
    }
}

fn captions() -> Vec<String> {
    (0..40)
        .map(|number| format!("{} number {number}", ["dogs", "a dog", "The Zebra", "luck"][number % 4]))
        .collect()
}

fn run(
    path: &std::path::Path,
    model: &dyn AnswerPrompts,
    watch: &mut Watched,
) -> Result<(Vec<Entity>, AskingUsage)> {
    let captions = captions();
    let captions: Vec<&str> = captions.iter().map(String::as_str).collect();
    let mut replies = Replies::open(path)?;
    let mut asking = Asking::new(model, &mut replies, watch);
    let entities = collect(&captions, CollectionConfig { floor: 2, concurrency: 3 }, &mut asking)?;
    let usage = asking.usage();
    Ok((entities, usage))
}

#[test]
fn entities_are_normalised_counted_described_and_never_asked_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("replies.jsonl");
    let (model, mut watch) = (Model::default(), Watched::default());
    let (entities, usage) = run(&path, &model, &mut watch).unwrap();
    let names: Vec<(&str, bool)> =
        entities.iter().map(|entity| (entity.name.as_str(), entity.visual)).collect();
    assert_eq!(names, [("dog", true), ("luck", false), ("zebra", true)]);
    assert_eq!(entities[0].descriptions().next().unwrap().text, "look of a dog");
    let asked = model.asked.load(Ordering::Relaxed) as u64;
    assert_eq!((usage.asked, usage.recorded), (asked, 0));
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (10 * asked, 2 * asked));
    assert_eq!((watch.task.as_str(), watch.total, watch.advances.last()), ("descriptions", 1, Some(&1)));

    // What is recorded needs no model.
    let (again, usage) = run(&path, &Recorded, &mut Watched::default()).unwrap();
    assert_eq!(again, entities);
    assert_eq!((usage.asked, usage.recorded, usage.prompt_tokens), (0, asked, 10 * asked));
}

#[test]
fn a_run_that_is_stopped_goes_on_with_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("replies.jsonl");
    let broken = Model { fails_after: Some(2), ..Model::default() };
    assert!(matches!(run(&path, &broken, &mut Watched::default()), Err(Error::Cancelled)));
    let stopped = run(&path, &Model::default(), &mut Watched { stops_after: Some(2), ..Watched::default() });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    let recorded = fs_err::read_to_string(&path).unwrap().lines().count() as u64;
    assert!(recorded >= 3, "{recorded}");
    let (_, usage) = run(&path, &Model::default(), &mut Watched::default()).unwrap();
    assert_eq!((usage.recorded, usage.recorded + usage.asked), (recorded, 5));
}

#[test]
fn replies_that_cannot_be_used_name_their_question() {
    struct Says(&'static str);
    impl AnswerPrompts for Says {
        fn answer(&self, _: QuestionKind, _: &str) -> Result<Answer> {
            Ok(Answer { reply: self.0.to_owned(), ..Answer::default() })
        }
    }
    let directory = tempfile::tempdir().unwrap();
    for (number, says) in
        ["I cannot do that.", "{\"entities\": 7}", "{\"entities\": [\"dog\"]"].into_iter().enumerate()
    {
        let path = directory.path().join(format!("{number}.jsonl"));
        let error = run(&path, &Says(says), &mut Watched::default()).unwrap_err().to_string();
        assert!(error.contains("the reply to `1. The Zebra number"), "{error}");
        assert!(error.contains("expected {\"entities\": [\"name\", …]}"), "{error}");
    }
    let error = run(&directory.path().join("none.jsonl"), &Recorded, &mut Watched::default()).unwrap_err();
    assert!(error.to_string().contains("a language model has to be asked"), "{error}");
    let broken = directory.path().join("broken.jsonl");
    fs_err::write(&broken, "{\"prompt\": 1}\n").unwrap();
    let error = run(&broken, &Recorded, &mut Watched::default()).unwrap_err().to_string();
    assert!(error.contains("broken.jsonl: line 1, field `prompt`"), "{error}");
}

#[test]
fn prompts_say_what_is_visual_and_have_two_examples() {
    for prompt in [ENTITY_PROMPT, DESCRIPTION_PROMPT] {
        assert!(prompt.contains("visual"));
        assert_eq!(prompt.matches("Question: ").count(), 3, "two examples and the question itself");
    }
}
