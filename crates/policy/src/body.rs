//! The parameters of a request whose body is a JSON object.

use serde_json::{Map, Value};

use crate::access::{Parameter, ParameterValue};

/// Gives the top-level keys of a body as parameters. Values are lent, not copied, but for the digits of numbers.
pub fn with_parameters_of<T>(body: &Map<String, Value>, use_them: impl FnOnce(&[Parameter<'_>]) -> T) -> T {
    let digits: Vec<Vec<String>> = body.values().map(digits).collect();
    let lists: Vec<Vec<ParameterValue<'_>>> = body
        .values()
        .zip(&digits)
        .map(|(value, digits)| {
            let elements = elements(value).iter().zip(digits);
            elements.map(|(element, digits)| scalar(element, digits)).collect()
        })
        .collect();
    let parameters: Vec<Parameter<'_>> = body
        .iter()
        .zip(&lists)
        .map(|((name, value), list)| Parameter {
            name,
            value: match (value, list.first()) {
                (Value::Array(_), _) | (_, None) => ParameterValue::List(list),
                (_, Some(only)) => *only,
            },
        })
        .collect();
    use_them(&parameters)
}

/// The elements of a list, and anything else as its only one.
fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        other => core::slice::from_ref(other),
    }
}

/// The digits of those elements that are numbers.
fn digits(value: &Value) -> Vec<String> {
    let of_number = |one: &Value| one.as_number().map(ToString::to_string).unwrap_or_default();
    elements(value).iter().map(of_number).collect()
}

fn scalar<'a>(value: &'a Value, digits: &'a str) -> ParameterValue<'a> {
    match value {
        Value::Null => ParameterValue::Null,
        Value::Bool(bool) => ParameterValue::Bool(*bool),
        Value::Number(_) => ParameterValue::Number(digits),
        Value::String(text) => ParameterValue::Text(text),
        Value::Array(_) | Value::Object(_) => ParameterValue::Other,
    }
}
