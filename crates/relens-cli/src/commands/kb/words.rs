//! The words of the knowledge base: what `relens kb` shows and changes of them.

use std::io::Write;

use anyhow::Result;
use relens::knowledge::Source;
use relens::knowledge::words::{self, ENGLISH, Meaning, MeaningKind, Word};

use super::opening::{knowledge, store};
use crate::output::{self, Output};
use crate::progress;
use relens::counted::counted;

/// Puts what a word means, as a person says it, before all that was known of it.
pub(super) fn teach(word: &str, language: &str, means: Vec<String>) -> Result<()> {
    let known = knowledge()?.words().get(&word.to_lowercase(), language);
    let by_person = |text| Meaning { text, kind: MeaningKind::Name, source: Source::Person };
    let mut meanings: Vec<Meaning> = means.into_iter().map(by_person).collect();
    meanings.extend(known.into_iter().flat_map(|word| word.meanings));
    let word = Word { word: word.to_owned(), language: language.to_owned(), meanings }.normalised();
    take_in("add", vec![word])
}

/// Stores words in one revision, and says so.
pub(super) fn take_in(action: &str, words: Vec<Word>) -> Result<()> {
    let count = words.len();
    let changes =
        words.into_iter().map(|word| (word.word.clone(), word.language.clone(), Some(word))).collect();
    match store()?.edit_words(action, changes)? {
        Some(revision) => progress::note(&format!(
            "revision {}: {action}, {} of {} changed (relens kb undo takes it back)",
            revision.id,
            revision.changed,
            counted(count, "word")
        )),
        None => progress::note("nothing changed"),
    }
    Ok(())
}

/// The words whose name or meaning has `filter` in it; of one language, or of all.
pub(super) fn listed(filter: &str, language: Option<&str>) -> Result<Vec<Word>> {
    let holds = |word: &Word| {
        word.word.contains(filter) || word.meanings.iter().any(|meaning| meaning.text.contains(filter))
    };
    let of_language = |word: &Word| language.is_none_or(|language| word.language == language);
    let knowledge = knowledge()?;
    let other = language.filter(|language| *language != ENGLISH);
    let other = other.map(|language| knowledge.languages().lexicon(language)).transpose()?.flatten();
    let Some(lexicon) = other else {
        return Ok(knowledge.words().iter().filter(|word| holds(word) && of_language(word)).collect());
    };
    let word = |(form, meanings): (&str, &[String])| {
        let meaning =
            |text: &String| Meaning { text: text.clone(), kind: MeaningKind::Name, source: Source::Llm };
        let meanings = meanings.iter().map(meaning).collect();
        Word { word: form.to_owned(), language: lexicon.language().to_owned(), meanings }
    };
    Ok(lexicon.iter().map(word).filter(holds).collect())
}

/// One JSON object a line.
pub(super) fn write_json(writer: &mut impl Write, words: &[Word]) -> Result<()> {
    for word in words {
        serde_json::to_writer(&mut *writer, word)?;
        writeln!(writer)?;
    }
    Ok(())
}

/// One word a line: for programs the word, a tab and its meanings parted by `; `.
pub(super) fn write_list(output: &mut Output, words: &[Word], json: bool) -> Result<()> {
    if json {
        return write_json(&mut output.writer, words);
    }
    for word in words {
        let meanings: Vec<&str> = word.meanings.iter().map(|meaning| meaning.text.as_str()).collect();
        writeln!(output.writer, "{}\t{}", word.key(), meanings.join("; "))?;
    }
    Ok(())
}

/// All that is known of a word.
pub(super) fn write_word(output: &mut Output, word: &Word) -> Result<()> {
    let (strong, faint) = (output.style(output::strong()), output.style(output::faint()));
    let writer = &mut output.writer;
    let language = if word.language == ENGLISH { String::new() } else { format!(" ({})", word.language) };
    writeln!(writer, "{strong}{}{strong:#}{language}, a word", word.word)?;
    for Meaning { text, kind, source } in &word.meanings {
        let kind = match kind {
            MeaningKind::Name => "means",
            MeaningKind::Short => "looks like",
            MeaningKind::Plain => "looks, at length, like",
        };
        writeln!(writer, "  - {kind} {text} {faint}[{}]{faint:#}", source.as_str())?;
    }
    if word.meanings.is_empty() {
        writeln!(writer, "  left alone")?;
    }
    Ok(())
}

/// Reads words that `kb export --words` wrote, or a language model's answers.
pub(super) fn read(files: &[std::path::PathBuf], language: &str) -> Result<Vec<Word>> {
    let paths: Vec<&std::path::Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    Ok(words::records::read(&paths, language, &relens::english::Vocabulary::default())?)
}
