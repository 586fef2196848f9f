//! `relens embed`: the documented lines, in the documented order.

use serde_json::Value;

use crate::model_directory::DIM;
use crate::workplace::{Workplace, errors};

fn lines(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn vector(line: &Value) -> Vec<f64> {
    line["embedding"].as_array().unwrap().iter().map(|component| component.as_f64().unwrap()).collect()
}

#[test]
fn a_json_object_a_line_pictures_first_in_the_order_given() {
    let workplace = Workplace::new();
    workplace.pictures(".", 3);
    let output = workplace.output(&[
        "embed",
        "--text",
        "a red cat",
        "--image",
        "picture-002.png",
        "--image",
        "picture-000.png",
        "--text",
        "dog",
        "--json",
        "--model",
        "relens-mini",
    ]);
    let lines = lines(&output);
    let heads: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["kind"].as_str().unwrap(), line["input"].as_str().unwrap())).collect();
    assert_eq!(
        heads,
        [("image", "picture-002.png"), ("image", "picture-000.png"), ("text", "a red cat"), ("text", "dog")]
    );
    for line in &lines {
        assert_eq!(line.as_object().unwrap().len(), 3, "{line}");
        let vector = vector(line);
        assert_eq!(vector.len(), DIM);
        let length: f64 = vector.iter().map(|component| component * component).sum::<f64>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    assert_ne!(vector(&lines[0]), vector(&lines[1]));
    assert_ne!(vector(&lines[2]), vector(&lines[3]));
}

#[test]
fn many_inputs_equal_one_by_one() {
    let workplace = Workplace::new();
    workplace.pictures(".", 40);
    let names: Vec<String> = (0..40).map(|number| format!("picture-{number:03}.png")).collect();
    let mut arguments = vec!["embed", "--json"];
    arguments.extend(names.iter().flat_map(|name| ["--image", name.as_str()]));
    let together = lines(&workplace.output(&arguments));
    assert_eq!(together.len(), 40);
    for number in [0, 31, 32, 39] {
        let alone = lines(&workplace.output(&["embed", "--json", "--image", &names[number]]));
        let distance = |(left, right): (&f64, &f64)| (left - right).abs();
        let largest =
            vector(&together[number]).iter().zip(&vector(&alone[0])).map(distance).fold(0.0, f64::max);
        assert!(largest < 1e-5, "picture {number} differs by {largest}");
    }
}

#[test]
fn the_plain_form_holds_the_same_numbers() {
    let workplace = Workplace::new();
    let json = lines(&workplace.output(&["embed", "--json", "--text", "two dogs"]));
    let plain = workplace.output(&["embed", "--text", "two dogs"]);
    let columns: Vec<&str> = plain.trim_end().split('\t').collect();
    assert_eq!(columns[..2], ["text", "two dogs"]);
    let numbers: Vec<f32> = columns[2].split(' ').map(|number| number.parse().unwrap()).collect();
    let expected: Vec<f32> = vector(&json[0]).into_iter().map(|component| component as f32).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn one_bad_picture_fails_and_is_named() {
    let workplace = Workplace::new();
    workplace.pictures(".", 1);
    fs_err::write(workplace.path("broken.jpg"), "no picture").unwrap();
    let arguments = ["embed", "--json", "--image", "picture-000.png", "--image", "broken.jpg"];
    let assert = workplace.relens(&arguments).assert().code(1).stdout("");
    assert!(errors(&assert).contains("broken.jpg"), "{}", errors(&assert));
}

#[test]
fn an_empty_text_is_refused() {
    let assert = Workplace::new().relens(&["embed", "--text", "dog", "--text", "  "]).assert().code(2);
    assert!(errors(&assert).contains("text number 2 is empty"), "{}", errors(&assert));
}
