//! Texts beyond the context, on a tiny CLIP with a context of 12 tokens.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use relens::embed::long_text::LongText;
use relens::embed::retriever::Retriever;

const SHORT: &str = "a dog";
const LONG: &str =
    "a dog runs on the beach and the children play football with it until the night comes at last";

fn retriever() -> Retriever {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../relens-models/tests/fixtures");
    Retriever::open(fixtures.join("architectures/open_clip_vit")).unwrap()
}

#[test]
fn a_cut_text_is_counted() {
    let retriever = retriever();
    retriever.embed_texts(&[SHORT]).unwrap();
    assert_eq!(retriever.truncated_texts(), 0);
    retriever.embed_texts(&[LONG, SHORT, LONG]).unwrap();
    assert_eq!(retriever.truncated_texts(), 2);
}

#[test]
fn windows_read_a_text_to_its_end() {
    let (cut, whole) = (retriever(), retriever().with_long_text(LongText::MeanOfWindows));
    // The fixture's vocabulary knows few words: the other end has some of them.
    let other_end = format!("{LONG} a dog");
    let texts = [SHORT, LONG, &other_end];
    let (truncated, windows) = (cut.embed_texts(&texts).unwrap(), whole.embed_texts(&texts).unwrap());
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(near(truncated.row(1), truncated.row(2)), "the ends differ, and are not read");
    assert!(!near(windows.row(1), windows.row(2)), "the ends are read");
    assert!(near(windows.row(0), truncated.row(0)), "a text that fits is the same either way");
    assert_eq!(whole.truncated_texts(), 0);
    windows.ensure_normalised("means").unwrap();
}
