//! Marks that stand alone where none belongs: slips of the finger, or what is left of a text that was copied.

use std::borrow::Cow;
use std::ops::Range;

use super::Correction;

/// The marks that are dropped; commas, quotation marks, `&`, `+` and `-` stand alone in good queries, too.
const MARKS: [char; 5] = ['.', '!', '?', ';', ':'];

/// The text without the marks that stand alone before another word or mark, and what was dropped. A mark stays at the end
/// of the text, and where a capital after it says that a sentence ends.
pub(crate) fn without_stray_marks(text: &str) -> (Cow<'_, str>, Vec<Correction>) {
    let marks = stray_marks(text);
    let dropped = |range: &Range<usize>| {
        let mark = text.get(range.clone()).unwrap_or_default().trim_end();
        Correction { from: mark.to_owned(), to: String::new() }
    };
    let corrections = marks.iter().map(dropped).collect();
    let mut result = Cow::Borrowed(text);
    marks.into_iter().rev().for_each(|range| result.to_mut().replace_range(range, ""));
    (result, corrections)
}

/// The marks with the spaces behind them.
fn stray_marks(text: &str) -> Vec<Range<usize>> {
    let start_of = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let parts: Vec<&str> = text.split_whitespace().collect();
    let is_mark = |part: &str| part.chars().all(|character| MARKS.contains(&character));
    let stray = |pair: &[&str]| {
        let [part, next] = pair else { return None };
        let sentence_ends = next.chars().next().is_some_and(char::is_uppercase);
        let range = start_of(part)..start_of(next);
        (is_mark(part) && !sentence_ends).then_some(range)
    };
    parts.windows(2).filter_map(stray).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_inside_of_a_sentence_go_and_others_stay() {
        for (typed, expected) in [
            ("; two . dogs ?! run .", "two dogs run ."),
            ("two dogs : .", "two dogs ."),
            ("A dog . A cat .", "A dog . A cat ."),
            ("a dog , a cat & \"a bird\" - 3.5", "a dog , a cat & \"a bird\" - 3.5"),
            ("wait... what? yes", "wait... what? yes"),
            ("!", "!"),
            ("", ""),
        ] {
            assert_eq!(without_stray_marks(typed).0, expected);
        }
        let corrections = without_stray_marks("a ; b").1;
        assert_eq!(corrections, [Correction { from: ";".to_owned(), to: String::new() }]);
    }
}
