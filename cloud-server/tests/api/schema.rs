//! Holds JSON to the shapes of `openapi.json`, as far as that document uses JSON Schema.
//!
//! Objects may have no properties but those that are described, so that nothing is left out of the description.

use std::sync::LazyLock;

use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../src/api/openapi.json")).expect("openapi.json is JSON")
});

/// Panics unless `value` is as the component `name` says.
pub(crate) fn assert_conforms(value: &Value, name: &str) {
    let schema = &DOCUMENT["components"]["schemas"][name];
    assert!(schema.is_object(), "there is no shape {name}");
    if let Err(wrong) = check(value, schema, name) {
        panic!("{wrong}");
    }
}

fn check(value: &Value, schema: &Value, path: &str) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{path}: {value} is not {what}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("a reference into this document");
        return check(value, DOCUMENT.pointer(pointer).expect("a shape"), path);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let failures: Vec<String> =
            choices.iter().filter_map(|choice| check(value, choice, path).err()).collect();
        return if choices.len() - failures.len() == 1 { Ok(()) } else { fail(&failures.join(", or ")) };
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return fail(&format!("one of {values:?}"));
    }
    let number = value.as_f64();
    match schema["type"].as_str().expect("a type") {
        "string" if value.is_string() => Ok(()),
        "boolean" if value.is_boolean() => Ok(()),
        "null" if value.is_null() => Ok(()),
        kind @ ("integer" | "number") => {
            let Some(number) = number.filter(|_| kind == "number" || value.is_i64() || value.is_u64()) else {
                return fail(kind);
            };
            let least = schema["minimum"].as_f64().is_none_or(|least| number >= least);
            let most = schema["maximum"].as_f64().is_none_or(|most| number <= most);
            if least && most { Ok(()) } else { fail("in its range") }
        }
        "array" => {
            let Some(items) = value.as_array() else { return fail("a list") };
            let count = items.len() as u64;
            let least = schema["minItems"].as_u64().is_none_or(|least| count >= least);
            let most = schema["maxItems"].as_u64().is_none_or(|most| count <= most);
            if !least || !most {
                return fail("of the right length");
            }
            items
                .iter()
                .zip(0..)
                .try_for_each(|(item, n)| check(item, &schema["items"], &format!("{path}[{n}]")))
        }
        "object" => check_object(value, schema, path),
        kind => fail(kind),
    }
}

fn check_object(value: &Value, schema: &Value, path: &str) -> Result<(), String> {
    let Some(fields) = value.as_object() else { return Err(format!("{path}: {value} is no object")) };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|name| !fields.contains_key(*name)) {
        return Err(format!("{path}: {missing} is missing"));
    }
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    for (name, field) in fields {
        let Some(property) = properties.get(name) else {
            return Err(format!("{path}: {name} is not described"));
        };
        check(field, property, &format!("{path}.{name}"))?;
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_found() {
    let error =
        serde_json::json!({"error": {"message": "m", "type": "server_error", "param": null, "code": "c"}});
    assert_conforms(&error, "Error");
    for (pointer, wrong) in [
        ("/error/type", serde_json::json!("other")),
        ("/error/param", serde_json::json!(7)),
        ("/error", serde_json::json!({})),
        (
            "/error",
            serde_json::json!({"message": "m", "type": "server_error", "param": null, "code": "c", "x": 1}),
        ),
    ] {
        let mut error = error.clone();
        *error.pointer_mut(pointer).unwrap() = wrong;
        assert!(check(&error, &DOCUMENT["components"]["schemas"]["Error"], "").is_err(), "{pointer}");
    }
}
