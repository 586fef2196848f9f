//! `--precision int8`: near float, and never mixed with it.

use crate::workplace::{Workplace, errors};

fn vector(workplace: &Workplace, precision: &str) -> Vec<f64> {
    let arguments = ["embed", "--text", "a red dog", "--json", "--precision", precision];
    serde_json::from_value(workplace.json(&arguments)["embedding"].clone()).unwrap()
}

#[test]
fn eight_bits_give_other_vectors_that_are_near() {
    let workplace = Workplace::new();
    let (float, int8) = (vector(&workplace, "float"), vector(&workplace, "int8"));
    let cosine: f64 = float.iter().zip(&int8).map(|(a, b)| a * b).sum();
    assert!(float != int8 && cosine > 0.99, "{cosine}");
}

#[test]
fn a_library_remembers_its_precision() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 3);
    let made = workplace.output(&["index", "pictures", "--library", "lib", "--precision", "int8"]);
    assert!(made.contains("(int8)"), "{made}");
    let found = workplace.json(&["search", "red", "--library", "lib", "--enhancer", "identity", "--json"]);
    assert_eq!(found.as_array().unwrap().len(), 3);
    let search = ["search", "red", "--library", "lib", "--enhancer", "identity", "--precision", "float"];
    let refused = errors(&workplace.relens(&search).assert().code(1));
    assert!(refused.contains("-int8") && refused.contains("index again"), "{refused}");
    let index = workplace.relens(&["index", "pictures", "--library", "lib"]).assert().code(1);
    assert!(errors(&index).contains("-int8"), "{}", errors(&index));
}

#[test]
fn info_tells_the_precision_in_name_and_fingerprint() {
    let workplace = Workplace::new();
    let [float, int8] = ["float", "int8"]
        .map(|precision| workplace.json(&["models", "info", "--json", "--precision", precision]));
    assert_eq!(int8["name"], "relens-mini (int8)");
    let fingerprint = format!("{}-int8", float["fingerprint"].as_str().unwrap());
    assert_eq!(int8["fingerprint"], fingerprint.as_str());
}
