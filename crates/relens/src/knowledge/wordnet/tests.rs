use super::*;

/// A dictionary of made-up meanings in WordNet's format.
pub(crate) fn dictionary() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let licence = "  1 A made-up excerpt in the format of the dictionary files.  \n";
    let mut data = licence.to_owned();
    let mut offsets = Vec::new();
    for (words, above, gloss) in [
        (&["animal", "beast"][..], None, "a living thing that moves; \"animals need food\""),
        (&["dog", "domestic_dog"], Some(0), "a barking animal; often kept; \"the dog barked all night\""),
        (&["guide_dog"], Some(1), "a dog that leads the blind"),
    ] {
        let offset = data.len();
        let words: Vec<String> = words.iter().map(|word| format!("{word} 0")).collect();
        let pointers =
            above.map_or("000".to_owned(), |above: usize| format!("001 @ {:08} n 0000", offsets[above]));
        data.push_str(&format!(
            "{offset:08} 05 n {:02x} {} {pointers} | {gloss}  \n",
            words.len(),
            words.join(" ")
        ));
        offsets.push(offset);
    }
    let mut lines: Vec<String> =
        [("animal", 0), ("beast", 0), ("dog", 1), ("domestic_dog", 1), ("guide_dog", 2)]
            .map(|(word, meaning)| format!("{word} n 1 2 @ ~ 1 1 {:08}  \n", offsets[meaning]))
            .into();
    lines.sort();
    fs_err::write(directory.path().join("data.noun"), data).unwrap();
    fs_err::write(directory.path().join("index.noun"), format!("{licence}{}", lines.concat())).unwrap();
    fs_err::write(directory.path().join("noun.exc"), "beastes beast\n").unwrap();
    directory
}

#[test]
fn a_noun_is_defined_in_any_number() {
    let directory = dictionary();
    let wordnet = WordNet::open(directory.path()).unwrap();
    let dog = wordnet.define("Dogs").unwrap().unwrap();
    assert_eq!(dog.text, "a barking animal; often kept");
    assert_eq!(dog.synonyms, ["domestic dog"]);
    assert_eq!(dog.hypernyms, ["animal"]);
    assert_eq!(wordnet.define("guide dogs").unwrap().unwrap().text, "a dog that leads the blind");
    assert_eq!(wordnet.define("beastes").unwrap().unwrap().text, "a living thing that moves");
    for unknown in ["do", "doge", "", "zebra", "A", "1"] {
        assert_eq!(wordnet.define(unknown).unwrap(), None, "{unknown}");
    }
}

#[test]
fn damage_is_reported_with_file_and_place() {
    let directory = dictionary();
    let break_file = |name: &str, text: &str| fs_err::write(directory.path().join(name), text).unwrap();
    break_file("index.noun", "dog n 1 9 @ 1\n");
    let message = WordNet::open(directory.path()).unwrap().define("dog").unwrap_err().to_string();
    assert!(message.contains("index.noun: entry `dog`: expected"), "{message}");
    break_file("index.noun", "dog n 1 0 1 1 00000099\n");
    let message = WordNet::open(directory.path()).unwrap().define("dog").unwrap_err().to_string();
    assert!(message.contains("data.noun: byte 99: expected the meaning"), "{message}");
    break_file("noun.exc", "geese goose\nmice\n");
    let message = WordNet::open(directory.path()).unwrap_err().to_string();
    assert!(message.ends_with("noun.exc: line 2: expected `plural singular`, found `mice`"), "{message}");
    assert!(WordNet::open(Path::new("no/such/place")).unwrap_err().to_string().contains("noun.exc"));
}

#[test]
fn the_real_dictionary_is_read_where_it_is_installed() {
    let directory = Path::new(DEFAULT_DIRECTORY);
    if !directory.join("data.noun").is_file() {
        eprintln!("skipped: no WordNet in {DEFAULT_DIRECTORY}");
        return;
    }
    let wordnet = WordNet::open(directory).unwrap();
    assert_eq!(
        wordnet.define("frisbees").unwrap().unwrap().text,
        "a light, plastic disk about 10 inches in diameter; propelled with a flip of the wrist for recreation or competition"
    );
    assert_eq!(wordnet.define("aircraft carriers").unwrap().unwrap().hypernyms, ["warship"]);
    assert_eq!(wordnet.define("asdfgh").unwrap(), None);
}
