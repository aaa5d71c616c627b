//! The committed JSON Schemas are those of the types. `UNBROKEN_BLESS=1` writes them anew.

use std::fs;
use std::path::Path;

use serde_json::Value;

fn check(file: &str, schema: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let mut text = serde_json::to_string_pretty(schema).expect("a schema is JSON");
    text.push('\n');
    if std::env::var_os("UNBROKEN_BLESS").is_some() {
        fs::write(&path, &text).expect("the schema can be written");
    }
    let committed = fs::read_to_string(&path).expect("the schema is in the repository");
    assert_eq!(committed, text, "{file} is not the schema of the types (UNBROKEN_BLESS=1 stores it anew)");
}

#[test]
fn the_committed_schema_of_the_manifest_is_that_of_its_types() {
    check("manifest.schema.json", &unbroken::manifest::schema());
}

#[test]
fn the_committed_schema_of_the_scenario_is_that_of_its_types() {
    check("scenario.schema.json", &unbroken::scenario::schema());
}

#[test]
fn the_committed_schema_of_the_expectations_is_that_of_their_types() {
    check("expectations.schema.json", &unbroken::expectation::schema());
}

/// Keys and words of a schema.
fn vocabulary(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("properties", Value::Object(keys)) => found.extend(keys.keys().cloned()),
                    ("const", Value::String(word)) => found.push(word.clone()),
                    ("enum", Value::Array(words)) => {
                        found.extend(words.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => {}
                }
                vocabulary(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| vocabulary(value, found)),
        _ => {}
    }
}

#[test]
fn the_reference_describes_every_key_and_word_of_the_manifest() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/MANIFEST.md");
    let reference = fs::read_to_string(path).expect("the reference is in the repository");
    let mut words = Vec::new();
    vocabulary(&unbroken::manifest::schema(), &mut words);
    assert!(words.len() > 80, "the schema has keys and words");
    for word in words {
        let forms = [format!("`{word}`"), format!("`\"{word}\"`"), format!(".{word}`"), format!("`{{ {word} = ")];
        let more = [format!("{{ {word} ="), format!("`[{word}]`"), format!("`[[{word}]]`")];
        assert!(forms.iter().chain(&more).any(|form| reference.contains(form)), "docs/MANIFEST.md lacks `{word}`");
    }
}

#[test]
fn the_example_of_the_reference_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/MANIFEST.md");
    let reference = fs::read_to_string(path).expect("the reference is in the repository");
    let example = reference.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let target = unbroken::target::Target::parse(example.expect("it has an example"), "MANIFEST.md");
    assert!(target.is_ok(), "{}", target.expect_err("it is an error").render(false));
}
