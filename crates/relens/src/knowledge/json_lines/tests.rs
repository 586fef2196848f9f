use proptest::prelude::*;

use super::*;
use crate::knowledge::{Description, Sense, Source};

fn read_text(text: &str) -> Result<Vec<Entity>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), text).unwrap();
    read(file.path())
}

fn message(lines: &str) -> String {
    let error = read_text(&format!("{}\n{lines}", header_line())).unwrap_err().to_string();
    error.split_once(": ").unwrap().1.to_owned()
}

#[test]
fn a_fault_is_reported_with_its_line_and_field() {
    let long = "x".repeat(1 << 20);
    let described = |text: &str| {
        format!(r#"{{"entity":"dog","senses":[{{"descriptions":[{{"text":"{text}","source":"llm"}}]}}]}}"#)
    };
    let good = described("four legs");
    for (lines, expected) in [
        ("{", "line 2: expected a JSON object of the format, found EOF while parsing an object at line 1 column 1".to_owned()),
        (r#"{"entity":"dog","senses":[{"descriptions":[{"text":7,"source":"llm"}]}]}"#,
            "line 2, field `senses[0].descriptions[0].text`: expected a JSON object of the format, found invalid type: integer `7`, expected a string at line 1 column 52".to_owned()),
        (r#"{"entity":"dog","senses":[{"descriptions":[]}]}"#,
            "line 2, entity `dog`, field `senses[0].descriptions`: expected 1 to 100 descriptions, found none".to_owned()),
        (&described(&long), "line 2, entity `dog`, field `senses[0].descriptions[0].text`: expected at most 300 characters, found 1048576".to_owned()),
        (&format!("{good}\n{good}"), "line 3, entity `dog`, field `entity`: expected a name that is there once, found `dog` again".to_owned()),
        (&format!("{good} x"), "line 2: expected one JSON object, found more text after it".to_owned()),
    ] {
        assert_eq!(message(lines), expected);
    }
    assert!(message(r#"{"entity":"dog","colour":1}"#).starts_with("line 2, field `colour`: "));
}

#[test]
fn aliases_lead_to_one_entity() {
    let line = |name: &str, alias: &str| {
        let mut entity = Entity::described(name, ["wheels"], Source::Person);
        entity.aliases = vec![alias.to_owned()];
        serde_json::to_string(&entity).unwrap()
    };
    let cycle = message(&format!("{}\n{}", line("bike", "cycle"), line("cycle", "bike")));
    assert_eq!(
        cycle,
        "line 2, entity `bike`, field `aliases[0]`: expected a name that is no entity itself, \
         found cyclic aliases: bike → cycle → bike"
    );
    let shared = message(&format!("{}\n{}", line("bike", "wheeler"), line("cart", "wheeler")));
    assert!(shared.ends_with("found `wheeler`, also an alias of `bike`"), "{shared}");
    assert!(message(&line("bike", "bike")).ends_with("a name other than the entity's own, found `bike`"));
}

#[test]
fn another_format_and_a_newer_version_are_refused() {
    assert!(read_text("").unwrap_err().to_string().contains("line 1: expected {\"format\":\"relens-evd\""));
    assert!(read_text("{\"entity\":\"dog\"}\n").unwrap_err().to_string().contains("expected the header"));
    let newer = read_text("{\"format\":\"relens-evd\",\"version\":2}\n").unwrap_err();
    assert!(matches!(newer, Error::NewerFormat { found: 2, supported: 1, .. }));
    assert!(read_text("{\"format\":\"relens-evd\",\"version\":1}\n").unwrap().is_empty());
}

fn text() -> impl Strategy<Value = String> {
    // Anything that a description may hold, quotes, backslashes and other scripts included.
    "[a-z\"\\\\/{}:,é山船 ]{1,30}"
        .prop_map(|text| format!("x{}y", text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn entity() -> impl Strategy<Value = Entity> {
    let source = prop::sample::select(vec![Source::Llm, Source::Person, Source::Import]);
    let description = (text(), source).prop_map(|(text, source)| Description { text, source });
    let sense = prop::collection::vec(description, 1..4);
    let senses = prop::collection::vec(sense, 0..3);
    ("[a-z山船]{1,8}( [a-z]{1,5})?", any::<u64>(), prop::collection::vec("[0-9]{3,9}", 0..3), senses)
        .prop_map(|(name, frequency, aliases, senses)| {
            let label = |position: usize| (senses.len() > 1).then(|| format!("sense {position}"));
            let visual = !senses.is_empty();
            let aliases = if visual { aliases } else { Vec::new() };
            let senses = senses.iter().enumerate();
            let senses = senses.map(|(position, descriptions)| Sense {
                label: label(position),
                descriptions: descriptions.clone(),
            });
            Entity { senses: senses.collect(), name, visual, frequency, aliases }.normalised()
        })
}

/// Entities whose names and aliases fit together.
pub(crate) fn entities() -> impl Strategy<Value = Vec<Entity>> {
    prop::collection::vec(entity(), 0..8).prop_map(|entities| {
        let mut names = std::collections::HashSet::new();
        let fresh = entities.into_iter().filter(|entity| {
            let all = || std::iter::once(&entity.name).chain(&entity.aliases);
            all().all(|name| !names.contains(name)) && {
                names.extend(all().cloned());
                true
            }
        });
        fresh.collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_written_again_byte_for_byte(entities in entities()) {
        let mut first = Vec::new();
        write(&entities, &mut first).unwrap();
        let read = read_text(std::str::from_utf8(&first).unwrap()).unwrap();
        let mut again = Vec::new();
        write(&read, &mut again).unwrap();
        prop_assert_eq!(first, again);
        prop_assert_eq!(read.len(), entities.len());
    }
}
