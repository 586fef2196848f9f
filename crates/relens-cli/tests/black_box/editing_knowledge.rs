//! EvdCLIP's two cases of editing, on photographs of the gallery with the bundled retriever: knowledge that is new to it,
//! and knowledge that is corrected. Results change at once; nothing is indexed again.

use std::path::Path;

use crate::workplace::Workplace;

/// A part of the gallery, so that the test is quick.
const PICTURES: [&str; 18] = [
    "aqueduct",
    "cat",
    "chinese-temple",
    "coffee",
    "didgeridoo",
    "dogs",
    "drummers",
    "eiffel-tower",
    "fig",
    "flower",
    "golden-temple",
    "koala",
    "mariachi",
    "moose",
    "orchestra",
    "river-castle",
    "rocket",
    "white-castle",
];

/// The binary with the bundled retriever instead of the tests' small random one.
fn output(workplace: &Workplace, arguments: &[&str]) -> String {
    let assert = workplace.relens(arguments).env_remove("RELENS_DATA").assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn indexed_gallery() -> Workplace {
    let workplace = Workplace::new();
    let gallery = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gallery");
    fs_err::create_dir(workplace.path("pictures")).unwrap();
    for name in PICTURES.map(|name| format!("{name}.jpg")) {
        fs_err::copy(gallery.join(&name), workplace.path("pictures").join(&name)).unwrap();
    }
    output(&workplace, &["index", "pictures"]);
    workplace
}

/// The place of a picture in the ranking for `query`, from 1.
fn rank(workplace: &Workplace, query: &str, picture: &str) -> usize {
    let ranking = output(workplace, &["search", query, "--enhancer", "descriptions", "-k", "18"]);
    let found = ranking.lines().position(|line| line.contains(&format!("/{picture}.jpg\t")));
    found.unwrap_or_else(|| panic!("{picture} is not in {ranking}")) + 1
}

/// The library, bytes and all; the files beside it belong to whoever reads it.
fn library(workplace: &Workplace) -> Vec<u8> {
    fs_err::read(workplace.path("home/library/relens.db")).unwrap()
}

#[test]
fn edits_move_the_ranking_of_photographs_at_once_without_indexing_again() {
    let workplace = indexed_gallery();
    let indexed = library(&workplace);

    // New knowledge: the retriever's captions never said "mariachi".
    let unknown = rank(&workplace, "mariachi", "mariachi");
    assert!(unknown > 5, "a word without knowledge finds it at {unknown}");
    output(
        &workplace,
        &[
            "kb",
            "add",
            "mariachi",
            "--has",
            "men playing guitars and violins",
            "--has",
            "musicians in matching suits",
            "--has",
            "big hats",
        ],
    );
    let known = rank(&workplace, "mariachi", "mariachi");
    assert!(known <= 3, "with knowledge it is at {known}");
    output(&workplace, &["kb", "undo"]);
    assert_eq!(rank(&workplace, "mariachi", "mariachi"), unknown, "an undo counts at once, too");

    // Correction: what a wedding looks like depends on where it is.
    let [band, temple] = ["mariachi", "chinese-temple"].map(|picture| rank(&workplace, "a wedding", picture));
    output(
        &workplace,
        &[
            "kb",
            "edit",
            "wedding",
            "--has",
            "musicians playing guitars for the guests",
            "--has",
            "singers in costumes",
            "--has",
            "band of men in suits",
        ],
    );
    let with_band = rank(&workplace, "a wedding", "mariachi");
    assert!(with_band + 3 <= band, "a wedding with a band: {band} before, {with_band} after");
    output(
        &workplace,
        &[
            "kb",
            "edit",
            "wedding",
            "--has",
            "red lanterns and gold dragons",
            "--has",
            "couple in front of a chinese temple",
        ],
    );
    let at_temple = ["mariachi", "chinese-temple"].map(|picture| rank(&workplace, "a wedding", picture));
    assert!(at_temple[0] > with_band && at_temple[1] < temple, "{at_temple:?}, before {band} and {temple}");

    assert!(library(&workplace) == indexed, "no picture was indexed again");
}
